/** A packet from the peer. */
import { type ChannelEndpoint, type IncomingPacket, IncomingState } from '../../channel/index.ts';
import { PeerError, UsageError, type VmbusError } from '../../errors.ts';
import type { ScatterView } from '../../memory/index.ts';
import {
  type NtStatus,
  ntStatusName,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_PARAMETER,
  STATUS_INVALID_PARAMETER_1,
  STATUS_PENDING,
} from '../../wire/ntstatus.ts';
import { abortable, checkMayWait, Deferred, type WaitOptions } from '../waiting.ts';

/** The part of a `ScatterView` that reads. */
export type ScatterReader = Pick<ScatterView, 'byteLength' | 'read' | 'toBytes'>;

export interface ExternalDataOptions extends WaitOptions {
  /** Your promise to read only; the type of the result keeps it. */
  readonly isReadOnly?: boolean;
}

/** The friends of `Packet`: what the channel does with one, and nobody else. */
export interface PacketKeeper {
  /** From now on it stands for `incoming`. */
  bind(packet: Packet, incoming: IncomingPacket): void;
  /** Pages may be there. */
  arrived(packet: Packet): void;
  /** The channel ends: a wait for pages ends with this error, the packet is still to be completed. */
  ending(packet: Packet, error: VmbusError): void;
  /** Gives it back without an answer. */
  drop(packet: Packet): void;
}

let keeper: PacketKeeper;

/**
 * Yours until `complete`, `fail` or the end of a `using` block; what it shows (bytes, external data) ends with it. A
 * packet that nobody waits for must be completed too: it counts against `maxHeldPackets`.
 */
export class Packet implements Disposable {
  static {
    keeper = {
      bind: (packet, incoming) => {
        packet.#incoming = incoming;
      },
      arrived: (packet) => packet.#arrival?.resolve(),
      ending: (packet, error) => packet.#arrival?.reject(error),
      drop: (packet) => {
        const incoming = packet.#incoming;
        if (incoming === null) return;
        packet.#letGo('the channel ended');
        packet.#endpoint.failIncoming(incoming);
      },
    };
  }

  readonly #endpoint: ChannelEndpoint;
  /** Those of this channel that wait for their pages. */
  readonly #waiting: Set<Packet>;
  #incoming: IncomingPacket | null = null;
  /** Under a verifier: what it stood for, for who uses it too late. */
  #last: IncomingPacket | null = null;
  /** The last view given out as `bytes`, for the next packet of the same shape. */
  #bytes: Uint8Array | null = null;
  #bytesOf: Uint8Array | null = null;
  #external: ScatterView | null = null;
  #arrival: Deferred<void> | null = null;

  /** @param waiting where it enters itself while it waits for pages */
  constructor(endpoint: ChannelEndpoint, waiting: Set<Packet>) {
    this.#endpoint = endpoint;
    this.#waiting = waiting;
  }

  /** It is with you: not completed, failed or deferred. */
  get isHeld(): boolean {
    const state = this.#incoming?.state;
    return state === IncomingState.Delivering || state === IncomingState.Held;
  }

