/**
 * Saving a server on one host and restoring it on another, over the same guest: what a VM's worker processes do.
 *
 * `saveable()` is the ordinary pair with callbacks that save one byte string per packet; `moveHost()` pauses, saves and
 * takes the guest over to a new host, where it goes on.
 */
import { HostVmbus, type HostVmbusOptions } from '../../src/channel/index.ts';
import {
  createDeviceObject,
  type EvtVmbChannelRestorePacket,
  type EvtVmbChannelSavePacket,
  type EvtVmbPacketCompletionRoutine,
  endpointOf,
  type NtStatus,
  STATUS_BUFFER_OVERFLOW,
  STATUS_BUFFER_TOO_SMALL,
  STATUS_MORE_PROCESSING_REQUIRED,
  STATUS_SUCCESS,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPause,
  VmbChannelRestoreFromBuffer,
  VmbChannelSaveBegin,
  VmbChannelSaveContinue,
  VmbChannelSaveEnd,
  VmbChannelStart,
  VmbClientChannelInitSetRingBufferPageCount,
  type VmbPacket,
  VmbPacketAllocate,
  VmbPacketGetPointer,
  VmbPacketRestore,
  VmbPacketSend,
  VmbPacketSetCompletionRoutine,
  VmbPacketSetPointer,
  type VmbServerChannel,
  VmbServerChannelInitSetSaveRestorePacketCallbacks,
} from '../../src/kmcl/index.ts';
import {
  type EndpointOptions,
  expectSuccess,
  keepIn,
  logged,
  type Received,
  somePacket,
  someServer,
  type TwoEndpoints,
  twoEndpoints,
} from './two-endpoints.ts';

export const WAIT = VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION;

/** The server's packets complete here; the pointer of each is its name. */
export interface ServerEnd {
  readonly server: VmbServerChannel;
  readonly host: HostVmbus;
  readonly received: Received[];
  /** Names of the packets that completed, with what. */
  readonly completed: { readonly name: unknown; readonly status: NtStatus; readonly bytes: Uint8Array | null }[];
  /** What save and restore callbacks were called with. */
  readonly calls: string[];
  /** A packet of that name. */
  named(name: string): VmbPacket;
}

export interface Saveable extends TwoEndpoints, ServerEnd {}

const utf8 = {
  encode: (text: string) => new TextEncoder().encode(text),
  decode: (b: Uint8Array) => new TextDecoder().decode(b),
};

/** Save and restore of packets by their names. */
export function nameCallbacks(end: Pick<ServerEnd, 'calls' | 'completed'>): {
  save: EvtVmbChannelSavePacket;
  restore: EvtVmbChannelRestorePacket;
  routine: EvtVmbPacketCompletionRoutine;
} {
  const routine: EvtVmbPacketCompletionRoutine = (packet, status, buffer, length) => {
    end.completed.push({
      name: VmbPacketGetPointer(packet),
      status,
      bytes: buffer === null ? null : buffer.slice(0, length),
    });
  };
  return {
    routine,
    save: (_channel, packet, buffer, size, needed) => {
      const name = utf8.encode(String(VmbPacketGetPointer(packet)));
      end.calls.push(`save ${VmbPacketGetPointer(packet)} ${size}`);
      needed.value = name.length;
      if (buffer === null || size < name.length) return STATUS_BUFFER_TOO_SMALL;
      buffer.set(name);
      return STATUS_SUCCESS;
    },
    restore: (channel, libBuffer, libSize, saveBuffer, saveSize) => {
      const packet = VmbPacketAllocate(channel);
      if (packet === null || saveBuffer === null) return STATUS_BUFFER_TOO_SMALL;
      const name = utf8.decode(saveBuffer.subarray(0, saveSize));
      end.calls.push(`restore ${name}`);
      VmbPacketSetPointer(packet, name);
      VmbPacketSetCompletionRoutine(packet, routine);
      return VmbPacketRestore(packet, libBuffer, libSize);
    },
  };
}

/** An open, running pair with small rings, whose server saves its packets by name. */
export async function saveable(options: EndpointOptions = {}): Promise<Saveable> {
  const calls: string[] = [];
  const completed: Saveable['completed'] = [];
  const callbacks = nameCallbacks({ calls, completed });
  const t = await twoEndpoints({
    ...options,
    setUpClient: (client) => {
      expectSuccess(VmbClientChannelInitSetRingBufferPageCount(client, 1, 1));
      options.setUpClient?.(client);
    },
    setUpServer: (server) => {
      expectSuccess(VmbServerChannelInitSetSaveRestorePacketCallbacks(server, callbacks.save, callbacks.restore));
      options.setUpServer?.(server);
    },
  });
  return { ...t, calls, completed, named: (name) => namedPacket(t.server, name, callbacks.routine) };
}

function namedPacket(server: VmbServerChannel, name: string, routine: EvtVmbPacketCompletionRoutine): VmbPacket {
  const packet = somePacket(server, routine);
  VmbPacketSetPointer(packet, name);
  return packet;
}

/** Sends named packets from the server: a name, then zeros up to `bytes`. */
export function sendNamed(end: ServerEnd, names: readonly string[], bytes = 64, flags = WAIT): void {
  for (const name of names) {
    const payload = new Uint8Array(bytes);
    payload.set(utf8.encode(name));
    expectSuccess(VmbPacketSend(end.named(name), payload, bytes, null, flags));
  }
}

