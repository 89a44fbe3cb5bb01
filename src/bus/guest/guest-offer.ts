/** One offered channel, and reading it from the wire. */
import { OfferChannel } from '../../wire/messages/index.ts';
import { NO_MONITOR } from '../../wire/monitor-page.ts';
import { VmbusVersion } from '../../wire/versions.ts';
import type { GuestChannelState } from './channel-moves.ts';

/** Event connection that all channels of version 0.13 share. Source: Linux `hyperv_vmbus.h`, `VMBUS_EVENT_CONNECTION_ID`. */
const SHARED_EVENT_CONNECTION_ID = 2;

/** What the host said about a channel. */
export interface OfferFields {
  /** Channel id, 1..2047. */
  readonly relid: number;
  readonly interfaceId: string;
  readonly instanceId: string;
  /** `OfferFlag` bits. */
  readonly flags: number;
  readonly mmioMegabytes: number;
  readonly mmioMegabytesOptional: number;
  /** 120 bytes. */
  readonly userDefined: Uint8Array;
  /** 0 for the primary channel of a device. */
  readonly subchannelIndex: number;
  /** 0..127; means something only when allocated. */
  readonly monitorId: number;
  readonly monitorAllocated: boolean;
  /** False: also set the channel's bit in the interrupt page. */
  readonly dedicatedInterrupt: boolean;
  /** What to signal; opaque. */
  readonly connectionId: number;
}

/** A channel as its driver sees it. */
export interface GuestOffer extends OfferFields {
  readonly state: GuestChannelState['at'];
  /** The host took it back, or the connection has ended. */
  readonly isRescinded: boolean;
}

/** @param version of the connection: older ones have fewer fields, and what stands there is not read */
export function parseOffer(message: Uint8Array, version: number): OfferFields {
  const { channelId: relid, monitorAllocated, dedicatedInterrupt, connectionId, ...rest } = OfferChannel.parse(message);
  const hasSignalFields = version >= VmbusVersion.WIN7;
  const hasMonitor = hasSignalFields && (monitorAllocated & 1) !== 0;
  return {
    relid,
    interfaceId: rest.interfaceId,
    instanceId: rest.instanceId,
    flags: rest.flags,
    mmioMegabytes: rest.mmioMegabytes,
    mmioMegabytesOptional: rest.mmioMegabytesOptional,
    userDefined: rest.userDefined,
    subchannelIndex: version >= VmbusVersion.WIN8 ? rest.subchannelIndex : 0,
    monitorId: hasMonitor ? rest.monitorId : NO_MONITOR,
    monitorAllocated: hasMonitor,
    dedicatedInterrupt: hasSignalFields && (dedicatedInterrupt & 1) !== 0,
    connectionId: hasSignalFields ? connectionId : SHARED_EVENT_CONNECTION_ID,
  };
}
