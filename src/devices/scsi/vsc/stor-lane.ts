/** One channel of a guest's storage driver, primary or sub-channel, with the requests that may be under way on it. */
import type { GuestVmbus } from '../../../channel/index.ts';
import type { VmbusError } from '../../../errors.ts';
import {
  createDeviceObject,
  out,
  setSubchannelIndex,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelGetInterfaceInstance,
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
  VmbPacketSend,
  VmbPacketSetCompletionRoutine,
  VmbPacketSetPointer,
} from '../../../kmcl/index.ts';
import { ClassId } from '../../../wire/class-ids.ts';
import type { Guid } from '../../../wire/guid.ts';
import { type NtStatus, STATUS_DEVICE_REMOVED, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import { VSTOR_PACKET_BYTES } from '../../../wire/storvsc.ts';
import { requireSuccess } from '../kmcl-status.ts';
import { channelGone } from './failure.ts';
import { SrbSlot } from './srb-slot.ts';

export interface StorLaneOptions {
  readonly vmbus: GuestVmbus;
  /** `null`: any controller. */
  readonly instanceId: Guid | null;
  /** 0 for the primary channel. */
  readonly subchannelIndex: number;
  readonly name: string;
  readonly maxTransferBytes: number;
  readonly ringPages: number;
  /** Packets flow. */
  readonly started: (lane: StorLane) => void;
  /** No more sends; what is with the host is ended by KMCL, with a completion each. */
  readonly suspended: (lane: StorLane) => void;
  readonly closed: (lane: StorLane) => void;
  /** The offer was there and could not be opened. */
  readonly failed: (status: NtStatus) => void;
  /** The host spoke unasked. */
  readonly told: () => void;
}

/** What a completion is handed to. */
export type SlotCompleted = (
  packet: VmbPacket,
  status: NtStatus,
  completion: Uint8Array | null,
  completionBytes: number,
) => void;

export class StorLane {
  /** Requests that may be sent now; taken from the end and put back there. */
  readonly freeSlots: SrbSlot[] = [];
  /** Requests may be sent. */
  isRunning = false;
  readonly #options: StorLaneOptions;
  readonly #channel: VmbClientChannel;
  #slots: SrbSlot[] = [];
  #ending: Promise<void> | undefined;

  constructor(options: StorLaneOptions) {
    this.#options = options;
    this.#channel = this.#configure();
  }

  /** Requests that are with the host. */
  get outstanding(): number {
    return this.#slots.length - this.freeSlots.length;
  }

  /** The controller that the channel was opened to. */
  get instanceId(): Guid {
    const instance = out<Guid>();
    VmbChannelGetInterfaceInstance(this.#channel, instance);
    return instance.value;
  }

  /** Opens the channel, now or when its offer comes. */
  enable(): void {
    requireSuccess(VmbChannelEnable(this.#channel), 'VmbChannelEnable');
  }

  /** Closes the channel. Resolves when it is gone; what was under way has ended by then. */
  disable(): Promise<void> {
    this.#ending ??= this.#disable();
    return this.#ending;
  }

  /** All requests that may ever be under way at once: from here on a request allocates nothing. */
  makeSlots(version: number, count: number, completed: SlotCompleted): void {
    for (let index = 0; index < count; index++) {
      const packet = this.#allocatePacket();
      const slot = new SrbSlot(packet, version, this);
      VmbPacketSetPointer(packet, slot);
      VmbPacketSetCompletionRoutine(packet, completed);
      this.#slots.push(slot);
      this.freeSlots.push(slot);
    }
  }

  /** One packet of the initialisation and a copy of its completion. @throws (rejects) PeerError if none will come */
  exchange(bytes: Uint8Array): Promise<Uint8Array> {
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

  #configure(): VmbClientChannel {
    const { vmbus, instanceId, subchannelIndex, name, maxTransferBytes, ringPages } = this.#options;
    const box = out<VmbClientChannel>();
    requireSuccess(VmbChannelAllocate(createDeviceObject({ vmbus, name }), false, box), 'VmbChannelAllocate');
    const channel = box.value;
    requireSuccess(VmbChannelInitSetFriendlyName(channel, name), 'VmbChannelInitSetFriendlyName');
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
      VmbChannelInitSetProcessPacketCallbacks(channel, this.#told, null),
      'VmbChannelInitSetProcessPacketCallbacks',
    );
    const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
    callbacks.EvtChannelPostStarted = this.#started;
    callbacks.EvtChannelSuspend = this.#suspended;
    callbacks.EvtChannelClosed = this.#closed;
    requireSuccess(VmbChannelInitSetStateChangeCallbacks(channel, callbacks), 'VmbChannelInitSetStateChangeCallbacks');
    requireSuccess(
      VmbClientChannelInitSetTargetPnp(channel, ClassId.Scsi, instanceId, this.#failed),
      'VmbClientChannelInitSetTargetPnp',
    );
    requireSuccess(setSubchannelIndex(channel, subchannelIndex), 'setSubchannelIndex');
    return channel;
  }

  readonly #started = (): void => {
    this.isRunning = true;
    this.#options.started(this);
  };

  readonly #suspended = (): void => {
    this.isRunning = false;
    this.#options.suspended(this);
  };

  readonly #closed = (): void => this.#options.closed(this);

  readonly #failed = (_channel: unknown, status: NtStatus): void => this.#options.failed(status);

  readonly #told = (_channel: unknown, packet: VmbPacketCompletion): void => {
    VmbChannelPacketComplete(packet, null, 0);
    this.#options.told();
  };

  #allocatePacket(): VmbPacket {
    const packet = VmbPacketAllocate(this.#channel);
    if (packet === null) throw this.#gone(STATUS_DEVICE_REMOVED);
    return packet;
  }

  async #disable(): Promise<void> {
    this.isRunning = false;
    await VmbChannelDisable(this.#channel);
    for (const slot of this.#slots) VmbPacketFree(slot.packet);
    this.#slots = [];
    this.freeSlots.length = 0;
    VmbChannelCleanup(this.#channel);
  }

  #gone(status: NtStatus): VmbusError {
    return channelGone(this.#options.name, status);
  }
}