/** The names in front of what was received. */
export function namesOf(received: readonly Received[]): string[] {
  return received.map(({ bytes }) =>
    utf8.decode(bytes.subarray(0, bytes.indexOf(0) < 0 ? bytes.length : bytes.indexOf(0))),
  );
}

/** All chunks of a paused channel, with buffers of that size. */
export function saveChannel(server: VmbServerChannel, bufferBytes = 2 ** 20): Uint8Array[] {
  expectSuccess(VmbChannelSaveBegin(server));
  const pieces: Uint8Array[] = [];
  let size = bufferBytes;
  for (;;) {
    const buffer = new Uint8Array(size);
    const filled = { value: 0 };
    const required = { value: 0 };
    const status = VmbChannelSaveContinue(server, buffer, size, filled, required);
    if (filled.value > 0) pieces.push(buffer.slice(0, filled.value));
    if (status === STATUS_SUCCESS) break;
    if (status !== STATUS_BUFFER_OVERFLOW && status !== STATUS_BUFFER_TOO_SMALL) expectSuccess(status);
    size = Math.max(bufferBytes, required.value);
  }
  VmbChannelSaveEnd(server);
  return pieces;
}

/** The status of the last piece; all others must ask for more. */
export function restoreChannel(server: VmbServerChannel, pieces: readonly Uint8Array[]): NtStatus {
  let status: NtStatus = STATUS_MORE_PROCESSING_REQUIRED;
  for (const piece of pieces) {
    if (status !== STATUS_MORE_PROCESSING_REQUIRED) return status;
    status = VmbChannelRestoreFromBuffer(server, piece, piece.length);
  }
  return status;
}

export interface NewHostOptions {
  readonly host?: HostVmbusOptions;
  /** Last words before the restore. */
  readonly setUpServer?: (server: VmbServerChannel) => void;
}

/** A server on a new host, Disabled and not restored, that keeps what it receives. */
export function newServer(t: Pick<Saveable, 'loopback' | 'log'>, options: NewHostOptions = {}): ServerEnd {
  const host = new HostVmbus(t.loopback.host, options.host);
  const server = someServer(createDeviceObject({ vmbus: host, name: 'new host' }));
  const received: Received[] = [];
  const calls: string[] = [];
  const completed: ServerEnd['completed'] = [];
  const callbacks = nameCallbacks({ calls, completed });
  expectSuccess(VmbChannelInitSetMaximumExternalData(server, 2 ** 20, 8));
  expectSuccess(VmbChannelInitSetProcessPacketCallbacks(server, keepIn(received), null));
  expectSuccess(VmbChannelInitSetStateChangeCallbacks(server, logged('new server', t.log)));
  expectSuccess(VmbServerChannelInitSetSaveRestorePacketCallbacks(server, callbacks.save, callbacks.restore));
  options.setUpServer?.(server);
  return { server, host, received, completed, calls, named: (name) => namedPacket(server, name, callbacks.routine) };
}

/** Everything that a host writes down of its guest. */
export interface SavedGuest {
  readonly pieces: readonly Uint8Array[];
  readonly bus: Uint8Array;
}

export async function pauseAndSave(t: Pick<Saveable, 'server' | 'host' | 'settle'>): Promise<SavedGuest> {
  const paused = VmbChannelPause(t.server);
  await t.settle();
  await paused;
  return { pieces: saveChannel(t.server, 256), bus: t.host.save() };
}

/** Takes the guest to a new host, where its channel is enabled and started; nothing has run yet. */
export function takeOver(
  t: Pick<Saveable, 'loopback' | 'log' | 'host'>,
  saved: SavedGuest,
  options: NewHostOptions = {},
): ServerEnd {
  const next = newServer(t, options);
  t.host.leave();
  next.host.restore(saved.bus);
  expectSuccess(restoreChannel(next.server, saved.pieces));
  expectSuccess(VmbChannelEnable(next.server));
  VmbChannelStart(next.server);
  next.host.revokeUnclaimed();
  return next;
}

/** Pause, save, restore on a new host, start. */
export async function moveHost(t: Saveable, options: NewHostOptions = {}): Promise<ServerEnd> {
  const saved = await pauseAndSave(t);
  const next = takeOver(t, saved, options);
  await t.settle();
  return next;
}

/** The bytes of both rings, data and indexes, as the guest's memory has them. */
export function ringBytes(t: Pick<Saveable, 'memory' | 'client'>): {
  readonly indexes: number[];
  readonly data: Uint8Array;
} {
  const pages = Array.from({ length: 4 }, (_, page) => t.memory.page(page));
  const [outgoing, outgoingData, incoming, incomingData] = pages as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const word = (page: Uint8Array, at: number): number => new DataView(page.buffer, page.byteOffset).getUint32(at, true);
  const data = new Uint8Array(8192);
  data.set(outgoingData);
  data.set(incomingData, 4096);
  return { indexes: [word(outgoing, 0), word(outgoing, 4), word(incoming, 0), word(incoming, 4)], data };
}

export function stageOf(server: VmbServerChannel): string {
  return endpointOf(server).stage;
}
