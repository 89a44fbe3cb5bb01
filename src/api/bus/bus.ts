/** Where it begins: one of the two ends of a bus, over what a transport hands out. */
import type { GuestEnvironment, HostEnvironment } from '../../channel/index.ts';
import { connectGuest, type GuestEnd, type GuestOptions } from './guest-end.ts';
import { HostEnd, type HostOptions } from './host-end.ts';

export const Bus = {
  /**
   * The host's end, which offers channels. Returns at once; the guest makes contact when it likes.
   * @param environment from a transport, one for each guest
   * @throws UsageError `ERR_ARGUMENT` for options that make no sense
   */
  host(environment: HostEnvironment, options: HostOptions = {}): HostEnd {
    return new HostEnd(environment, options);
  },

  /**
   * The guest's end, which opens them. Resolves when a protocol version is agreed; offers follow.
   * @param environment from a transport
   * @throws (rejects with) PeerError `ERR_REFUSED` if no version suits both; SystemError `ERR_TRANSPORT` if the host is
   *   gone; UsageError `ERR_ARGUMENT`; the signal's reason
   */
  guest(environment: GuestEnvironment, options: GuestOptions = {}): Promise<GuestEnd> {
    return connectGuest(environment, options);
  },
} as const;
