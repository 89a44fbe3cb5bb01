/**
 * The host's end of a SCSI controller: answers the guest's storage driver on a primary channel and on as many
 * sub-channels as the guest asks for.
 *
 * The channels do the work (`stor-channel.ts`); here is what they have in common: the state of the initialisation, the
 * sub-channels that come with it and go with the primary, resets, and the word to the guest that units came or went.
 * Nothing is dropped: a guest that closes or resets waits until each of its requests has been answered.
 */
import type { HostVmbus } from '../../../channel/index.ts';
import { UsageError } from '../../../errors.ts';
import {
  type VmbPacket,
  VmbPacketAllocate,
  VmbPacketFree,
  VmbPacketSend,
  VmbPacketSetCompletionRoutine,
} from '../../../kmcl/index.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import type { Guid } from '../../../wire/guid.ts';
import { STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import {
  STOR_PROPERTY_MULTI_CHANNEL,
  StorVersion,
  VstorHeader,
  VstorOperation,
  vstorPacketBytes,
} from '../../../wire/storvsc.ts';
import { VmbusVersion } from '../../../wire/versions.ts';
import type { ScsiCommand } from '../target/command.ts';
import type { ScsiAddress, ScsiController } from '../target/controller.ts';
import { Barrier } from './barrier.ts';
import { FIRST_STATE, type ResetScope, type StorState, step, stepSubChannel } from './protocol.ts';
import { StorChannel, type StorCounters } from './stor-channel.ts';
import type { StorRequest } from './stor-request.ts';

export interface StorVspOptions {
  /** The bus of the guest that sees the controller. */
  readonly vmbus: HostVmbus;
  readonly controller: ScsiController;
  /** Which controller this is; a guest keeps its disks apart by it. */
  readonly instanceId: Guid;
  /** Largest transfer of one request, bytes: a multiple of 4096. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** Most requests under way at once on one channel; more wait in the ring. Default 256. */
  readonly maxInFlight?: number;
  /** Most sub-channels that the guest may ask for, 0..63. Linux asks for one less than it has processors. Default 7. */
  readonly maxSubChannels?: number;
  /** For messages and `inspect()`. Default `SCSI`. */
  readonly name?: string;
}

export const DEFAULT_STOR_TRANSFER_BYTES = 0x10_0000;
const DEFAULT_MAX_IN_FLIGHT = 256;
const DEFAULT_MAX_SUB_CHANNELS = 7;
/** Ours: more channels than any guest has queues for. */
const MOST_SUB_CHANNELS = 63;

export class StorVsp {
  readonly #options: Required<StorVspOptions>;
  readonly #counters: StorCounters = {
    inFlight: 0,
    requests: 0,
    refusedPackets: 0,
    bytesToGuest: 0,
    bytesFromGuest: 0,
  };
  #primary: StorChannel | undefined;
  #subChannels: StorChannel[] = [];
  #state: StorState = FIRST_STATE;
  #stopWatching: (() => void) | undefined;
  /** ENUMERATE_BUS is on its way; `again`: units came or went since. */
  #enumerating: 'no' | 'sent' | 'again' = 'no';

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range */
  constructor(options: StorVspOptions) {
    const {
      maxTransferBytes = DEFAULT_STOR_TRANSFER_BYTES,
      maxInFlight = DEFAULT_MAX_IN_FLIGHT,
      maxSubChannels = DEFAULT_MAX_SUB_CHANNELS,
      name = 'SCSI',
    } = options;
    if (!Number.isInteger(maxTransferBytes) || maxTransferBytes < PAGE_BYTES || maxTransferBytes % PAGE_BYTES !== 0) {
      throw new UsageError('ERR_ARGUMENT', `a largest transfer of ${maxTransferBytes} bytes is not whole pages`);
    }
    if (!Number.isInteger(maxInFlight) || maxInFlight < 1) {
      throw new UsageError('ERR_ARGUMENT', `${maxInFlight} requests under way is not 1 or more`);
    }
    if (!Number.isInteger(maxSubChannels) || maxSubChannels < 0 || maxSubChannels > MOST_SUB_CHANNELS) {
      throw new UsageError('ERR_ARGUMENT', `${maxSubChannels} sub-channels is outside 0..${MOST_SUB_CHANNELS}`);
    }
    this.#options = { ...options, maxTransferBytes, maxInFlight, maxSubChannels, name };
  }

  /** Offers the controller to the guest. @throws UsageError `ERR_STATE` if it is offered already */
  start(): void {
    if (this.#primary !== undefined) throw new UsageError('ERR_STATE', `${this.#options.name} is offered already`);
    const primary = this.#makeChannel(0);
    primary.offer();
    primary.run();
    this.#primary = primary;
    this.#stopWatching = this.#options.controller.watch((at) => this.#unitsChanged(at));
  }

  /** Takes the offers back. Resolves when every request is answered and the channels are gone; the disks stay open. */
  async stop(): Promise<void> {
    const primary = this.#primary;
    if (primary === undefined) return;
    this.#primary = undefined;
    this.#stopWatching?.();
    await Promise.all([this.#removeSubChannels(), primary.stop()]);
  }

  inspect(): Record<string, unknown> {
    return {
      name: this.#options.name,
      instanceId: this.#options.instanceId,
      isOffered: this.#primary !== undefined,
      state: { ...this.#state },
      subChannels: this.#subChannels.length,
      maxTransferBytes: this.#options.maxTransferBytes,
      maxInFlight: this.#options.maxInFlight,
      ...this.#counters,
      units: this.#options.controller.inspect(),
    };
  }

  #makeChannel(subchannelIndex: number): StorChannel {
    const { vmbus, controller, instanceId, maxTransferBytes, maxInFlight, name } = this.#options;
    return new StorChannel({
      vmbus,
      controller,
      instanceId,
      subchannelIndex,
      name: subchannelIndex === 0 ? name : `${name} (sub-channel ${subchannelIndex})`,
      maxTransferBytes,
      maxInFlight,
      counters: this.#counters,
      control: (channel, request) => this.#control(channel, request),
      ...(subchannelIndex === 0 ? { opened: () => this.#startAnew(), closed: () => this.#primaryClosed() } : {}),
    });
  }

  /** Every open starts the protocol anew, whatever the last one came to. */
  #startAnew(): void {
    this.#state = FIRST_STATE;
    if (this.#primary !== undefined) this.#primary.isReady = false;
  }

  /** Sub-channels live no longer than their primary; a reset of the guest looks like a close. */
  async #primaryClosed(): Promise<void> {
    this.#startAnew();
    await this.#removeSubChannels();
    this.#options.controller.nexusLost();
  }

  async #removeSubChannels(): Promise<void> {
    const subChannels = this.#subChannels;
    this.#subChannels = [];
    await Promise.all(subChannels.map((channel) => channel.stop()));
  }

  /** Sub-channels that the guest may ask for: a bus before 2.4 has no way to tell it which is which. */
  #maxSubChannelCount(version: number): number {
    const { vmbus, maxSubChannels } = this.#options;
    return version >= StorVersion.WIN8 && vmbus.bus.version >= VmbusVersion.WIN8 ? maxSubChannels : 0;
  }

  /** Everything but I/O: the table of moves decides. */
  #control(channel: StorChannel, request: StorRequest): void {
    const version = 'version' in this.#state ? this.#state.version : 0;
    const event = {
      operation: request.operation,
      value: request.payloadValue,
      maxSubChannelCount: this.#maxSubChannelCount(version),
    };
    const { next, status, action } = (channel.isSubChannel ? stepSubChannel : step)(this.#state, event);
    this.#state = next;
    switch (action?.do) {
      case 'describe':
        channel.answerProperties(request, this.#properties(version));
        return;
      case 'offerSubChannels':
        // Channels are made at PASSIVE. The primary cannot close meanwhile: its packet is not answered yet.
        this.#options.vmbus.scheduler.passive(() => {
          channel.answerStatus(request, this.#offerSubChannels(action.count));
        });
        return;
      case 'reset':
        this.#reset(channel, request, action.scope);
        return;
      case 'letRun':
        channel.isReady = true;
        for (const subChannel of this.#subChannels) this.#letRun(subChannel);
        break;
      case undefined:
        break;
    }
    channel.answerStatus(request, status);
  }

  #properties(version: number): Parameters<StorChannel['answerProperties']>[1] {
    const maxSubChannelCount = this.#maxSubChannelCount(version);
    return {
      maxSubChannelCount,
      flags: maxSubChannelCount > 0 ? STOR_PROPERTY_MULTI_CHANNEL : 0,
      maxTransferBytes: this.#options.maxTransferBytes,
    };
  }

  /** All of them or none. @returns the status of the answer */
  #offerSubChannels(count: number): number {
    try {
      for (let index = 1; index <= count; index++) {
        const subChannel = this.#makeChannel(index);
        this.#subChannels.push(subChannel);
        subChannel.offer();
        // Before the end of the initialisation it may be opened, and what is sent on it waits in its ring.
        if (this.#state.at === 'ready') this.#letRun(subChannel);
      }
      return STATUS_SUCCESS;
    } catch (error) {
      // The bus has no channel id left. Whatever else is wrong is a bug of ours.
      if (!(error instanceof UsageError) || error.code !== 'ERR_RESOURCES') throw error;
      void this.#removeSubChannels();
      return STATUS_INSUFFICIENT_RESOURCES;
    }
  }

  #letRun(subChannel: StorChannel): void {
    subChannel.isReady = true;
    subChannel.run();
  }

  /** Answered when everything that was under way at the addresses in question has been answered, on any channel. */
  #reset(channel: StorChannel, request: StorRequest, scope: ResetScope): void {
    const { path, target, lun } = request.address;
    const { controller } = this.#options;
    const isMeant = (at: { path: number; target: number; lun: number }): boolean =>
      scope === 'adapter' || (at.path === path && (scope === 'bus' || (at.target === target && at.lun === lun)));
    const underWay = [this.#primary, ...this.#subChannels].flatMap(
      (each) => each?.underWay((command: ScsiCommand) => isMeant(command)) ?? [],
    );
    new Barrier(underWay, () => {
      for (const at of controller.units()) if (isMeant(at)) at.unit.reset();
      channel.answerStatus(request, STATUS_SUCCESS);
    });
  }

  /** A unit came or went. A guest that is not ready yet will look at all of them anyway. */
  #unitsChanged(at: Required<ScsiAddress>): void {
    if (this.#state.at !== 'ready') return;
    for (const { path, target, lun, unit } of this.#options.controller.units()) {
      if (path === at.path && target === at.target && lun !== at.lun) unit.lunsChanged();
    }
    // One that speaks less than 4.2 does not know the message.
    if (this.#state.version < StorVersion.WIN7) return;
    if (this.#enumerating === 'no') this.#sendEnumerateBus(this.#state.version);
    else this.#enumerating = 'again';
  }

  #sendEnumerateBus(version: number): void {
    const packet = this.#primary === undefined ? null : VmbPacketAllocate(this.#primary.channel);
    if (packet === null) return;
    const bytes = new Uint8Array(vstorPacketBytes(version));
    VstorHeader.write(bytes, 0, { operation: VstorOperation.EnumerateBus, flags: 0, status: 0 });
    VmbPacketSetCompletionRoutine(packet, this.#enumerateBusSent);
    this.#enumerating = 'sent';
    // In-band, no completion wanted: Linux takes transaction id 0 for a word of the host's own.
    if (VmbPacketSend(packet, bytes, bytes.length, null, 0) !== STATUS_SUCCESS) this.#enumerateBusSent(packet);
  }

  /** It is in the ring, or never will be. One at a time, so that a guest that does not read costs no more than that. */
  readonly #enumerateBusSent = (packet: VmbPacket): void => {
    VmbPacketFree(packet);
    const isDue = this.#enumerating === 'again';
    this.#enumerating = 'no';
    if (isDue && this.#state.at === 'ready') this.#sendEnumerateBus(this.#state.version);
  };
}
