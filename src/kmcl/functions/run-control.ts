/** Enable, Disable, Start, Pause. */
import { currentIrql, GuestVmbus, HostVmbus, Irql } from '../../channel/index.ts';
import {
  type NtStatus,
  STATUS_CANCELLED,
  STATUS_DEVICE_DOES_NOT_EXIST,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { OfferFlag } from '../../wire/offer-flags.ts';
import {
  VMBUS_SERVER_CHANNEL_INIT_FLAG_ENUMERATE_DEVICE_INTERFACE,
  VMBUS_SERVER_CHANNEL_INIT_FLAG_FORCE_NEW_CHANNEL,
  VMBUS_SERVER_CHANNEL_INIT_FLAG_LOOPBACK_OFFER,
  VMBUS_SERVER_CHANNEL_INIT_FLAG_OFFER_AS_PIPE,
  VMBUS_SERVER_CHANNEL_INIT_FLAG_TLNPI_PROVIDER_OFFER,
} from '../constants.ts';
import { bugCheck } from '../objects/bug-check.ts';
import { type ChannelObject, channelOf, findChannel } from '../objects/channel-object.ts';
import type { VmbChannel } from '../objects/handles.ts';

/** `VMBPIPE_TYPE_MESSAGE` in an offer's user-defined area. Source: Linux `include/linux/hyperv.h`. */
const PIPE_TYPE_MESSAGE = 4;

/**
 * Makes the channel known. A server offers it; a client opens a matching offer, or waits for one. Returns without
 * waiting for the peer. A client runs as soon as it is open; a server also needs `VmbChannelStart`.
 *
 * A server channel that was restored goes on with the guest's rings where it was saved, and Opened tells the driver so
 * (undocumented); with FORCE_NEW_CHANNEL, or if the guest has closed it, its packets complete with
 * `STATUS_DEVICE_REMOVED`.
 *
 * @returns `STATUS_SUCCESS`; undocumented: `STATUS_INVALID_PARAMETER_1` for a bad handle;
 *   `STATUS_INVALID_DEVICE_STATE` unless Disabled; `STATUS_DEVICE_DOES_NOT_EXIST` if neither the device nor an InitSet
 *   function named a bus of this endpoint's kind; `STATUS_INVALID_DEVICE_REQUEST` without an identity (the server's own,
 *   or the client's target), or when the same identity is offered already
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_ENABLE.
 */
export function VmbChannelEnable(channel: VmbChannel): NtStatus {
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!object.endpoint.isDisabled) return STATUS_INVALID_DEVICE_STATE;
  return object.isServer ? enableServer(object) : enableClient(object);
}

function enableClient(object: ChannelObject): NtStatus {
  const { vmbus, interfaceId, instanceId } = object.device;
  if (!(vmbus instanceof GuestVmbus)) return STATUS_DEVICE_DOES_NOT_EXIST;
  const target =
    object.target ??
    object.primary?.target ??
    (interfaceId === undefined ? null : { interfaceId, instanceId: instanceId ?? null, subchannelIndex: 0 });
  if (target === null) return STATUS_INVALID_DEVICE_REQUEST;
  vmbus.enable(object.endpoint, { ...target, subchannelIndex: object.subchannelIndex });
  return STATUS_SUCCESS;
}

function enableServer(object: ChannelObject): NtStatus {
  const { subchannelIndex } = object;
  const { flags, mmioMegabytes, mmioMegabytesOptional, targetVtl } = object.server;
  const identity = object.serverIdentity();
  const vmbus = object.server.vmbus ?? object.primary?.server.vmbus ?? object.device.vmbus;
  if (!(vmbus instanceof HostVmbus)) return STATUS_DEVICE_DOES_NOT_EXIST;
  if (identity === null || vmbus.isOffered({ ...identity, subchannelIndex })) return STATUS_INVALID_DEVICE_REQUEST;
  const { isPipe } = object.endpoint.settings;
  // The guest loses the channel that it had, and gets a new one once it has let go of that.
  const isNew = (flags & VMBUS_SERVER_CHANNEL_INIT_FLAG_FORCE_NEW_CHANNEL) !== 0;
  if (isNew) vmbus.revokeRestored({ ...identity, subchannelIndex });
  vmbus.enable(object.endpoint, {
    ...identity,
    subchannelIndex,
    flags: offerFlags(flags, isPipe),
    mmioMegabytes,
    mmioMegabytesOptional,
    targetVtl,
    ...(isPipe ? { userDefined: pipeUserArea() } : {}),
  });
  const { restored } = object;
  object.restored = null;
  // The rings that it was saved with are gone, so nobody will answer.
  if (restored?.wasOpen === true && object.endpoint.stage === 'enabled') object.endpoint.retire(STATUS_DEVICE_REMOVED);
  return STATUS_SUCCESS;
}

