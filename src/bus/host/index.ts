/** The host's end of the control plane. Start with `HostBus`. */
export type { ControlPort } from '../control-port.ts';
export { MAX_MESSAGE_BYTES, MessageConnection, PostStatus } from '../control-port.ts';
export type { MonitorPages } from '../monitor-pages.ts';
export type { ChannelState, HostOpenRequest, ReservedTarget } from './channel-moves.ts';
export { channelMoves, stepChannel } from './channel-moves.ts';
export { MAX_CHANNEL_ID } from './channel-table.ts';
export type { HostConnectionState } from './connection-moves.ts';
export { hostConnectionMoves, stepHostConnection } from './connection-moves.ts';
export type { HostConnection } from './contact.ts';
export type { GpadlState } from './gpadl-moves.ts';
export { gpadlMoves, stepGpadl } from './gpadl-moves.ts';
export type { HostBusTree } from './host-bus.ts';
export { HostBus } from './host-bus.ts';
export type { HostBusEvents, HostBusOptions, TlConnectRequest } from './host-bus-options.ts';
export { DEFAULT_HOST_FEATURES } from './host-bus-options.ts';
export type { HostDevice, HostGpadl, OfferParams } from './host-device.ts';
export type { HostOfferTree } from './host-offer.ts';
export { HostOffer } from './host-offer.ts';
