/**
 * What the channels of both ends have in common, behind their public faces: the driver of the endpoint underneath.
 *
 * It calls the user's callbacks, hands packets to `onPacket` or to the iteration, writes down why a cycle ends, and sees
 * to it that nothing is left behind: packets that nobody took, GPADLs, mappings, promises.
 */
import { type ChannelDriver, ChannelEndpoint, type IncomingPacket, type Reason } from '../../channel/index.ts';
import { type PeerError, UsageError, type VmbusError } from '../../errors.ts';
import { type NtStatus, STATUS_SUCCESS, STATUS_UNSUCCESSFUL } from '../../wire/ntstatus.ts';
import type { SharedPages } from '../packets/external-pages.ts';
import type { ScatterReader } from '../packets/packet.ts';
import { Packet, packetKeeper } from '../packets/packet.ts';
import { PacketQueue } from '../packets/packet-queue.ts';
import { Sender, type SenderOwner } from '../packets/sender.ts';
import { checkMayWait, Deferred } from '../waiting.ts';
import { type ChannelEnd, endOf, openFailure, packetError, refusedHere } from './channel-end.ts';
import { type ChannelOptions, configure, type RingPages } from './channel-options.ts';
import { createGpadl, type Gpadl, type GpadlOptions, type MappedGpadl } from './gpadls.ts';

/** What a face wants to know. */
export interface CoreListener {
  /** The open cycle began: accepted by both ends. */
  opened(): void;
  /** Packets flow and the user's callbacks are through. */
  running(): void;
  /** The cycle shall end. */
  ending(end: ChannelEnd): void;
}

/** What the common part of the faces uses of it. */
export type CoreOfAny = Pick<
  ChannelCore<never>,
  'endpoint' | 'sender' | 'queue' | 'whenClosed' | 'end' | 'iterates' | 'subject' | 'close' | 'checkMayChange'
>;

export class ChannelCore<Self> implements ChannelDriver, SenderOwner {
  readonly endpoint: ChannelEndpoint;
  readonly sender: Sender;
  readonly queue = new PacketQueue();
  readonly #gpadls = new Set<Gpadl>();
  readonly mappings = new Set<MappedGpadl<ScatterReader>>();
  /** Settled when the channel is Disabled for good. */
  readonly whenClosed = new Deferred<ChannelEnd>();
  /** Of the cycle that runs, or of the last one. */
  end: ChannelEnd | undefined;

  readonly #options: ChannelOptions<Self>;
  #listener!: CoreListener;
  #channel!: Self;
  readonly #waitingForPages = new Set<Packet>();
  #fault: PeerError | undefined;
  #refusal: ChannelEnd | undefined;
  #shutDown: Promise<void> | undefined;
  /** GPADLs that the host has not confirmed yet, and those that it has not let go of. */
  readonly #creations = new Set<Promise<Gpadl>>();
  readonly #deletions: Promise<void>[] = [];

  /** @throws UsageError `ERR_ARGUMENT` for options that make no sense */
  constructor(role: 'guest' | 'host', options: ChannelOptions<Self> & RingPages) {
    this.#options = options;
    this.endpoint = new ChannelEndpoint(role, this);
    configure(this.endpoint, options);
    this.sender = new Sender(this);
  }

  /** Names the face, which is made after its core; before the endpoint is enabled. */
  serve(channel: Self, listener: CoreListener): void {
    this.#channel = channel;
    this.#listener = listener;
  }

  /** For messages. */
  get subject(): string {
    const { relid, settings } = this.endpoint;
    return settings.name === '' ? `channel ${relid}` : `channel ${settings.name}`;
  }

  get iterates(): boolean {
    return this.#options.onPacket === undefined;
  }

  errorOf(status: NtStatus): VmbusError {
    return packetError(status, this.subject, this.end);
  }

  /** A guest's pages are with the host until the channel is torn down; a host lends none. */
  async peerDone(): Promise<void> {
    if (this.endpoint.role === 'guest') await this.whenClosed.promise;
  }

  /** @throws UsageError `ERR_STATE` where pause, resume and close would wait for themselves */
  checkMayChange(name: string): void {
    if (!this.endpoint.isInStateCallback) return;
    const message = `${name} from inside a state-change callback of the same channel`;
    this.endpoint.watch?.misuse(this.endpoint, 'K-097', message, null);
    throw new UsageError('ERR_STATE', message);
  }

