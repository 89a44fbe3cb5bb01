/** What a device on the host tells the bus, and what the bus asks of it. */
import type { GpaRange } from '../../wire/gpa-range.ts';
import type { HostOpenRequest } from './channel-moves.ts';

export interface OfferParams {
  /** Class of the device; a GUID, as the instance. */
  readonly interfaceId: string;
  readonly instanceId: string;
  /** 0 (default) is the primary channel; sub-channels share both GUIDs and differ here. At most 65535. */
  readonly subchannelIndex?: number;
  /** `OfferFlag` bits. Those that need a feature are left out where it is not agreed. */
  readonly flags?: number;
  /** At most 65535, as the optional ones. */
  readonly mmioMegabytes?: number;
  readonly mmioMegabytesOptional?: number;
  /** At most 120 bytes; the rest is zero. */
  readonly userDefined?: Uint8Array;
  /** Wish for a monitor id, in units of 100 ns: the channel gets one if the guest supplied monitor pages. */
  readonly monitorLatency100ns?: number;
  /** Virtual trust level that the device serves; 0 (default) is the guest's kernel. Part of the connection id. */
  readonly targetVtl?: number;
  /** Among offers of one interface, lower comes first and so gets the lower channel id. Default: last. */
  readonly order?: number;
}

/**
 * The device's side of one offered channel. The bus calls; every call may be answered at once or later.
 * Do not throw: what a guest sent is never a reason to.
 */
export interface HostDevice {
  /** The guest opens the channel. The ring's GPADL is accepted and well formed. Answer with `HostOffer.opened`. */
  openRequested(open: HostOpenRequest): void;
  /** Stop using rings and mappings, unmap, then answer with `HostOffer.closed`. */
  closeRequested(): void;
  /** The guest forgot the channel. It is offered again at the next contact unless it was revoked. */
  released?(): void;
  /** @returns false to refuse the pages */
  gpadlCreated?(gpadlId: number, ranges: readonly GpaRange[]): boolean;
  /** The guest wants its pages back: unmap as soon as possible. It is told when the last mapping has gone. */
  gpadlTornDown?(gpadlId: number): void;
  /** @returns false if that virtual processor cannot be interrupted */
  targetVpChanged?(targetVp: number): boolean;
}

/** A GPADL as the device sees it. */
export interface HostGpadl {
  readonly id: number;
  readonly ranges: readonly GpaRange[];
  readonly pageCount: number;
}
