/**
 * One channel of a controller, primary or sub-channel: takes its packets in and answers them, each on the channel that
 * it came by.
 *
 * Every packet is copied, checked and answered by itself; whatever a guest sends, the channel and the host live on. Many
 * requests are under way at once and complete in the order in which the stores finish.
 */
import type { HostVmbus } from '../../../channel/index.ts';
import { AddressError, assert } from '../../../errors.ts';
import {
  createDeviceObject,
  MmGetSystemAddressForMdlSafe,
  out,
  setSubchannelIndex,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY,
  VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetFriendlyName,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketGetExternalData,
  VmbChannelSetTransactionQuota,
  VmbChannelStart,
  type VmbPacketCompletion,
  type VmbServerChannel,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../../kmcl/index.ts';
import type { Mdl } from '../../../memory/mdl.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import type { ScatterView } from '../../../memory/scatter-view.ts';
import { ClassId } from '../../../wire/class-ids.ts';
import type { Guid } from '../../../wire/guid.ts';
import { STATUS_INVALID_DEVICE_REQUEST, STATUS_PENDING, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import { VstorOperation } from '../../../wire/storvsc.ts';
import { requireSuccess } from '../kmcl-status.ts';
import type { ScsiCommand } from '../target/command.ts';
import type { ScsiController } from '../target/controller.ts';
import { SENSE } from '../target/sense.ts';
import { StorRequest } from './stor-request.ts';

/** Sums over all channels of a controller, for `inspect()`. */
export interface StorCounters {
  inFlight: number;
  requests: number;
  refusedPackets: number;
  bytesToGuest: number;
  bytesFromGuest: number;
}

export interface StorChannelOptions {
  readonly vmbus: HostVmbus;
  readonly controller: ScsiController;
  readonly instanceId: Guid;
  /** 0 for the primary channel. */
  readonly subchannelIndex: number;
  readonly name: string;
  readonly maxTransferBytes: number;
  readonly maxInFlight: number;
  readonly counters: StorCounters;
  /** A message that is no I/O, or I/O before its time; answered with `answer…`, now or later. */
  readonly control: (channel: StorChannel, request: StorRequest) => void;
  readonly opened?: () => void;
  /** The guest has closed it, or is gone; the next open waits for the promise. */
  readonly closed?: () => Promise<void>;
}

export class StorChannel {
  readonly isSubChannel: boolean;
  /** I/O is legal: the initialisation is over. */
  isReady = false;
  readonly #options: StorChannelOptions;
  readonly #counters: StorCounters;
  readonly #controller: ScsiController;
  readonly #channel: VmbServerChannel;
  /** All request objects ever made, so that a reset finds those that are under way. */
  readonly #requests: StorRequest[] = [];
  readonly #idleRequests: StorRequest[] = [];
  readonly #mdl: { value: Mdl | undefined } = { value: undefined };
  #ending: Promise<void> | undefined;

  constructor(options: StorChannelOptions) {
    this.#options = options;
    this.#counters = options.counters;
    this.#controller = options.controller;
    this.isSubChannel = options.subchannelIndex > 0;
    this.#channel = this.#configure();
  }

  get channel(): VmbServerChannel {
    return this.#channel;
  }

  /** Offers the channel. Packets are taken once `run` is called. @throws UsageError if the bus will not have it */
  offer(): void {
    requireSuccess(VmbChannelEnable(this.#channel), 'VmbChannelEnable');
  }

  run(): void {
    VmbChannelStart(this.#channel);
  }

  /** Takes the offer back. Resolves when every request is answered and the channel is gone. */
  stop(): Promise<void> {
    this.#ending ??= this.#disable();
    return this.#ending;
  }

  /** Requests that are under way at addresses that `matches` says yes to. */
  underWay(matches: (command: ScsiCommand) => boolean): StorRequest[] {
    return this.#requests.filter(({ command }) => command.isRunning && matches(command));
  }

  answerStatus(request: StorRequest, status: number): void {
    if (status !== STATUS_SUCCESS) this.#counters.refusedPackets++;
    this.#complete(request, request.encodeStatus(status));
  }

  answerProperties(request: StorRequest, properties: Parameters<StorRequest['encodeProperties']>[0]): void {
    this.#complete(request, request.encodeProperties(properties));
  }

  #configure(): VmbServerChannel {
    const { vmbus, instanceId, subchannelIndex, maxTransferBytes, maxInFlight, name } = this.#options;
    const box = out<VmbServerChannel>();
    requireSuccess(VmbChannelAllocate(createDeviceObject({ vmbus, name }), true, box), 'VmbChannelAllocate');
    const channel = box.value;
    requireSuccess(VmbChannelInitSetFriendlyName(channel, name), 'VmbChannelInitSetFriendlyName');
    // One page more than the transfer: its data may begin and end inside pages. As many ranges as that has pages,
    // because some senders describe each page by itself.
    const pageCount = maxTransferBytes / PAGE_BYTES + 1;
    requireSuccess(
      VmbChannelInitSetMaximumExternalData(channel, pageCount * PAGE_BYTES, pageCount),
      'VmbChannelInitSetMaximumExternalData',
    );
    requireSuccess(
      VmbChannelInitSetProcessPacketCallbacks(channel, this.#processPacket, null),
      'VmbChannelInitSetProcessPacketCallbacks',
    );
    const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
    callbacks.EvtChannelOpened = this.#opened;
    callbacks.EvtChannelClosed = this.#closed;
    requireSuccess(VmbChannelInitSetStateChangeCallbacks(channel, callbacks), 'VmbChannelInitSetStateChangeCallbacks');
    requireSuccess(
      VmbServerChannelInitSetTargetInterfaceId(channel, ClassId.Scsi, instanceId),
      'VmbServerChannelInitSetTargetInterfaceId',
    );
    requireSuccess(setSubchannelIndex(channel, subchannelIndex), 'setSubchannelIndex');
    VmbChannelSetTransactionQuota(channel, maxInFlight);
    return channel;
  }

  readonly #opened = (): number => {
    this.#options.opened?.();
    return STATUS_SUCCESS;
  };

  readonly #closed = async (): Promise<void> => {
    await this.#options.closed?.();
  };

  async #disable(): Promise<void> {
    await VmbChannelDisable(this.#channel);
    VmbChannelCleanup(this.#channel);
  }

  readonly #processPacket = (
    _channel: unknown,
    packet: VmbPacketCompletion,
    buffer: Uint8Array,
    bufferBytes: number,
    flags: number,
  ): void => {
    const request = this.#idleRequests.pop() ?? this.#newRequest();
    request.load(packet, buffer, bufferBytes);
    // Too short for a header, so nothing can be said but that.
    if (!request.hasHeader) this.answerStatus(request, STATUS_INVALID_DEVICE_REQUEST);
    else if (this.isReady && request.operation === VstorOperation.ExecuteSrb) {
      this.#executeSrb(request, (flags & VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA) !== 0);
    } else this.#options.control(this, request);
  };

  #executeSrb(request: StorRequest, hasExternalData: boolean): void {
    const { command } = request;
    const isWhole = request.decodeCommand();
    const offeredBytes = request.offeredBytes;
    if (isWhole && offeredBytes > 0) {
      const data = this.#dataOf(request, offeredBytes, hasExternalData);
      if (data === 'later') {
        this.#release(request);
        return;
      }
      command.data = data;
    }
    this.#counters.inFlight++;
    this.#counters.requests++;
    command.begin();
    if (!isWhole || (offeredBytes > 0 && command.data === undefined)) command.refuse(SENSE.InvalidFieldInCdb);
    else this.#controller.execute(command);
  }

  /**
   * Exactly the bytes that the guest offers, in its own pages.
   * @returns `undefined` if it offers more than it describes or than we allow, or describes what is not its memory;
   *   `later` if the memory is not there yet: the packet comes again
   */
  #dataOf(request: StorRequest, offeredBytes: number, hasExternalData: boolean): ScatterView | undefined | 'later' {
    if (!hasExternalData || offeredBytes > this.#options.maxTransferBytes) return undefined;
    const access = request.isWriteToDevice ? VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY : 0;
    const status = VmbChannelPacketGetExternalData(packetOf(request), access, this.#mdl as { value: Mdl });
    if (status === STATUS_PENDING) return 'later';
    const mdl = this.#mdl.value;
    this.#mdl.value = undefined;
    if (status !== STATUS_SUCCESS || mdl === undefined) return undefined;
    try {
      const view = MmGetSystemAddressForMdlSafe(mdl);
      if (view.byteLength === offeredBytes) return view;
      return view.byteLength > offeredBytes ? view.slice(0, offeredBytes) : undefined;
    } catch (error) {
      // A page that the guest does not have: its own request fails, nothing else.
      if (error instanceof AddressError) return undefined;
      throw error;
    }
  }

  #finished(request: StorRequest): void {
    const { command } = request;
    const counters = this.#counters;
    counters.inFlight--;
    if (request.isWriteToDevice) counters.bytesFromGuest += command.transferredBytes;
    else counters.bytesToGuest += command.transferredBytes;
    if (request.keepsSense && command.sense !== undefined) {
      this.#controller.unitAt(command.path, command.target, command.lun)?.keepSense(command.sense);
    }
    command.data = undefined;
    const { barriers } = request;
    request.barriers = undefined;
    this.#complete(request, request.encodeResult());
    if (barriers !== undefined) for (const barrier of barriers) barrier.passed();
  }

  #complete(request: StorRequest, completionBytes: number): void {
    VmbChannelPacketComplete(packetOf(request), request.bytes, completionBytes);
    this.#release(request);
  }

  #release(request: StorRequest): void {
    request.packet = undefined;
    this.#idleRequests.push(request);
  }

  #newRequest(): StorRequest {
    const request = new StorRequest();
    request.command.onDone = (_command: ScsiCommand) => this.#finished(request);
    this.#requests.push(request);
    return request;
  }
}

function packetOf(request: StorRequest): VmbPacketCompletion {
  assert(request.packet !== undefined, 'a storage request in the pool is worked on');
  return request.packet;
}
