/**
 * The guest's end of a SCSI controller: a storage driver over KMCL.
 *
 * `open` brings the channel up and negotiates; `submit` is the path of every command: a slot with its packet object is
 * taken, or the command waits its turn, first in, first out. With sub-channels, requests go round over all channels.
 * All data moves by page frame numbers (`VmbPacketSendWithExternalPfns`). Every command that `submit` took ends exactly
 * once: with the host's answer, or with a status when the channel goes away. Promises begin above this: see `ScsiDisk`.
 */
import type { GuestVmbus } from '../../../channel/index.ts';
import { PeerError, UsageError, type VmbusError } from '../../../errors.ts';
import { type VmbPacket, VmbPacketGetPointer } from '../../../kmcl/index.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import type { PageAllocator } from '../../../memory/page-allocator.ts';
import type { Guid } from '../../../wire/guid.ts';
import {
  type NtStatus,
  STATUS_CANCELLED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_SUCCESS,
} from '../../../wire/ntstatus.ts';
import { ALL_STOR_VERSIONS } from '../../../wire/storvsc.ts';
import { channelGone } from './failure.ts';
import { IoQueue } from './io-queue.ts';
import { type Negotiated, negotiate, requestSubChannels } from './negotiate.ts';
import type { ScsiIo } from './scsi-io.ts';
import type { SrbSlot } from './srb-slot.ts';
import { StorLane } from './stor-lane.ts';

export interface StorVscOptions {
  readonly vmbus: GuestVmbus;
  /** Where the small buffers of INQUIRY and its kin come from. Default: the bus's own pages. */
  readonly pages?: PageAllocator;
  /** Which controller; any one without it. */
  readonly instanceId?: Guid;
  /** Most requests with the host at once on one channel; more wait here. Default 32. */
  readonly maxOutstanding?: number;
  /** Largest transfer, bytes; the host may allow less. A multiple of 4096. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** Data pages of each ring. Default 32 (128 KiB), as Linux has them. */
  readonly ringPages?: number;
  /** Channels to open beside the primary; as many as the host allows, if fewer. Default 0. */
  readonly subChannels?: number;
  /** Storage versions to offer, best first. Default all, newest first. */
  readonly versions?: readonly number[];
  /** For messages and `inspect()`. Default `storvsc`. */
  readonly name?: string;
  /** The host says that disks came or went: look again with `reportLuns`. */
  readonly onBusChanged?: () => void;
  /** The channel ended without `close`: the host took it back or is gone. */
  readonly onClosed?: () => void;
}

type Stage = 'closed' | 'opening' | 'ready' | 'closing';

const DEFAULT_MAX_OUTSTANDING = 32;
const DEFAULT_MAX_TRANSFER_BYTES = 0x10_0000;
const DEFAULT_RING_PAGES = 32;

