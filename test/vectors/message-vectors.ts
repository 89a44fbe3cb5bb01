/** Every form of every control message, once. */
import * as m from '../../src/wire/messages/index.ts';
import { hex } from './hex.ts';
import type { StructVector } from './struct-vector.ts';
import { vector } from './struct-vector.ts';

const LINUX = 'laid out after Linux include/linux/hyperv.h';
const OPENVMM = 'laid out after OpenVMM vmbus_core protocol.rs';

const clientId = '00112233-4455-6677-8899-aabbccddeeff';
const networkClass = 'f8615163-df3e-46c5-913f-f2d2f965ed0e';
const networkInstance = '8f5c2b1a-3d4e-4f60-9a7b-c0ffee123456';

const monitorPages = { parentToChildMonitorGpa: 0x1234_5000n, childToParentMonitorGpa: 0x1234_6000n };
const channelAndGpadl = { channelId: 5, gpadlId: 0xe1e10 };
const networkOpen = {
  channelId: 5,
  openId: 5,
  ringGpadlId: 0xe1e10,
  targetVp: 1,
  downstreamPageOffset: 20,
  userData: new Uint8Array(120),
};
const services = { guestEndpointId: networkInstance, hostServiceId: '00000400-facb-11e6-bd58-64006a7986d3' };

