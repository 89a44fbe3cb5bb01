/**
 * A guest's and a host's end of one channel, through KMCL, over the loopback and a scheduler that steps.
 *
 * `twoEndpoints()` builds the ordinary case: a client with external data up to 1 MiB, a server that keeps what it
 * receives, both enabled, the server started, everything settled. Tests state what differs.
 */
import { GuestVmbus, type GuestVmbusOptions, HostVmbus, type HostVmbusOptions } from '../../src/channel/index.ts';
import {
  createDeviceObject,
  type DeviceObject,
  type EvtVmbChannelProcessPacket,
  type EvtVmbPacketCompletionRoutine,
  endpointOf,
  out,
  STATUS_SUCCESS,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  VmbChannelAllocate,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelStart,
  type VmbChannelStateChangeCallbacks,
  type VmbClientChannel,
  VmbClientChannelInitSetTargetPnp,
  type VmbPacket,
  VmbPacketAllocate,
  type VmbPacketCompletion,
  VmbPacketSetCompletionRoutine,
  type VmbServerChannel,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../src/kmcl/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback, type Loopback } from '../../src/transports/loopback/index.ts';
import { parseGpaRanges } from '../../src/wire/gpa-range.ts';
import { StepScheduler } from '../peers/step-scheduler.ts';

export const INTERFACE_ID = '11111111-2222-3333-4444-555555555555';
export const INSTANCE_ID = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';

/** One packet that the server got. */
export interface Received {
  readonly packet: VmbPacketCompletion;
  /** The payload as it was at delivery. */
  readonly bytes: Uint8Array;
  readonly bufferLength: number;
  readonly flags: number;
}

/** What a completion routine was called with. */
export interface Completed {
  readonly packet: VmbPacket;
  readonly status: number;
  /** `null` for a `NULL` buffer. */
  readonly bytes: Uint8Array | null;
}

export interface TwoBuses {
  readonly scheduler: StepScheduler;
  readonly loopback: Loopback;
  readonly memory: GuestMemory;
  readonly guest: GuestVmbus;
  readonly host: HostVmbus;
  readonly guestDevice: DeviceObject;
  readonly hostDevice: DeviceObject;
}

export interface BusOptions {
  readonly memory?: GuestMemory;
  readonly guest?: GuestVmbusOptions;
  readonly host?: HostVmbusOptions;
}

/** Two ends of a bus without any channel; not connected. */
export function twoBuses(options: BusOptions = {}): TwoBuses {
  const scheduler = new StepScheduler();
  const memory = options.memory ?? GuestMemory.allocate(2048);
  const loopback = createLoopback({ memory, scheduler });
  const guest = new GuestVmbus(loopback.guest, options.guest);
  const host = new HostVmbus(loopback.host, options.host);
  return {
    scheduler,
    loopback,
    memory,
    guest,
    host,
    guestDevice: createDeviceObject({ vmbus: guest, name: 'guest device' }),
    hostDevice: createDeviceObject({ vmbus: host, name: 'host device' }),
  };
}

/** Both ends connected, offers delivered. */
export async function connectedBuses(options: BusOptions = {}): Promise<TwoBuses> {
  const buses = twoBuses(options);
  const connected = buses.guest.connect();
  buses.scheduler.run();
  await connected;
  buses.scheduler.run();
  return buses;
}

/** A client channel with a target, Disabled. */
export function someClient(device: DeviceObject): VmbClientChannel {
  const channel = out<VmbClientChannel>();
  expectSuccess(VmbChannelAllocate(device, false, channel));
  expectSuccess(VmbClientChannelInitSetTargetPnp(channel.value, INTERFACE_ID, INSTANCE_ID, null));
  return channel.value;
}

/** A server channel with an identity, Disabled. */
export function someServer(device: DeviceObject, instanceId = INSTANCE_ID): VmbServerChannel {
  const channel = out<VmbServerChannel>();
  expectSuccess(VmbChannelAllocate(device, true, channel));
  expectSuccess(VmbServerChannelInitSetTargetInterfaceId(channel.value, INTERFACE_ID, instanceId));
  return channel.value;
}

export interface EndpointOptions extends BusOptions {
  /** Last words before the client is enabled. */
  readonly setUpClient?: (channel: VmbClientChannel) => void;
  readonly setUpServer?: (channel: VmbServerChannel) => void;
  /** What the server does with a packet; by default it keeps it in `received`. */
  readonly onServerPacket?: EvtVmbChannelProcessPacket;
  readonly onClientPacket?: EvtVmbChannelProcessPacket;
  readonly clientCallbacks?: Partial<VmbChannelStateChangeCallbacks>;
  readonly serverCallbacks?: Partial<VmbChannelStateChangeCallbacks>;
  /** False: the server stays paused. */
  readonly startServer?: boolean;
}

export interface TwoEndpoints extends TwoBuses {
  readonly client: VmbClientChannel;
  readonly server: VmbServerChannel;
  /** Packets that the server got and did not complete by itself. */
  readonly received: Received[];
  readonly clientReceived: Received[];
  /** `client Opened`, `server Suspend`, … in the order in which they began. */
  readonly log: string[];
  readonly completions: Completed[];
  /** A client packet whose completion goes to `completions`. */
  packet(): VmbPacket;
  /** Runs everything, promises included. */
  settle(): Promise<void>;
}