function offerFlags(flags: number, isPipe: boolean): number {
  let bits = isPipe ? OfferFlag.NamedPipeMode : 0;
  if ((flags & VMBUS_SERVER_CHANNEL_INIT_FLAG_LOOPBACK_OFFER) !== 0) bits |= OfferFlag.LoopbackOffer;
  if ((flags & VMBUS_SERVER_CHANNEL_INIT_FLAG_ENUMERATE_DEVICE_INTERFACE) !== 0) {
    bits |= OfferFlag.EnumerateDeviceInterface;
  }
  if ((flags & VMBUS_SERVER_CHANNEL_INIT_FLAG_OFFER_AS_PIPE) !== 0) bits |= OfferFlag.NamedPipeMode;
  if ((flags & VMBUS_SERVER_CHANNEL_INIT_FLAG_TLNPI_PROVIDER_OFFER) !== 0) bits |= OfferFlag.TlnpiProvider;
  return bits;
}

function pipeUserArea(): Uint8Array {
  const area = new Uint8Array(120);
  area[0] = PIPE_TYPE_MESSAGE;
  return area;
}

/**
 * Ends the channel: a client closes it, a server takes its offer back. Resolves when all is torn down: Suspend called,
 * incoming packets completed, Closed returned. On a Disabled channel nothing happens (undocumented).
 *
 * Sends that have no completion by then complete with `STATUS_CANCELLED` (undocumented).
 * @throws BugCheck K-097 from inside one of this channel's state-change callbacks, which it would wait for; K-018 at
 *   DISPATCH; K-021 for a dead handle. The promise rejects with them
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_DISABLE.
 */
export async function VmbChannelDisable(channel: VmbChannel): Promise<void> {
  const object = mayWait(channel, 'VmbChannelDisable');
  if (object.restored !== null) {
    object.restored = null;
    object.endpoint.retire(STATUS_CANCELLED);
  }
  await object.endpoint.disable();
}

/**
 * Leaves the paused state: on an open channel Started and PostStarted follow; before that they follow Opened.
 *
 * On a Disabled channel nothing happens (undocumented), and on a running one neither.
 * @throws BugCheck K-097 from inside one of this channel's state-change callbacks; K-021 for a dead handle
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_START.
 */
export function VmbChannelStart(channel: VmbChannel): void {
  const object = channelOf(channel);
  refuseInCallback(object, 'VmbChannelStart');
  object.endpoint.start();
}

/**
 * Enters the paused state. Resolves when Suspend has returned and no incoming packet is with the driver any more. On a
 * Disabled channel it makes the next open stop after Opened.
 *
 * @throws BugCheck K-097 from inside one of this channel's state-change callbacks; K-018 at DISPATCH; K-021 for a dead
 *   handle. The promise rejects with them
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_PAUSE.
 */
export async function VmbChannelPause(channel: VmbChannel): Promise<void> {
  const object = mayWait(channel, 'VmbChannelPause');
  await object.endpoint.pause();
}

function mayWait(channel: VmbChannel, name: string): ChannelObject {
  const object = channelOf(channel);
  if (currentIrql() !== Irql.Passive) {
    throw bugCheck(object.endpoint, 'K-018', `${name} at DISPATCH; it waits, so it needs PASSIVE`);
  }
  refuseInCallback(object, name);
  return object;
}

/**
 * Differs from Windows: what a callback does after its first `await` cannot be told from what others do, so only its
 * synchronous part is caught here. A verifier sees more: see `isInStateCallback`.
 */
function refuseInCallback(object: ChannelObject, name: string): void {
  if (object.endpoint.isInStateCallback) {
    throw bugCheck(object.endpoint, 'K-097', `${name} from inside a state-change callback of the same channel`);
  }
}
