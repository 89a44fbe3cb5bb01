/** `Channel`: the bus as a TypeScript programmer expects it. Start with `Bus`. */
export type { ChannelStatistics, ChannelTap } from '../channel/index.ts';
export { Bus } from './bus/bus.ts';
export type { GuestEnd, GuestOptions, OfferMatch } from './bus/guest-end.ts';
export type { HostEnd, HostOptions } from './bus/host-end.ts';
export type { Offer } from './bus/offer.ts';
export type { Channel } from './channel/channel.ts';
export type { ChannelEnd, EndReason } from './channel/channel-end.ts';
export type { ChannelOptions, RingPages } from './channel/channel-options.ts';
export type { Gpadl, GpadlOptions, MappedGpadl } from './channel/gpadls.ts';
export type { GuestChannel, OpenOptions } from './channel/guest-channel.ts';
export type { HostChannel, OfferOptions } from './channel/host-channel.ts';
export type { ExternalPages, NoPages, SharedPages } from './packets/external-pages.ts';
export type { ExternalDataOptions, Packet, ScatterReader } from './packets/packet.ts';
export type { PendingRequest, RequestOptions } from './packets/pending-request.ts';
export type { Completed, GuestTransaction, Transaction } from './packets/transaction.ts';
export type { WaitOptions } from './waiting.ts';