/** An open and running channel. */
export async function twoEndpoints(options: EndpointOptions = {}): Promise<TwoEndpoints> {
  const buses = await connectedBuses(options);
  const client = someClient(buses.guestDevice);
  const server = someServer(buses.hostDevice);
  const received: Received[] = [];
  const clientReceived: Received[] = [];
  const log: string[] = [];
  const completions: Completed[] = [];
  for (const channel of [client, server]) expectSuccess(VmbChannelInitSetMaximumExternalData(channel, 2 ** 20, 8));
  VmbChannelInitSetProcessPacketCallbacks(server, options.onServerPacket ?? keepIn(received), null);
  VmbChannelInitSetProcessPacketCallbacks(client, options.onClientPacket ?? keepIn(clientReceived), null);
  VmbChannelInitSetStateChangeCallbacks(client, logged('client', log, options.clientCallbacks));
  VmbChannelInitSetStateChangeCallbacks(server, logged('server', log, options.serverCallbacks));
  options.setUpClient?.(client);
  options.setUpServer?.(server);
  expectSuccess(VmbChannelEnable(server));
  if (options.startServer !== false) VmbChannelStart(server);
  expectSuccess(VmbChannelEnable(client));
  await buses.scheduler.settle();
  const routine: EvtVmbPacketCompletionRoutine = (packet, status, buffer, length) => {
    completions.push({ packet, status, bytes: buffer === null ? null : buffer.slice(0, length) });
  };
  return {
    ...buses,
    client,
    server,
    received,
    clientReceived,
    log,
    completions,
    packet: () => somePacket(client, routine),
    settle: () => buses.scheduler.settle(),
  };
}

export function somePacket(
  channel: VmbClientChannel | VmbServerChannel,
  routine: EvtVmbPacketCompletionRoutine,
): VmbPacket {
  const packet = VmbPacketAllocate(channel);
  if (packet === null) throw new Error('no packet');
  VmbPacketSetCompletionRoutine(packet, routine);
  return packet;
}

export function keepIn(received: Received[]): EvtVmbChannelProcessPacket {
  return (_channel, packet, buffer, bufferLength, flags) => {
    received.push({ packet, bytes: buffer.slice(0, bufferLength), bufferLength, flags });
  };
}

/** State-change callbacks that write their names down and then do what `more` says. */
export function logged(
  who: string,
  log: string[],
  more: Partial<VmbChannelStateChangeCallbacks> = {},
): VmbChannelStateChangeCallbacks {
  const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
  callbacks.EvtChannelOpened = (channel) => {
    log.push(`${who} Opened`);
    return more.EvtChannelOpened?.(channel) ?? STATUS_SUCCESS;
  };
  callbacks.EvtChannelStarted = (channel) => {
    log.push(`${who} Started`);
    return more.EvtChannelStarted?.(channel);
  };
  callbacks.EvtChannelPostStarted = (channel) => {
    log.push(`${who} PostStarted`);
    return more.EvtChannelPostStarted?.(channel);
  };
  callbacks.EvtChannelSuspend = (channel) => {
    log.push(`${who} Suspend`);
    return more.EvtChannelSuspend?.(channel);
  };
  callbacks.EvtChannelClosed = (channel) => {
    log.push(`${who} Closed`);
    return more.EvtChannelClosed?.(channel);
  };
  return callbacks;
}

/** Bytes from hex; blanks and line ends are skipped. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
}

export function expectSuccess(status: number): void {
  if (status !== STATUS_SUCCESS) throw new Error(`status 0x${status.toString(16)}`);
}

/** Packets that a channel puts into its ring from now on, descriptor to padding. */
export function sentPackets(channel: VmbClientChannel | VmbServerChannel): Uint8Array[] {
  const packets: Uint8Array[] = [];
  endpointOf(channel).tap = {
    packetSent: (_channel, bytes, at, packetBytes) => packets.push(bytes.slice(at, at + packetBytes)),
  };
  return packets;
}

/** Descriptor fields of a packet. */
export function descriptorOf(packet: Uint8Array | undefined): {
  type: number;
  dataOffset8: number;
  length8: number;
  flags: number;
  id: bigint;
} {
  if (packet === undefined) throw new Error('no packet');
  const view = new DataView(packet.buffer, packet.byteOffset);
  return {
    type: view.getUint16(0, true),
    dataOffset8: view.getUint16(2, true),
    length8: view.getUint16(4, true),
    flags: view.getUint16(6, true),
    id: view.getBigUint64(8, true),
  };
}

/** The GPA ranges of a GPA-direct packet. */
export function rangesOf(packet: Uint8Array | undefined): { byteCount: number; byteOffset: number; pfns: number[] }[] {
  const { dataOffset8 } = descriptorOf(packet);
  const bytes = packet as Uint8Array;
  const count = new DataView(bytes.buffer, bytes.byteOffset).getUint32(20, true);
  return parseGpaRanges(bytes, 24, dataOffset8 * 8, count).map(({ byteCount, byteOffset, pfns }) => ({
    byteCount,
    byteOffset,
    pfns: Array.from(pfns),
  }));
}

/** Packet number `index` of what was received. */
export function nth<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new Error(`there are ${items.length}, none is number ${index}`);
  return item;
}
