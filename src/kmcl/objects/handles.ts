/**
 * The three handle types of KMCL. They are opaque: a driver passes them, and asks functions about them.
 *
 * A channel's handle says in its type which endpoint it is, so the compiler refuses `VmbChannelMapGpadl` on a client.
 */
declare const kind: unique symbol;

/** `VMBCHANNEL` of the guest's endpoint: `VmbChannelAllocate(device, false, out)`. */
export interface VmbClientChannel {
  readonly [kind]: 'client channel';
}

/** `VMBCHANNEL` of the host's endpoint: `VmbChannelAllocate(device, true, out)`. */
export interface VmbServerChannel {
  readonly [kind]: 'server channel';
}

/** `VMBCHANNEL`. */
export type VmbChannel = VmbClientChannel | VmbServerChannel;

/** `VMBPACKET`: an outgoing packet object. */
export interface VmbPacket {
  readonly [kind]: 'packet';
}

/** `VMBPACKETCOMPLETION`: an incoming packet, until it is completed. */
export interface VmbPacketCompletion {
  readonly [kind]: 'incoming packet';
}