export class StorVsc {
  readonly #options: StorVscOptions;
  readonly #name: string;
  readonly #maxOutstanding: number;
  #stage: Stage = 'closed';
  #negotiated: Negotiated | undefined;
  #closing: Promise<void> | undefined;
  #opening: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  /** The primary channel first; sub-channels are here from the wish to open them on. */
  #lanes: StorLane[] = [];
  /** Channels that requests go over. */
  readonly #running: StorLane[] = [];
  /** Where in `#running` the next request begins to look for a free slot. */
  #turn = 0;
  readonly #waiting = new IoQueue();
  #requests = 0;
  #badAnswers = 0;

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range */
  constructor(options: StorVscOptions) {
    this.#options = options;
    this.#name = options.name ?? 'storvsc';
    this.#maxOutstanding = options.maxOutstanding ?? DEFAULT_MAX_OUTSTANDING;
    if (!Number.isInteger(this.#maxOutstanding) || this.#maxOutstanding < 1) {
      throw new UsageError('ERR_ARGUMENT', `${this.#maxOutstanding} outstanding requests is not 1 or more`);
    }
    const { maxTransferBytes = DEFAULT_MAX_TRANSFER_BYTES, subChannels = 0 } = options;
    if (!Number.isInteger(maxTransferBytes) || maxTransferBytes < PAGE_BYTES || maxTransferBytes % PAGE_BYTES !== 0) {
      throw new UsageError('ERR_ARGUMENT', `a largest transfer of ${maxTransferBytes} bytes is not whole pages`);
    }
    if (!Number.isInteger(subChannels) || subChannels < 0 || subChannels > 0xffff) {
      throw new UsageError('ERR_ARGUMENT', `${subChannels} sub-channels is outside 0..65535`);
    }
  }

  /** Pages for small buffers; a disk borrows them from here. */
  get pages(): PageAllocator {
    return this.#options.pages ?? this.#options.vmbus.pages;
  }

  get isReady(): boolean {
    return this.#stage === 'ready';
  }

  /** Storage protocol version agreed with the host. @throws UsageError `ERR_STATE` unless ready */
  get version(): number {
    return this.#agreed().version;
  }

  /** Channels that requests go over; sub-channels join after `open`, as the host offers them. */
  get channelCount(): number {
    return this.#running.length;
  }

  /** Largest transfer of one request, bytes: the smaller of the host's limit and ours. */
  get maxTransferBytes(): number {
    const ours = this.#options.maxTransferBytes ?? DEFAULT_MAX_TRANSFER_BYTES;
    return Math.min(this.#agreed().maxTransferBytes, ours);
  }

  /**
   * Opens the controller, waiting for its offer if need be, and negotiates.
   * @throws UsageError `ERR_STATE` unless closed
   * @throws PeerError if the host refuses, answers nonsense, or goes away meanwhile
   */
  async open(): Promise<void> {
    if (this.#stage !== 'closed') throw new UsageError('ERR_STATE', `${this.#name} is ${this.#stage}`);
    const primary = this.#makeLane(0, this.#options.instanceId ?? null);
    this.#lanes = [primary];
    this.#stage = 'opening';
    const up = new Promise<void>((resolve, reject) => {
      this.#opening = { resolve, reject };
    });
    try {
      primary.enable();
      await up;
    } catch (error) {
      await this.#shutDown();
      throw error;
    }
  }

  /** Closes the channels. What is outstanding and what waits ends with `STATUS_CANCELLED`. */
  async close(): Promise<void> {
    if (this.#stage === 'closed') return;
    this.#failOpening(new PeerError('ERR_CLOSED', `${this.#name} was closed while it opened`));
    await this.#shutDown();
  }

  /**
   * Sends a command, or keeps it until a slot is free. `io.onDone` runs exactly once, perhaps before this returns (when
   * the controller is not ready, or the arguments make no packet). Allocates nothing.
   */
  submit(io: ScsiIo): void {
    if (this.#stage !== 'ready') {
      io.end(STATUS_DEVICE_NOT_CONNECTED);
      return;
    }
    const slot = this.#takeSlot();
    if (slot === undefined) this.#waiting.push(io);
    else this.#send(slot, io);
  }

  /** Ends a command that still waits for its turn with `STATUS_CANCELLED`. @returns false if it is with the host */
  withdraw(io: ScsiIo): boolean {
    if (!this.#waiting.remove(io)) return false;
    io.end(STATUS_CANCELLED);
    return true;
  }

  inspect(): Record<string, unknown> {
    return {
      name: this.#name,
      stage: this.#stage,
      ...this.#negotiated,
      channels: this.#running.length,
      maxOutstanding: this.#maxOutstanding,
      outstanding: this.#lanes.reduce((sum, lane) => sum + lane.outstanding, 0),
      waiting: this.#waiting.length,
      requests: this.#requests,
      badAnswers: this.#badAnswers,
    };
  }

  #makeLane(subchannelIndex: number, instanceId: Guid | null): StorLane {
    const { vmbus, maxTransferBytes = DEFAULT_MAX_TRANSFER_BYTES, ringPages = DEFAULT_RING_PAGES } = this.#options;
    const isPrimary = subchannelIndex === 0;
    return new StorLane({
      vmbus,
      instanceId,
      subchannelIndex,
      name: isPrimary ? this.#name : `${this.#name} (sub-channel ${subchannelIndex})`,
      maxTransferBytes,
      ringPages,
      started: isPrimary ? this.#primaryStarted : this.#subChannelStarted,
      suspended: isPrimary ? this.#primarySuspended : this.#subChannelSuspended,
      closed: isPrimary ? this.#primaryClosed : () => {},
      failed: isPrimary ? this.#openFailed : () => {},
      told: () => this.#options.onBusChanged?.(),
    });
  }

  // --- the primary channel

  /** Not waited for: a host that never answers must not keep the channel from closing. */
  readonly #primaryStarted = (lane: StorLane): void => {
    void this.#initialise(lane);
  };

  async #initialise(primary: StorLane): Promise<void> {
    try {
      const negotiated = await negotiate(
        (packet) => primary.exchange(packet),
        this.#options.versions ?? ALL_STOR_VERSIONS,
      );
      if (this.#stage !== 'opening') return;
      this.#negotiated = negotiated;
      primary.makeSlots(negotiated.version, this.#maxOutstanding, this.#completed);
      this.#running.push(primary);
      await this.#openSubChannels(primary, negotiated);
      if (this.#stage !== 'opening') return;
      this.#stage = 'ready';
      this.#opening?.resolve();
      this.#opening = undefined;
    } catch (error) {
      this.#failOpening(error);
    }
  }

  /** No more sends: what waits here ends now; what is with the host is ended by KMCL. */
  readonly #primarySuspended = (): void => {
    if (this.#stage === 'ready') this.#stage = 'closing'; // For good: nobody pauses this channel but to close it.
    for (let io = this.#waiting.shift(); io !== undefined; io = this.#waiting.shift()) io.end(STATUS_CANCELLED);
  };

  readonly #primaryClosed = (): void => {
    this.#failOpening(this.#gone(STATUS_DEVICE_REMOVED));
    if (this.#closing === undefined) this.#options.onClosed?.();
  };

  readonly #openFailed = (status: NtStatus): void => {
    this.#failOpening(this.#gone(status));
  };

  // --- sub-channels: the disk works without them, so whatever goes wrong with one leaves the others alone

  /** Asks for them; they are opened as their offers come, and join then. Linux does not wait for them either. */
  async #openSubChannels(primary: StorLane, negotiated: Negotiated): Promise<void> {
    const wanted = Math.min(this.#options.subChannels ?? 0, negotiated.maxSubChannelCount);
    if (wanted === 0) return;
    const isAllowed = await requestSubChannels((packet) => primary.exchange(packet), negotiated.version, wanted);
    if (!isAllowed || this.#stage !== 'opening') return;
    const { instanceId } = primary;
    for (let index = 1; index <= wanted; index++) {
      const lane = this.#makeLane(index, instanceId);
      this.#lanes.push(lane);
      lane.enable();
    }
  }

  readonly #subChannelStarted = (lane: StorLane): void => {
    if (this.#negotiated === undefined || this.#stage === 'closing') return;
    lane.makeSlots(this.#negotiated.version, this.#maxOutstanding, this.#completed);
    this.#running.push(lane);
    while (lane.freeSlots.length > 0 && this.#waiting.length > 0) this.#pass(lane.freeSlots.pop() as SrbSlot);
  };

  /** It is going, and will not come back: requests go over the others. */
  readonly #subChannelSuspended = (lane: StorLane): void => {
    const at = this.#running.indexOf(lane);
    if (at >= 0) this.#running.splice(at, 1);
    this.#turn = 0;
  };

  // --- requests

  /** From the channel whose turn it is, or the next one that has a slot. */
  #takeSlot(): SrbSlot | undefined {
    const lanes = this.#running;
    for (let left = lanes.length; left > 0; left--) {
      const lane = lanes[this.#turn] as StorLane;
      this.#turn = this.#turn + 1 < lanes.length ? this.#turn + 1 : 0;
      const slot = lane.freeSlots.pop();
      if (slot !== undefined) return slot;
    }
    return undefined;
  }

  #send(slot: SrbSlot, io: ScsiIo): void {
    this.#requests++;
    const status = slot.send(io);
    if (status !== STATUS_SUCCESS) this.#end(slot, io, status);
  }

  /** The slot to who waited longest; one whose command cannot be sent gives it on at once. */
  #pass(slot: SrbSlot): void {
    for (;;) {
      slot.io = undefined;
      const mayGoOn = this.#stage === 'ready' && slot.lane.isRunning;
      const next = mayGoOn ? this.#waiting.shift() : undefined;
      if (next === undefined) break;
      this.#requests++;
      const status = slot.send(next);
      if (status === STATUS_SUCCESS) return;
      next.end(status);
    }
    slot.lane.freeSlots.push(slot);
  }

  readonly #completed = (
    packet: VmbPacket,
    status: NtStatus,
    completion: Uint8Array | null,
    completionBytes: number,
  ): void => {
    const slot = VmbPacketGetPointer(packet) as SrbSlot;
    const { io } = slot;
    if (io === undefined) return;
    if (status !== STATUS_SUCCESS || completion === null) {
      this.#end(slot, io, status === STATUS_SUCCESS ? STATUS_CANCELLED : status);
      return;
    }
    if (!slot.receive(io, completion, completionBytes)) this.#badAnswers++;
    this.#end(slot, io, io.status);
  };

  /** Passes the slot on before it tells the caller, who may submit again from there. */
  #end(slot: SrbSlot, io: ScsiIo, status: NtStatus): void {
    this.#pass(slot);
    io.end(status);
  }

  // --- the end

  #shutDown(): Promise<void> {
    this.#closing ??= this.#disable().finally(() => {
      this.#closing = undefined;
    });
    return this.#closing;
  }

  /** Sub-channels before their primary, as Linux does. */
  async #disable(): Promise<void> {
    const [primary, ...subChannels] = this.#lanes;
    if (primary === undefined) return;
    this.#stage = 'closing';
    for (let io = this.#waiting.shift(); io !== undefined; io = this.#waiting.shift()) io.end(STATUS_CANCELLED);
    await Promise.all(subChannels.map((lane) => lane.disable()));
    await primary.disable();
    this.#lanes = [];
    this.#running.length = 0;
    this.#turn = 0;
    this.#negotiated = undefined;
    this.#stage = 'closed';
  }

  #failOpening(error: unknown): void {
    this.#opening?.reject(error);
    this.#opening = undefined;
  }

  #gone(status: NtStatus): VmbusError {
    return channelGone(this.#name, status);
  }

  #agreed(): Negotiated {
    if (this.#negotiated === undefined) throw new UsageError('ERR_STATE', `${this.#name} is ${this.#stage}`);
    return this.#negotiated;
  }
}