  /** See `GuestChannel.createGpadl`. */
  createGpadl(pages: SharedPages, options: GpadlOptions): Promise<Gpadl> {
    const created = createGpadl(this.endpoint, pages, options, this.#gpadls, (status) => this.errorOf(status));
    const done = (): void => void this.#creations.delete(created);
    this.#creations.add(created);
    created.then(done, done);
    return created;
  }

  async close(): Promise<void> {
    checkMayWait('close');
    this.checkMayChange('close');
    await this.shutDown();
  }

  /** As `close`, from anywhere. The same promise each time. */
  shutDown(): Promise<void> {
    this.#shutDown ??= this.#end();
    return this.#shutDown;
  }

  // --- what the endpoint calls

  opened(): NtStatus | Promise<NtStatus> {
    // It may have ended before this turn came.
    if (!this.endpoint.isEnding) this.end = undefined;
    const answer = this.#options.onOpened?.(this.#channel);
    return answer instanceof Promise ? this.#answeredLater(answer) : this.#answered(answer);
  }

  started(): void | Promise<void> {
    return this.#options.onStarted?.(this.#channel);
  }

  postStarted(): void | Promise<void> {
    const done = this.#options.onPostStarted?.(this.#channel);
    if (done instanceof Promise) return this.#runsAfter(done);
    this.#listener.running();
  }

  suspend(): void | Promise<void> {
    return this.#options.onSuspended?.(this.#channel);
  }

  closed(): void | Promise<void> {
    const done = this.#options.onClosed?.(this.end ?? this.#endedHere(), this.#channel);
    if (done instanceof Promise || this.#creations.size > 0) return this.#closedLater(done);
    this.#takeBackMemory();
  }

  openFailed(status: NtStatus): void {
    this.#ends(openFailure(status, this.subject));
    void this.shutDown();
  }

  faulted(error: PeerError): void {
    this.#fault = error;
  }

  ending(reason: Reason): void {
    this.#ends(this.#refusal ?? endOf(reason, this.subject, this.#fault));
    // In a turn of its own: this is the middle of a step of the channel's life.
    this.endpoint.scheduler?.passive(() => this.#dropUntaken());
    if (this.endpoint.role === 'guest') this.endpoint.scheduler?.passive(() => void this.shutDown());
  }

  packet(incoming: IncomingPacket): void {
    const { onPacket } = this.#options;
    if (onPacket === undefined) {
      const packet = this.#newFace(incoming);
      packetKeeper.bind(packet, incoming);
      this.queue.push(packet);
      return;
    }
    // The face of a pooled object is pooled with it. Nobody but us sets it.
    const packet = (incoming.face as Packet | null) ?? this.#newFace(incoming);
    packetKeeper.bind(packet, incoming);
    onPacket(packet, this.#channel);
  }

  batchEnd(packetCount: number): void {
    this.#options.onBatchEnd?.(packetCount, this.#channel);
  }

  dataArrived(incoming: IncomingPacket): void {
    if (incoming.face !== null) packetKeeper.arrived(incoming.face as Packet);
  }

  // --- the machinery

  #newFace(incoming: IncomingPacket): Packet {
    const packet = new Packet(this.endpoint, this.#waitingForPages);
    incoming.face = packet;
    return packet;
  }

  // These await, rather than call `then`, so that a verifier can tell what belongs to a callback.

  async #answeredLater(answer: Promise<unknown>): Promise<NtStatus> {
    return this.#answered(await answer);
  }

  async #runsAfter(done: Promise<void>): Promise<void> {
    await done;
    this.#listener.running();
  }

  #answered(answer: unknown): NtStatus {
    if (answer === false) {
      this.#refusal = refusedHere(this.subject);
      return STATUS_UNSUCCESSFUL;
    }
    if (!this.endpoint.isEnding) this.#listener.opened();
    return STATUS_SUCCESS;
  }

  #ends(end: ChannelEnd): void {
    this.end = end;
    this.#refusal = undefined;
    this.#fault = undefined;
    this.queue.endCycle(false);
    for (const packet of this.#waitingForPages) packetKeeper.ending(packet, end.error);
    this.#listener.ending(end);
  }

  /** Nobody will take them any more, and the channel waits until none is out. */
  #dropUntaken(): void {
    for (const packet of this.queue.takeAll()) packetKeeper.drop(packet);
  }

  /** A GPADL that the host is about to confirm could not be deleted any more once the channel is gone. */
  async #closedLater(done: void | Promise<void>): Promise<void> {
    try {
      await done;
    } finally {
      await Promise.allSettled(this.#creations);
      this.#takeBackMemory();
    }
  }

  /**
   * What the user left. Nobody waits here for the host to let go of a GPADL: it may do so only when it learns of the
   * close, which follows.
   */
  #takeBackMemory(): void {
    for (const mapping of this.mappings) mapping.unmap();
    for (const gpadl of this.#gpadls) this.#deletions.push(gpadl.startDelete());
  }

  async #end(): Promise<void> {
    await this.endpoint.disable();
    await Promise.all(this.#deletions);
    this.queue.endCycle(true);
    this.whenClosed.resolve(this.end ?? this.#endedHere());
  }

  #endedHere(): ChannelEnd {
    return endOf('disabled', this.subject, undefined);
  }
}
