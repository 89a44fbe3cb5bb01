/**
 * The guest's end of a SCSI controller: a storage driver over KMCL.
 *
 * `open` brings the channel up and negotiates; `submit` is the path of every command: a slot with its packet object is
 * taken, or the command waits its turn, first in, first out. All data moves by page frame numbers
 * (`VmbPacketSendWithExternalPfns`). Every command that `submit` took ends exactly once: with the host's answer, or with
 * a status when the channel goes away. Promises begin above this: see `ScsiDisk`.
 */
import type { GuestVmbus } from '../../../channel/index.ts';
import { PeerError, UsageError, type VmbusError } from '../../../errors.ts';
import {
  createDeviceObject,
  out,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetFriendlyName,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  type VmbClientChannel,
  VmbClientChannelInitSetRingBufferPageCount,
  VmbClientChannelInitSetTargetPnp,
  type VmbPacket,
  VmbPacketAllocate,
  type VmbPacketCompletion,
  VmbPacketFree,
  VmbPacketGetPointer,
  VmbPacketSend,
  VmbPacketSetCompletionRoutine,
  VmbPacketSetPointer,
} from '../../../kmcl/index.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import type { PageAllocator } from '../../../memory/page-allocator.ts';
import { ClassId } from '../../../wire/class-ids.ts';
import type { Guid } from '../../../wire/guid.ts';
import {
  type NtStatus,
  STATUS_CANCELLED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_SUCCESS,
} from '../../../wire/ntstatus.ts';
import { ALL_STOR_VERSIONS, VSTOR_PACKET_BYTES } from '../../../wire/storvsc.ts';
import { requireSuccess } from '../kmcl-status.ts';
import { channelGone } from './failure.ts';
import { IoQueue } from './io-queue.ts';
import { type Negotiated, negotiate } from './negotiate.ts';
import type { ScsiIo } from './scsi-io.ts';
import { SrbSlot } from './srb-slot.ts';

export interface StorVscOptions {
  readonly vmbus: GuestVmbus;
  /** Where the small buffers of INQUIRY and its kin come from. Default: the bus's own pages. */
  readonly pages?: PageAllocator;
  /** Which controller; any one without it. */
  readonly instanceId?: Guid;
  /** Most requests with the host at once; more wait here. Default 32. */
  readonly maxOutstanding?: number;
  /** Largest transfer, bytes; the host may allow less. A multiple of 4096. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** Data pages of each ring. Default 32 (128 KiB), as Linux has them. */
  readonly ringPages?: number;
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
  #channel: VmbClientChannel | undefined;
  #stage: Stage = 'closed';
  #negotiated: Negotiated | undefined;
  #closing: Promise<void> | undefined;
  #opening: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #slots: SrbSlot[] = [];
  readonly #freeSlots: SrbSlot[] = [];
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
    const { maxTransferBytes = DEFAULT_MAX_TRANSFER_BYTES } = options;
    if (!Number.isInteger(maxTransferBytes) || maxTransferBytes < PAGE_BYTES || maxTransferBytes % PAGE_BYTES !== 0) {
      throw new UsageError('ERR_ARGUMENT', `a largest transfer of ${maxTransferBytes} bytes is not whole pages`);
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
    const channel = this.#configure();
    this.#channel = channel;
    this.#stage = 'opening';
    const up = new Promise<void>((resolve, reject) => {
      this.#opening = { resolve, reject };
    });
    try {
      requireSuccess(VmbChannelEnable(channel), 'VmbChannelEnable');
      await up;
    } catch (error) {
      await this.#shutDown();
      throw error;
    }
  }

