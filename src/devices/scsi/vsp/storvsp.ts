/**
 * The host's end of a SCSI controller: answers the guest's storage driver on one channel.
 *
 * Every packet is copied, checked and answered by itself; whatever a guest sends, the channel and the host live on. Many
 * requests are under way at once and complete in the order in which the stores finish. Nothing is dropped: a guest that
 * closes or resets waits until each of its requests has been answered.
 */
import type { HostVmbus } from '../../../channel/index.ts';
import { AddressError, assert, UsageError } from '../../../errors.ts';
import {
  createDeviceObject,
  MmGetSystemAddressForMdlSafe,
  out,
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
import { FIRST_STATE, type StorState, step } from './protocol.ts';
import { StorRequest } from './stor-request.ts';

export interface StorVspOptions {
  /** The bus of the guest that sees the controller. */
  readonly vmbus: HostVmbus;
  readonly controller: ScsiController;
  /** Which controller this is; a guest keeps its disks apart by it. */
  readonly instanceId: Guid;
  /** Largest transfer of one request, bytes: a multiple of 4096. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** Most requests under way at once; more wait in the ring. Default 256. */
  readonly maxInFlight?: number;
  /** For messages and `inspect()`. Default `SCSI`. */
  readonly name?: string;
}

export const DEFAULT_STOR_TRANSFER_BYTES = 0x10_0000;
const DEFAULT_MAX_IN_FLIGHT = 256;

export class StorVsp {
  readonly #options: Required<StorVspOptions>;
  #channel: VmbServerChannel | undefined;
  #state: StorState = FIRST_STATE;
  readonly #idleRequests: StorRequest[] = [];
  readonly #mdl: { value: Mdl | undefined } = { value: undefined };
  #inFlight = 0;
  #requests = 0;
  #refusedPackets = 0;
  #bytesToGuest = 0;
  #bytesFromGuest = 0;

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range */
  constructor(options: StorVspOptions) {
    const {
      maxTransferBytes = DEFAULT_STOR_TRANSFER_BYTES,
      maxInFlight = DEFAULT_MAX_IN_FLIGHT,
      name = 'SCSI',
    } = options;
    if (!Number.isInteger(maxTransferBytes) || maxTransferBytes < PAGE_BYTES || maxTransferBytes % PAGE_BYTES !== 0) {
      throw new UsageError('ERR_ARGUMENT', `a largest transfer of ${maxTransferBytes} bytes is not whole pages`);
    }
    if (!Number.isInteger(maxInFlight) || maxInFlight < 1) {
      throw new UsageError('ERR_ARGUMENT', `${maxInFlight} requests under way is not 1 or more`);
    }
    this.#options = { ...options, maxTransferBytes, maxInFlight, name };
  }

  /** Offers the controller to the guest. @throws UsageError `ERR_STATE` if it is offered already */
  start(): void {
    if (this.#channel !== undefined) throw new UsageError('ERR_STATE', `${this.#options.name} is offered already`);
    const { vmbus, instanceId, maxTransferBytes, maxInFlight, name } = this.#options;
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
    requireSuccess(VmbChannelInitSetStateChangeCallbacks(channel, callbacks), 'VmbChannelInitSetStateChangeCallbacks');
    requireSuccess(
      VmbServerChannelInitSetTargetInterfaceId(channel, ClassId.Scsi, instanceId),
      'VmbServerChannelInitSetTargetInterfaceId',
    );
    VmbChannelSetTransactionQuota(channel, maxInFlight);
    requireSuccess(VmbChannelEnable(channel), 'VmbChannelEnable');
    VmbChannelStart(channel);
    this.#channel = channel;
  }

  /** Takes the offer back. Resolves when every request is answered and the channel is gone; the disks stay open. */
  async stop(): Promise<void> {
    const channel = this.#channel;
    if (channel === undefined) return;
    this.#channel = undefined;
    await VmbChannelDisable(channel);
    VmbChannelCleanup(channel);
  }

  inspect(): Record<string, unknown> {
    return {
      name: this.#options.name,
      instanceId: this.#options.instanceId,
      isOffered: this.#channel !== undefined,
      state: { ...this.#state },
      maxTransferBytes: this.#options.maxTransferBytes,
      maxInFlight: this.#options.maxInFlight,
      inFlight: this.#inFlight,
      requests: this.#requests,
      refusedPackets: this.#refusedPackets,
      bytesToGuest: this.#bytesToGuest,
      bytesFromGuest: this.#bytesFromGuest,
      units: this.#options.controller.inspect(),
    };
  }

  /** Every open starts the protocol anew, whatever the last one came to. */
  readonly #opened = (): number => {
    this.#state = FIRST_STATE;
    return STATUS_SUCCESS;
  };

  readonly #processPacket = (
    _channel: unknown,
    packet: VmbPacketCompletion,
    buffer: Uint8Array,
    bufferBytes: number,
    flags: number,
  ): void => {
    const request = this.#idleRequests.pop() ?? this.#newRequest();
    request.load(packet, buffer, bufferBytes);
    if (!request.hasHeader) this.#refuse(request);
    else if (request.operation === VstorOperation.ExecuteSrb && this.#state.at === 'ready') {
      this.#executeSrb(request, (flags & VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA) !== 0);
    } else this.#control(request);
  };

  /** Everything but I/O: the table of moves decides. */
  #control(request: StorRequest): void {
    const { next, status, withProperties } = step(this.#state, {
      operation: request.operation,
      value: request.payloadValue,
      maxSubChannelCount: 0,
    });
    this.#state = next;
    if (status !== STATUS_SUCCESS) this.#refusedPackets++;
    const completionBytes =
      withProperties === true
        ? request.encodeProperties({
            maxSubChannelCount: 0,
            flags: 0,
            maxTransferBytes: this.#options.maxTransferBytes,
          })
        : request.encodeStatus(status);
    this.#complete(request, completionBytes);
  }

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
    this.#inFlight++;
    this.#requests++;
    command.begin();
    if (!isWhole || (offeredBytes > 0 && command.data === undefined)) command.refuse(SENSE.InvalidFieldInCdb);
    else this.#options.controller.execute(command);
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
    this.#inFlight--;
    if (request.isWriteToDevice) this.#bytesFromGuest += command.transferredBytes;
    else this.#bytesToGuest += command.transferredBytes;
    if (request.keepsSense && command.sense !== undefined) {
      this.#options.controller.unitAt(command.path, command.target, command.lun)?.keepSense(command.sense);
    }
    command.data = undefined;
    this.#complete(request, request.encodeResult());
  }

  /** Too short for a header, so nothing can be said but that. */
  #refuse(request: StorRequest): void {
    this.#refusedPackets++;
    this.#complete(request, request.encodeStatus(STATUS_INVALID_DEVICE_REQUEST));
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
    return request;
  }
}

function packetOf(request: StorRequest): VmbPacketCompletion {
  assert(request.packet !== undefined, 'a storage request in the pool is worked on');
  return request.packet;
}
