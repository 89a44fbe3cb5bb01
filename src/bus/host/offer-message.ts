/** Encoding an offer: what is left out depends on what the guest agreed to. */
import { OfferChannel, USER_DEFINED_BYTES } from '../../wire/messages/index.ts';
import { NO_MONITOR } from '../../wire/monitor-page.ts';
import { OfferFlag } from '../../wire/offer-flags.ts';
import { FeatureFlag } from '../../wire/versions.ts';
import { connectionIdOf, type HostChannel } from './channel-table.ts';

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
