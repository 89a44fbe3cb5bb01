/** Sub-channels: more channels of one device, each with rings and signals of its own. */
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { type ChannelObject, findChannel, findConfigurable, isUint16 } from '../objects/channel-object.ts';
import type { VmbChannel, VmbClientChannel, VmbServerChannel } from '../objects/handles.ts';

/**
 * Undocumented: makes a channel a sub-channel of another one. It gets the lowest number that no sub-channel of that one
 * has, from 1 on, and gives it back at `VmbChannelCleanup`. Unless they are set on it too, a server takes identity and
 * bus from its primary channel, a client the target. Both ends number in the order of these calls; how many there are
 * their own protocol has to agree on. A guest's bus drops the offer of a sub-channel whose primary it does not know.
 *
 * @param primary a primary channel of the same kind, enabled or not
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled and without sub-channels of its own;
 *   `STATUS_INVALID_PARAMETER_2` for a handle that is not live, of the other kind, the channel itself or a sub-channel,
 *   and if there are 65535 already
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelInitSetPrimaryChannel (V5) by name only; the number is
 * `sub_channel_index` in Linux `include/linux/hyperv.h`, `struct vmbus_channel_offer`.
 */
export function VmbChannelInitSetPrimaryChannel(channel: VmbClientChannel, primary: VmbClientChannel): NtStatus;
export function VmbChannelInitSetPrimaryChannel(channel: VmbServerChannel, primary: VmbServerChannel): NtStatus;
export function VmbChannelInitSetPrimaryChannel(channel: VmbChannel, primary: VmbChannel): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined || object.subchannels.size > 0) return STATUS_INVALID_PARAMETER_1;
  const first = findChannel(primary);
  if (first === undefined || first === object || first.isServer !== object.isServer) return STATUS_INVALID_PARAMETER_2;
  const isPrimary = first.primary === null && first.subchannelIndex === 0;
  const index = lowestFreeIndex(first);
  if (!isPrimary || index === undefined) return STATUS_INVALID_PARAMETER_2;
  object.primary?.subchannels.delete(object.subchannelIndex);
  object.primary = first;
  object.subchannelIndex = index;
  first.subchannels.set(index, object);
  return STATUS_SUCCESS;
}

function lowestFreeIndex({ subchannels }: ChannelObject): number | undefined {
  for (let index = 1; index <= 0xffff; index++) if (!subchannels.has(index)) return index;
  return undefined;
}

/**
 * Makes a channel the sub-channel of that number: a server offers it under it, a client opens the offer that has it.
 * Interface and instance are those of the primary channel; both are set as for any other channel. Not part of KMCL,
 * whose function for this (`VmbChannelInitSetPrimaryChannel`) chooses the number itself.
 *
 * @param index 0 for a primary channel, else 1 or more
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled; `STATUS_INVALID_PARAMETER_2` for no u16
 * Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_offer`, `sub_channel_index`.
 */
export function setSubchannelIndex(channel: VmbChannel, index: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint16(index)) return STATUS_INVALID_PARAMETER_2;
  object.primary?.subchannels.delete(object.subchannelIndex);
  object.primary = null;
  object.subchannelIndex = index;
  return STATUS_SUCCESS;
}
