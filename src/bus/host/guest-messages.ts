/** What a guest asks about channels: from bytes to a call on `HostChannels`. Lengths are checked before this. */
import { PeerError } from '../../errors.ts';
import {
  CloseChannel,
  CloseReservedChannel,
  GpadlTeardown,
  MessageType,
  ModifyChannel,
  OpenChannel,
  OpenChannel2,
  OpenReservedChannel,
  RelIdReleased,
  USER_DEFINED_BYTES,
  VP_INDEX_DISABLE_INTERRUPT,
} from '../../wire/messages/index.ts';
import { FeatureFlag, VmbusVersion } from '../../wire/versions.ts';
import type { HostOpenRequest } from './channel-moves.ts';
import type { HostConnection } from './contact.ts';
import type { HostChannels } from './host-channels.ts';

/** @throws PeerError for what the guest may not ask, and for a type that is not about channels */
export function handleChannelMessage(
  type: MessageType,
  message: Uint8Array,
  channels: HostChannels,
  connection: HostConnection | undefined,
): void {
  // A reserved channel outlives the connection, so closing it needs none.
  if (type === MessageType.CloseReservedChannel) {
    channels.closeReserved(CloseReservedChannel.parse(message).channelId);
    return;
  }
  if (connection === undefined) throw new PeerError('ERR_MESSAGE', `message type ${type} before contact`);
  switch (type) {
    case MessageType.OpenChannel:
      channels.open(OpenChannel.parse(message).channelId, parseOpen(message, connection));
      return;
    case MessageType.OpenReservedChannel:
      channels.open(OpenReservedChannel.parse(message).channelId, parseOpenReserved(message));
      return;
    case MessageType.CloseChannel:
      channels.close(CloseChannel.parse(message).channelId);
      return;
    case MessageType.GpadlHeader:
      channels.gpadlHeader(message);
      return;
    case MessageType.GpadlBody:
      channels.gpadlBody(message);
      return;
    case MessageType.GpadlTeardown: {
      const { channelId, gpadlId } = GpadlTeardown.parse(message);
      channels.gpadlTeardown(channelId, gpadlId);
      return;
    }
    case MessageType.RelIdReleased:
      channels.releaseId(RelIdReleased.parse(message).channelId);
      return;
    case MessageType.ModifyChannel: {
      const { channelId, targetVp } = ModifyChannel.parse(message);
      channels.modify(channelId, targetVp);
      return;
    }
    default:
      throw new PeerError('ERR_MESSAGE', `message type ${type} is not for a channel`);
  }
}

function parseOpen(message: Uint8Array, { version, features }: HostConnection): HostOpenRequest {
  const fields = OpenChannel.parse(message);
  const request: HostOpenRequest = {
    openId: fields.openId,
    ringGpadlId: fields.ringGpadlId,
    downstreamPageOffset: fields.downstreamPageOffset,
    // Below 2.4 every interrupt goes to the first processor, and the field is not there.
    targetVp: version >= VmbusVersion.WIN8 ? fields.targetVp : 0,
    userData: fields.userData,
  };
  const choosesSignals = (features & FeatureFlag.GuestSpecifiedSignalParameters) !== 0;
  const redirects = (features & FeatureFlag.ChannelInterruptRedirection) !== 0;
  if (!choosesSignals && !redirects) return request;
  const { connectionId, eventFlag, openFlags } = OpenChannel2.parse(message);
  return { ...request, ...(choosesSignals && { connectionId, eventFlag }), ...(redirects && { openFlags }) };
}

/** Reserved channels run without interrupts, for guests that have none to take (firmware, crash dumps). */
function parseOpenReserved(message: Uint8Array): HostOpenRequest {
  const { targetVp, targetSint, ringGpadlId, downstreamPageOffset } = OpenReservedChannel.parse(message);
  return {
    openId: 0,
    ringGpadlId,
    downstreamPageOffset,
    targetVp: VP_INDEX_DISABLE_INTERRUPT,
    userData: new Uint8Array(USER_DEFINED_BYTES),
    reserved: { targetVp, targetSint },
  };
}
