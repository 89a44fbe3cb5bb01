/** What lies in rings and pages: packets' headers, control page, monitor page, and what carries signals. */
import * as w from '../../src/wire/index.ts';
import type { StructVector } from './struct-vector.ts';
import { vector } from './struct-vector.ts';

const HYPERV_H = 'laid out after Linux include/linux/hyperv.h';
const MONITOR = 'laid out after Linux drivers/hv/hyperv_vmbus.h';
const TLFS = 'laid out after Linux include/asm-generic/hyperv-tlfs.h';

/** Bytes 0, 1, 2, … as they count up. */
export function counting(byteCount: number, first = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: byteCount }, (_, index) => first + index);
}

export const ringVectors: readonly StructVector[] = [
  vector(w.PacketDescriptor, HYPERV_H, '09 00 | 07 00 | 0a 00 | 01 00 | 02 00 00 00 00 00 00 80', {
    packetType: 9,
    dataOffset8: 7,
    length8: 10,
    flags: 1,
    transactionId: 0x8000_0000_0000_0002n,
  }),
  vector(w.GpaDirectHeader, HYPERV_H, '00 00 00 00 | 01 00 00 00', { rangeCount: 1 }),
  vector(w.GpaRangeHeader, HYPERV_H, '00 21 00 00 | 00 02 00 00', { byteCount: 0x2100, byteOffset: 0x200 }),
  vector(w.TransferPagesHeader, HYPERV_H, 'fe ca | 00 00 | 03 00 00 00', { pageSetId: 0xcafe, rangeCount: 3 }),
  vector(w.TransferPageRange, HYPERV_H, 'ea 05 00 00 | c0 06 00 00', { byteCount: 1514, byteOffset: 1728 }),
  vector(w.PipeHeader, HYPERV_H, '01 00 00 00 | 05 00 00 00', { packetType: 1, byteLength: 5 }),
  vector(w.PacketTrailer, 'Linux drivers/hv/ring_buffer.c', '00 00 00 00 | 40 01 00 00', { packetOffset: 0x140 }),
  vector(
    w.RingControlPage,
    HYPERV_H,
    '70 01 00 00 | 40 01 00 00 | 01 00 00 00 | 18 10 00 00 | 48 x 00 | 01 00 00 00 | 4028 x 00',
    { writeIndex: 0x170, readIndex: 0x140, interruptMask: 1, pendingSendBytes: 4120, features: 1 },
  ),
  vector(w.MonitorTriggerGroup, MONITOR, '08 00 00 00 | 01 00 00 80', { pending: 8, armed: 0x8000_0001 }),
  vector(w.MonitorParameter, MONITOR, '05 20 00 00 | 07 00 | 00 00', { connectionId: 0x2005, flagNumber: 7 }),
  vector(
    w.MonitorPage,
    MONITOR,
    '0f 00 00 00 | 4 x 00 | 32 x 11 | 24 x 00 | 512 x 22 | 256 x 33 | 256 x 00 | 1024 x 44 | 1984 x 00',
    {
      triggerState: 15,
      triggerGroups: new Uint8Array(32).fill(0x11),
      nextCheckTimes: new Uint8Array(512).fill(0x22),
      latencies: new Uint8Array(256).fill(0x33),
      parameters: new Uint8Array(1024).fill(0x44),
    },
  ),
  vector(w.PostMessageInput, TLFS, '04 00 00 00 | 00 00 00 00 | 01 00 00 00 | 08 00 00 00 | 10 | 239 x 00', {
    connectionId: 4,
    messageType: 1,
    payloadBytes: 8,
    payload: Uint8Array.from({ length: 240 }, (_, index) => (index === 0 ? 0x10 : 0)),
  }),
  vector(w.SignalEventInput, TLFS, '05 20 00 00 | 01 00 | 00 00', { connectionId: 0x2005, flagNumber: 1 }),
  vector(w.SynicMessage, TLFS, '01 00 00 00 | 14 | 01 | 00 00 | 02 00 00 00 00 00 00 00 | 240 x 7e', {
    messageType: 1,
    payloadBytes: 20,
    flags: 1,
    sender: 2n,
    payload: new Uint8Array(240).fill(0x7e),
  }),
  vector(w.PipeOfferData, `${HYPERV_H} and OpenVMM vmbus_core protocol.rs`, '04 00 00 00 | 112 x c3 | 01 00 00 00', {
    pipeType: 4,
    providerData: new Uint8Array(112).fill(0xc3),
    pipeFlags: 1,
  }),
  vector(
    w.HvsockOfferData,
    'laid out after OpenVMM vmbus_core protocol.rs',
    '00 00 00 00 | 01 | 00 | 01 00 00 00 | 33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff | 94 x 00',
    {
      pipeType: 0,
      isFromHost: 1,
      isForGuestContainer: 0,
      version: 1,
      siloId: '00112233-4455-6677-8899-aabbccddeeff',
    },
  ),
];