export const messageVectors: readonly StructVector[] = [
  vector(m.MessageHeader, LINUX, '1d 00 00 00 00 00 00 00', { messageType: 29 }),
  vector(
    m.OfferChannel,
    `network class, channel 5, monitor 3, connection 0x2005, ${LINUX}`,
    `01 00 00 00 00 00 00 00
     63 51 61 f8 3e df c5 46 91 3f f2 d2 f9 65 ed 0e
     1a 2b 5c 8f 4e 3d 60 4f 9a 7b c0 ff ee 12 34 56
     16 x 00 | 00 00 | 00 00 | 120 x 00 | 00 00 | 00 00 | 05 00 00 00 | 03 | 01 | 01 00 | 05 20 00 00`,
    {
      interfaceId: networkClass,
      instanceId: networkInstance,
      flags: 0,
      mmioMegabytes: 0,
      userDefined: new Uint8Array(120),
      subchannelIndex: 0,
      mmioMegabytesOptional: 0,
      channelId: 5,
      monitorId: 3,
      monitorAllocated: 1,
      dedicatedInterrupt: 1,
      connectionId: 0x2005,
    },
  ),
  vector(m.RescindChannelOffer, LINUX, '02 00 00 00 00 00 00 00 ff 07 00 00', { channelId: 2047 }),
  vector(m.RequestOffers, LINUX, '03 00 00 00 00 00 00 00', {}),
  vector(m.AllOffersDelivered, LINUX, '04 00 00 00 00 00 00 00', {}),
  vector(
    m.OpenChannel,
    `20 pages per ring, ${LINUX}`,
    '05 00 00 00 00 00 00 00 | 05 00 00 00 | 05 00 00 00 | 10 1e 0e 00 | 01 00 00 00 | 14 00 00 00 | 120 x 00',
    networkOpen,
  ),
  vector(
    m.OpenChannel2,
    OPENVMM,
    `05 00 00 00 00 00 00 00 | 05 00 00 00 | 05 00 00 00 | 10 1e 0e 00 | 01 00 00 00 | 14 00 00 00 | 120 x 00
     05 20 00 00 | 05 00 | 00 00`,
    { ...networkOpen, connectionId: 0x2005, eventFlag: 5, openFlags: 0 },
  ),
  vector(m.OpenChannelResult, LINUX, '06 00 00 00 00 00 00 00 | 05 00 00 00 | 07 00 00 00 | ff ff 00 80', {
    channelId: 5,
    openId: 7,
    status: 0x8000_ffff,
  }),
  vector(m.CloseChannel, LINUX, '07 00 00 00 00 00 00 00 | 05 00 00 00', { channelId: 5 }),
  vector(m.GpadlHeader, LINUX, '08 00 00 00 00 00 00 00 | 05 00 00 00 | 10 1e 0e 00 | 48 01 | 01 00', {
    ...channelAndGpadl,
    rangeBytes: 328,
    rangeCount: 1,
  }),
  vector(m.GpadlBody, LINUX, '09 00 00 00 00 00 00 00 | 00 00 00 00 | 10 1e 0e 00', {
    messageNumber: 0,
    gpadlId: 0xe1e10,
  }),
  vector(m.GpadlCreated, LINUX, '0a 00 00 00 00 00 00 00 | 05 00 00 00 | 10 1e 0e 00 | 00 00 00 00', {
    ...channelAndGpadl,
    status: 0,
  }),
  vector(m.GpadlTeardown, LINUX, '0b 00 00 00 00 00 00 00 | 05 00 00 00 | 10 1e 0e 00', channelAndGpadl),
  vector(m.GpadlTorndown, LINUX, '0c 00 00 00 00 00 00 00 | 10 1e 0e 00', { gpadlId: 0xe1e10 }),
  vector(m.RelIdReleased, LINUX, '0d 00 00 00 00 00 00 00 | 05 00 00 00', { channelId: 5 }),
  vector(
    m.InitiateContactLegacy,
    `version 2.4, ${LINUX}`,
    `0e 00 00 00 00 00 00 00 | 04 00 02 00 | 00 00 00 00 | 00 70 34 12 01 00 00 00
     00 50 34 12 00 00 00 00 | 00 60 34 12 00 00 00 00`,
    { version: 0x0002_0004, targetVp: 0, interruptPageGpa: 0x1_1234_7000n, ...monitorPages },
  ),
  vector(
    m.InitiateContact,
    `version 5.3, ${LINUX}`,
    `0e 00 00 00 00 00 00 00 | 03 00 05 00 | 00 00 00 00 | 02 | 00 | 00 00 | 00 00 00 00
     00 50 34 12 00 00 00 00 | 00 60 34 12 00 00 00 00`,
    { version: 0x0005_0003, targetVp: 0, targetSint: 2, targetVtl: 0, features: 0, ...monitorPages },
  ),
  vector(
    m.InitiateContact2,
    `version 6.0, ${OPENVMM}`,
    `0e 00 00 00 00 00 00 00 | 00 00 06 00 | 00 00 00 00 | 02 | 00 | 00 00 | 2f 00 00 00
     00 50 34 12 00 00 00 00 | 00 60 34 12 00 00 00 00 | 33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff`,
    { version: 0x0006_0000, targetVp: 0, targetSint: 2, targetVtl: 0, features: 0x2f, ...monitorPages, clientId },
  ),
  vector(m.VersionResponseShort, LINUX, '0f 00 00 00 00 00 00 00 | 01', { versionSupported: 1 }),
  vector(m.VersionResponseLegacy, OPENVMM, '0f 00 00 00 00 00 00 00 | 01 | 02 | 00 00 | 00 00 03 00', {
    versionSupported: 1,
    connectionState: 2,
    selectedVersion: 0x0003_0000,
  }),
  vector(m.VersionResponse, LINUX, '0f 00 00 00 00 00 00 00 | 01 | 00 | 00 00 | 01 00 00 00', {
    versionSupported: 1,
    connectionState: 0,
    messageConnectionId: 1,
  }),
  vector(
    m.VersionResponse2,
    `the answer to the 6.0 contact, ${OPENVMM}`,
    '0f 00 00 00 00 00 00 00 | 01 00 00 00 | 01 00 00 00 | 2f 00 00 00',
    { versionSupported: 1, connectionState: 0, messageConnectionId: 1, features: 0x2f },
  ),
  vector(
    m.VersionResponse3,
    OPENVMM,
    `0f 00 00 00 00 00 00 00 | 01 00 00 00 | 01 00 00 00 | 40 00 00 00 | 00 00 00 00
     00 50 34 12 00 00 00 00 | 00 60 34 12 00 00 00 00`,
    { versionSupported: 1, connectionState: 0, messageConnectionId: 1, features: 0x40, ...monitorPages },
  ),
  vector(m.Unload, LINUX, '10 00 00 00 00 00 00 00', {}),
  vector(m.UnloadComplete, LINUX, '11 00 00 00 00 00 00 00', {}),
  vector(
    m.OpenReservedChannel,
    OPENVMM,
    '12 00 00 00 00 00 00 00 | 09 00 00 00 | 01 00 00 00 | 07 00 00 00 | 10 1e 0e 00 | 04 00 00 00',
    { channelId: 9, targetVp: 1, targetSint: 7, ringGpadlId: 0xe1e10, downstreamPageOffset: 4 },
  ),
  vector(m.CloseReservedChannel, OPENVMM, '13 00 00 00 00 00 00 00 | 09 00 00 00 | 01 00 00 00 | 07 00 00 00', {
    channelId: 9,
    targetVp: 1,
    targetSint: 7,
  }),
  vector(m.CloseReservedResponse, OPENVMM, '14 00 00 00 00 00 00 00 | 09 00 00 00', { channelId: 9 }),
  vector(
    m.TlConnectRequest,
    `port 1024, ${LINUX}`,
    `15 00 00 00 00 00 00 00 | 1a 2b 5c 8f 4e 3d 60 4f 9a 7b c0 ff ee 12 34 56
     00 04 00 00 cb fa e6 11 bd 58 64 00 6a 79 86 d3`,
    services,
  ),
  vector(
    m.TlConnectRequest2,
    OPENVMM,
    `15 00 00 00 00 00 00 00 | 1a 2b 5c 8f 4e 3d 60 4f 9a 7b c0 ff ee 12 34 56
     00 04 00 00 cb fa e6 11 bd 58 64 00 6a 79 86 d3 | 33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff`,
    { ...services, siloId: clientId },
  ),
  vector(m.ModifyChannel, LINUX, '16 00 00 00 00 00 00 00 | 05 00 00 00 | 03 00 00 00', { channelId: 5, targetVp: 3 }),
  vector(
    m.TlConnectResult,
    `connection refused, ${OPENVMM}`,
    `17 00 00 00 00 00 00 00 | 1a 2b 5c 8f 4e 3d 60 4f 9a 7b c0 ff ee 12 34 56
     00 04 00 00 cb fa e6 11 bd 58 64 00 6a 79 86 d3 | 36 02 00 c0`,
    { ...services, status: 0xc000_0236 },
  ),
  vector(m.ModifyChannelResponse, LINUX, '18 00 00 00 00 00 00 00 | 05 00 00 00 | ff ff 00 80', {
    channelId: 5,
    status: 0x8000_ffff,
  }),
  vector(
    m.ModifyConnection,
    OPENVMM,
    '19 00 00 00 00 00 00 00 | 00 50 34 12 00 00 00 00 | 00 60 34 12 00 00 00 00',
    monitorPages,
  ),
  vector(m.ModifyConnectionResponse, OPENVMM, '1a 00 00 00 00 00 00 00 | 02', { connectionState: 2 }),
  vector(m.Pause, OPENVMM, '1b 00 00 00 00 00 00 00', {}),
  vector(m.PauseResponse, OPENVMM, '1c 00 00 00 00 00 00 00', {}),
  vector(m.Resume, OPENVMM, '1d 00 00 00 00 00 00 00', {}),
];

/** The answer to the GPADL below. Source: as the messages. */
export const gpadlExample = {
  channelId: 5,
  gpadlId: 0xe1e10,
  /** 40 pages, 0x1000..0x1027, in one range. */
  range: { byteCount: 0x28000, byteOffset: 0, pfns: Array.from({ length: 40 }, (_, index) => 0x1000 + index) },
  header: hex(`
    08 00 00 00 00 00 00 00 | 05 00 00 00 | 10 1e 0e 00 | 48 01 | 01 00 | 00 80 02 00 | 00 00 00 00
    ${pfnText(0x1000, 26)}`),
  body: hex(`09 00 00 00 00 00 00 00 | 00 00 00 00 | 10 1e 0e 00 ${pfnText(0x101a, 14)}`),
};

function pfnText(first: number, count: number): string {
  return Array.from({ length: count }, (_, index) => {
    const pfn = first + index;
    return `${(pfn & 0xff).toString(16).padStart(2, '0')} ${(pfn >> 8).toString(16).padStart(2, '0')} 6 x 00`;
  }).join(' | ');
}