  /** Closes the channel. What is outstanding and what waits ends with `STATUS_CANCELLED`. */
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
    if (this.#stage !== 'ready') io.end(STATUS_DEVICE_NOT_CONNECTED);
    else if (this.#freeSlots.length === 0)
      this.#waiting.push(io); // While one waits, no slot is free.
    else this.#send(this.#freeSlots.pop() as SrbSlot, io);
  }

  inspect(): Record<string, unknown> {
    return {
      name: this.#name,
      stage: this.#stage,
      ...this.#negotiated,
      maxOutstanding: this.#maxOutstanding,
      outstanding: this.#slots.length - this.#freeSlots.length,
      waiting: this.#waiting.length,
      requests: this.#requests,
      badAnswers: this.#badAnswers,
    };
  }

  #configure(): VmbClientChannel {
    const { vmbus, instanceId = null, maxTransferBytes = DEFAULT_MAX_TRANSFER_BYTES } = this.#options;
    const ringPages = this.#options.ringPages ?? DEFAULT_RING_PAGES;
    const box = out<VmbClientChannel>();
    requireSuccess(
      VmbChannelAllocate(createDeviceObject({ vmbus, name: this.#name }), false, box),
      'VmbChannelAllocate',
    );
    const channel = box.value;
    requireSuccess(VmbChannelInitSetFriendlyName(channel, this.#name), 'VmbChannelInitSetFriendlyName');
    requireSuccess(
      VmbChannelInitSetMaximumPacketSize(channel, VSTOR_PACKET_BYTES),
      'VmbChannelInitSetMaximumPacketSize',
    );
    requireSuccess(
      VmbChannelInitSetMaximumExternalData(channel, maxTransferBytes, 1),
      'VmbChannelInitSetMaximumExternalData',
    );
    requireSuccess(
      VmbClientChannelInitSetRingBufferPageCount(channel, ringPages, ringPages),
      'VmbClientChannelInitSetRingBufferPageCount',
    );
    requireSuccess(
      VmbChannelInitSetProcessPacketCallbacks(channel, this.#hostPacket, null),
      'VmbChannelInitSetProcessPacketCallbacks',
    );
    const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
    callbacks.EvtChannelPostStarted = this.#postStarted;
    callbacks.EvtChannelSuspend = this.#suspended;
    callbacks.EvtChannelClosed = this.#closed;
    requireSuccess(VmbChannelInitSetStateChangeCallbacks(channel, callbacks), 'VmbChannelInitSetStateChangeCallbacks');
    requireSuccess(
      VmbClientChannelInitSetTargetPnp(channel, ClassId.Scsi, instanceId, this.#pnpFailed),
      'VmbClientChannelInitSetTargetPnp',
    );
    return channel;
  }

  /** Not waited for: a host that never answers must not keep the channel from closing. */
  readonly #postStarted = (): void => {
    void this.#initialise();
  };

  async #initialise(): Promise<void> {
    try {
      const negotiated = await negotiate(
        (packet) => this.#exchange(packet),
        this.#options.versions ?? ALL_STOR_VERSIONS,
      );
      if (this.#stage !== 'opening') return;
      this.#negotiated = negotiated;
      this.#makeSlots(negotiated.version);
      this.#stage = 'ready';
      this.#opening?.resolve();
      this.#opening = undefined;
    } catch (error) {
      this.#failOpening(error);
    }
  }

  /** One packet of the initialisation and a copy of its completion. */
  #exchange(bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const packet = this.#allocatePacket();
      VmbPacketSetCompletionRoutine(packet, (_packet, status, completion, completionBytes) => {
        VmbPacketFree(packet);
        if (status === STATUS_SUCCESS) resolve((completion ?? new Uint8Array(0)).slice(0, completionBytes));
        else reject(this.#gone(status));
      });
      const status = VmbPacketSend(packet, bytes, bytes.length, null, VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION);
      if (status === STATUS_SUCCESS) return;
      VmbPacketFree(packet);
      reject(this.#gone(status));
    });
  }

  #makeSlots(version: number): void {
    for (let index = 0; index < this.#maxOutstanding; index++) {
      const packet = this.#allocatePacket();
      const slot = new SrbSlot(packet, version);
      VmbPacketSetPointer(packet, slot);
      VmbPacketSetCompletionRoutine(packet, this.#completed);
      this.#slots.push(slot);
      this.#freeSlots.push(slot);
    }
  }

  #allocatePacket(): VmbPacket {
    const packet = this.#channel === undefined ? null : VmbPacketAllocate(this.#channel);
    if (packet === null) throw this.#gone(STATUS_DEVICE_REMOVED);
    return packet;
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
      const next = this.#stage === 'ready' ? this.#waiting.shift() : undefined;
      if (next === undefined) break;
      this.#requests++;
      const status = slot.send(next);
      if (status === STATUS_SUCCESS) return;
      next.end(status);
    }
    this.#freeSlots.push(slot);
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

  /** The host speaks unasked only to say that disks came or went (ENUMERATE_BUS, REMOVE_DEVICE). */
  readonly #hostPacket = (_channel: unknown, packet: VmbPacketCompletion): void => {
    VmbChannelPacketComplete(packet, null, 0);
    this.#options.onBusChanged?.();
  };

  /** No more sends: what waits here ends now; what is with the host is ended by KMCL. */
  readonly #suspended = (): void => {
    if (this.#stage === 'ready') this.#stage = 'closing'; // For good: nobody pauses this channel but to close it.
    for (let io = this.#waiting.shift(); io !== undefined; io = this.#waiting.shift()) io.end(STATUS_CANCELLED);
  };

  readonly #closed = (): void => {
    this.#failOpening(this.#gone(STATUS_DEVICE_REMOVED));
    if (this.#closing === undefined) this.#options.onClosed?.();
  };

  readonly #pnpFailed = (_channel: unknown, status: NtStatus): void => {
    this.#failOpening(this.#gone(status));
  };

  #shutDown(): Promise<void> {
    this.#closing ??= this.#disable().finally(() => {
      this.#closing = undefined;
    });
    return this.#closing;
  }

  async #disable(): Promise<void> {
    const channel = this.#channel;
    if (channel === undefined) return;
    this.#stage = 'closing';
    await VmbChannelDisable(channel);
    for (const slot of this.#slots) VmbPacketFree(slot.packet);
    this.#slots = [];
    this.#freeSlots.length = 0;
    this.#negotiated = undefined;
    this.#channel = undefined;
    VmbChannelCleanup(channel);
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
