/** The guest's end of the control plane. Start with `GuestBus`. */
export type { ControlPort } from '../control-port.ts';
export { MAX_MESSAGE_BYTES, MessageConnection, PostStatus } from '../control-port.ts';
export type { MonitorPages } from '../monitor-pages.ts';
export type { GuestChannelState } from './channel-moves.ts';
export { guestChannelMoves, stepGuestChannel } from './channel-moves.ts';
export type { GuestConnection, GuestConnectionState } from './connection-moves.ts';
export { guestConnectionMoves, stepGuestConnection } from './connection-moves.ts';
export type { GuestGpadlState } from './gpadl-moves.ts';
export { guestGpadlMoves, stepGuestGpadl } from './gpadl-moves.ts';
export type { GuestBusTree } from './guest-bus.ts';
export { GuestBus } from './guest-bus.ts';
export type { GuestBusEvents, GuestBusOptions } from './guest-bus-options.ts';
export { DEFAULT_GUEST_FEATURES } from './guest-bus-options.ts';
export type { GuestChannelTree, GuestOpenRequest } from './guest-channels.ts';
export type { GuestOffer } from './guest-offer.ts';
export type { TlConnectTarget } from './tl-connects.ts';
