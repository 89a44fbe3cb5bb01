/** Channels: what KMCL and devices sit on. */
export type { GuestOffer } from '../bus/guest/index.ts';
export { type ChannelDriver, ChannelEndpoint } from './channel-endpoint.ts';
export type { ChannelSide, CreatedGpadl, GpadlAccess, GpadlMapping } from './channel-side.ts';
export type { GuestEnvironment, HostEnvironment } from './environment.ts';
export type { ExternalData } from './external-data.ts';
export { GuestVmbus, type GuestVmbusEvents, type GuestVmbusOptions, type OfferTarget } from './guest-vmbus.ts';
export {
  type ChannelOffer,
  HostVmbus,
  type HostVmbusEvents,
  type HostVmbusOptions,
  type PagePinner,
} from './host-vmbus.ts';
export { IncomingPacket, IncomingState } from './incoming-packet.ts';
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
export type { MmioRange } from './mmio-space.ts';
export { OutgoingPacket, OutgoingState } from './outgoing-packet.ts';
export type { Scheduler, Timer } from './scheduler.ts';
export type { ChannelSettings } from './settings.ts';
export type { ChannelStatistics } from './statistics.ts';
export type { ChannelTap } from './tap.ts';
