/** Channels: what KMCL and devices sit on. */
export type { GuestOffer } from '../bus/guest/index.ts';
export type { ChannelDriver } from './channel-driver.ts';
export { ChannelEndpoint } from './channel-endpoint.ts';
export type { ChannelSide, CreatedGpadl, GpadlAccess, GpadlMapping } from './channel-side.ts';
export type { GuestEnvironment, HostEnvironment } from './environment.ts';
export { GuestVmbus, type GuestVmbusEvents, type GuestVmbusOptions, type OfferTarget } from './guest/guest-vmbus.ts';
export type { MmioRange } from './guest/mmio-space.ts';
export {
  type ChannelOffer,
  HostVmbus,
  type HostVmbusEvents,
  type HostVmbusOptions,
  type PagePinner,
} from './host/host-vmbus.ts';
export { currentIrql, Irql } from './irql.ts';
export {
  type Ending,
  type LifeEvent,
  type LifeState,
  lifeMoves,
  REASON_STATUS,
  type Reason,
  stepLife,
} from './life-cycle.ts';
export type { ExternalData } from './packets/external-data.ts';
export { IncomingPacket, IncomingState } from './packets/incoming-packet.ts';
export { OutgoingPacket, OutgoingState } from './packets/outgoing-packet.ts';
export { replay } from './packets/replayed-packet.ts';
export type {
  RestoredChannel,
  RestoredInFlight,
  RestoredQueued,
  SavedChannel,
  TransactionId,
} from './packets/saved-packets.ts';
export type { ChannelStatistics } from './packets/statistics.ts';
export type { Scheduler, Timer } from './scheduler.ts';
export type { ChannelSettings } from './settings.ts';
export type { ChannelTap } from './tap.ts';
export type { VerifierOption } from './verifier-option.ts';
export type { ChannelWatch, Finding, FindingEvent, GivenBack, PacketWatch, VerifierMaker } from './watch.ts';
