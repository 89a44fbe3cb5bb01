/** An offer: what it may say, and its message, from which is left out what the guest did not agree to. */
import { UsageError } from '../../errors.ts';
import { canonicalGuid } from '../../wire/guid.ts';
import { OfferChannel, USER_DEFINED_BYTES } from '../../wire/messages/index.ts';
import { NO_MONITOR } from '../../wire/monitor-page.ts';
import { OfferFlag } from '../../wire/offer-flags.ts';
import { FeatureFlag } from '../../wire/versions.ts';
import { connectionIdOf, type HostChannel } from './channel-table.ts';
import type { OfferParams } from './host-device.ts';

const CONFIDENTIAL_FLAGS = OfferFlag.ConfidentialRingBuffer | OfferFlag.ConfidentialExternalMemory;

/** What an offer says about a channel. */
type OfferedChannel = Pick<HostChannel, 'params' | 'relid' | 'monitorId'>;

/**
 * @param features negotiated `FeatureFlag` bits
 * @throws UsageError `ERR_ARGUMENT` for a parameter that its field cannot hold
 */
export function encodeOffer(channel: OfferedChannel, features: number): Uint8Array {
  const { params, monitorId } = channel;
  let { flags } = params;
  if ((features & FeatureFlag.ConfidentialChannels) === 0) flags &= ~CONFIDENTIAL_FLAGS;
  if ((features & FeatureFlag.GpaPinning) === 0) flags &= ~OfferFlag.RequirePinnedExternalMemory;
  const userDefined = new Uint8Array(USER_DEFINED_BYTES);
  userDefined.set(params.userDefined);
  return OfferChannel.encode({
    interfaceId: params.interfaceId,
    instanceId: params.instanceId,
    flags,
    mmioMegabytes: params.mmioMegabytes,
    userDefined,
    subchannelIndex: params.subchannelIndex,
    mmioMegabytesOptional: params.mmioMegabytesOptional,
    channelId: channel.relid,
    monitorId,
    monitorAllocated: monitorId === NO_MONITOR ? 0 : 1,
    dedicatedInterrupt: 1,
    connectionId: connectionIdOf(channel),
  });
}

/** @throws UsageError `ERR_ARGUMENT` for what an offer message cannot carry */
export function checkedParams(params: OfferParams): Required<OfferParams> {
  const userDefined = params.userDefined ?? new Uint8Array(0);
  const targetVtl = params.targetVtl ?? 0;
  if (userDefined.length > 120) {
    throw new UsageError('ERR_ARGUMENT', `userDefined has ${userDefined.length} bytes, at most 120 fit`);
  }
  if (![0, 1, 2].includes(targetVtl)) throw new UsageError('ERR_ARGUMENT', `targetVtl is ${targetVtl}, not 0..2`);
  const whole: Required<OfferParams> = {
    interfaceId: canonicalGuid(params.interfaceId),
    instanceId: canonicalGuid(params.instanceId),
    subchannelIndex: params.subchannelIndex ?? 0,
    flags: params.flags ?? 0,
    mmioMegabytes: params.mmioMegabytes ?? 0,
    mmioMegabytesOptional: params.mmioMegabytesOptional ?? 0,
    userDefined: userDefined.slice(),
    monitorLatency100ns: params.monitorLatency100ns ?? 0,
    targetVtl,
    order: params.order ?? Number.MAX_SAFE_INTEGER,
  };
  // The message itself knows the range of every other field; better here than when the guest asks for offers.
  encodeOffer({ params: whole, relid: 0, monitorId: NO_MONITOR }, 0);
  return whole;
}
