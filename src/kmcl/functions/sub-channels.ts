/** Sub-channels: more channels of one device, each with rings and signals of its own. */
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { findConfigurable, isUint16 } from '../objects/channel-object.ts';
import type { VmbChannel } from '../objects/handles.ts';

/**
 * Makes a channel the sub-channel of that number: a server offers it under it, a client opens the offer that has it.
 * Interface and instance are those of the primary channel; both are set as for any other channel. Not part of KMCL,
 * whose function for this (VmbChannelInitSetPrimaryChannel) is known by name only and chooses the number itself.
 *
 * @param index 0 for a primary channel, else 1 or more
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled; `STATUS_INVALID_PARAMETER_2` for no u16
 * Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_offer`, `sub_channel_index`.
 */
export function setSubchannelIndex(channel: VmbChannel, index: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint16(index)) return STATUS_INVALID_PARAMETER_2;
  object.subchannelIndex = index;
  return STATUS_SUCCESS;
}