  /**
   * The payload, in private memory that the peer cannot change; a later packet overwrites it. Outside pipes its length
   * is the sent one rounded up to 8.
   * @throws UsageError `ERR_STATE` unless held, as all that follow
   */
  get bytes(): Uint8Array {
    const { payload, payloadBytes } = this.#held('bytes');
    const kept = this.#bytes;
    if (kept !== null && this.#bytesOf === payload && kept.length === payloadBytes) return kept;
    const bytes = payload.subarray(0, payloadBytes);
    this.#bytes = bytes;
    this.#bytesOf = payload;
    return bytes;
  }

  /** The sender waits for `complete`. */
  get wantsCompletion(): boolean {
    return this.#held('wantsCompletion').wantsCompletion;
  }

  /** Pages of the guest's come with it. */
  get hasExternalData(): boolean {
    return this.#held('hasExternalData').hasExternalData;
  }

  /** Bytes of yours, zero at first, the same until completion; `null` unless the channel has `contextBytes`. */
  get context(): Uint8Array | null {
    return this.#held('context').context;
  }

  /**
   * The guest's pages, in order, never a byte beyond what it described; nothing is copied.
   * @throws UsageError `ERR_STATE` for a packet without external data, or completed meanwhile; PeerError
   *   `ERR_GPA_RANGE` for malformed ranges, pages outside memory, or more than `maxExternalBytes` and
   *   `maxExternalRanges` allow: `fail` or complete it with an error of your protocol; the channel's end, if that comes
   *   before the pages do
   */
  externalData(options: ExternalDataOptions & { readonly isReadOnly: true }): Promise<ScatterReader>;
  externalData(options?: ExternalDataOptions): Promise<ScatterView>;
  async externalData(options: ExternalDataOptions = {}): Promise<ScatterView> {
    checkMayWait('externalData');
    options.signal?.throwIfAborted();
    const incoming = this.#held('externalData');
    for (;;) {
      const view = this.#map(incoming, options.isReadOnly);
      if (view !== undefined) return view;
      // It stays with us; otherwise it would be delivered once more.
      incoming.isAwaitingData = false;
      await this.#pages(options.signal);
      if (this.#incoming !== incoming) throw gone('externalData');
    }
  }

  /**
   * The same without a promise, for `onPacket`.
   * @returns `undefined` if the pages are not there yet: return, and `onPacket` is called again with this packet
   */
  tryExternalData(options: { readonly isReadOnly: true }): ScatterReader | undefined;
  tryExternalData(options?: { readonly isReadOnly?: boolean }): ScatterView | undefined;
  tryExternalData(options: { readonly isReadOnly?: boolean } = {}): ScatterView | undefined {
    return this.#map(this.#held('tryExternalData'), options.isReadOnly);
  }

  /**
   * Done. The sender is answered if it waits; the answer of a full ring queues.
   * @param bytes payload of the completion, copied before the call returns
   * @throws UsageError `ERR_PACKET_TOO_BIG` if the ring could never take it; the packet is still yours
   */
  complete(bytes?: Uint8Array): void {
    const incoming = this.#held('complete');
    const payloadBytes = bytes?.length ?? 0;
    if (!this.#endpoint.canCarryCompletion(payloadBytes)) {
      throw new UsageError('ERR_PACKET_TOO_BIG', `the ring can never take a completion of ${payloadBytes} bytes`);
    }
    this.#letGo('the packet was completed');
    this.#endpoint.complete(incoming, bytes ?? null, payloadBytes);
  }

  /** Gives up on the channel: nothing is delivered until it is opened anew, and this sender gets no answer. */
  fail(): void {
    const incoming = this.#held('fail');
    this.#letGo('the packet was failed');
    this.#endpoint.failIncoming(incoming);
  }

  /**
   * Asks for this packet again at PASSIVE; later ones wait. Only inside its `onPacket`, which then returns.
   * @throws UsageError `ERR_STATE` anywhere else
   */
  deferToPassive(): void {
    const incoming = this.#held('deferToPassive');
    if (incoming.state !== IncomingState.Delivering) {
      throw new UsageError('ERR_STATE', 'deferToPassive is for the inside of onPacket');
    }
    this.#endpoint.deferToPassive(incoming);
  }

  /** Completes it without bytes, unless that is done or it comes again. */
  [Symbol.dispose](): void {
    const incoming = this.#incoming;
    if (incoming === null || !this.isHeld) return;
    const comesAgain = incoming.state === IncomingState.Delivering && incoming.isAwaitingData;
    if (!comesAgain) this.complete();
  }

  #held(name: string): IncomingPacket {
    const incoming = this.#incoming;
    if (incoming !== null && this.isHeld) return incoming;
    const error = gone(name);
    this.#endpoint.watch?.misuse(this.#endpoint, 'K-221', error.message, incoming ?? this.#last);
    throw error;
  }

  #map(incoming: IncomingPacket, isReadOnly = false): ScatterView | undefined {
    if (this.#external !== null) return this.#external;
    if (!incoming.hasExternalData) {
      const status = STATUS_INVALID_PARAMETER_1;
      throw new UsageError('ERR_STATE', 'the packet has no external data', { status });
    }
    const { status, mdl } = this.#endpoint.externalData(incoming, isReadOnly);
    if (mdl === null) {
      if (status === STATUS_PENDING) return undefined;
      throw refused(status);
    }
    const view = mdl.chainView();
    this.#external = view;
    return view;
  }

  async #pages(signal: AbortSignal | undefined): Promise<void> {
    const arrival = this.#arrival ?? new Deferred();
    this.#arrival = arrival;
    this.#waiting.add(this);
    try {
      await abortable(arrival.promise, signal);
    } finally {
      this.#waiting.delete(this);
      if (this.#arrival === arrival) this.#arrival = null;
    }
  }

  #letGo(reason: string): void {
    // The view of a chain does not end with its MDLs.
    this.#external?.invalidate(reason);
    this.#external = null;
    if (this.#endpoint.watch !== null) this.#last = this.#incoming;
    this.#incoming = null;
    this.#arrival?.resolve();
  }
}

function gone(name: string): UsageError {
  return new UsageError('ERR_STATE', `${name}: the packet is no longer with you: completed, failed or deferred`);
}

function refused(status: NtStatus): VmbusError {
  const what =
    status === STATUS_INVALID_BUFFER_SIZE
      ? 'more external data, or more ranges, than this channel takes'
      : status === STATUS_INVALID_PARAMETER
        ? 'ranges that are malformed or name pages outside memory'
        : `no external data: ${ntStatusName(status)}`;
  return new PeerError('ERR_GPA_RANGE', `the guest's packet has ${what}`, { status });
}

export { keeper as packetKeeper };
