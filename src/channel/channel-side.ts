/** What differs between the two ends: how a channel comes to its rings, and how it gives them back. */
import type { GuestMemory, Mdl } from '../memory/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import type { Guid } from '../wire/guid.ts';
import type { NtStatus } from '../wire/ntstatus.ts';
import type { MmioRange } from './guest/mmio-space.ts';
import type { Ending } from './life-cycle.ts';
import type { Scheduler } from './scheduler.ts';

/** What the sharer of a GPADL lets the host do with it. */
export type GpadlAccess = 'read' | 'write';

/** The end of a GPADL's creation. */
export interface CreatedGpadl {
  readonly status: NtStatus;
  readonly gpadlId: number;
}

/** A mapping, or why there is none. */
export interface GpadlMapping {
  readonly status: NtStatus;
  readonly mdl: Mdl | null;
}

/** One channel at one end of the bus, as its endpoint drives it. */
export interface ChannelSide {
  readonly scheduler: Scheduler;
  readonly memory: GuestMemory;
  /** Channel id; 0 while there is none. */
  readonly relid: number;
  /** Of the offer; `null` while a guest has found none. */
  readonly instanceId: Guid | null;
  /** Guest: the memory-mapped I/O space reserved for the device. */
  readonly mmioSpace: MmioRange | null;
  /** Offers the channel, or looks for an offer. */
  begin(): void;
  /** The driver's Opened callback has answered. */
  openAnswered(ok: boolean): void;
  /** Takes the channel apart. May be called again with a later wish. @param done called once it is */
  end(ending: Ending, done: () => void): void;
  /** Guest. */
  createGpadl(ranges: readonly GpaRange[], access: GpadlAccess): Promise<CreatedGpadl>;
  /** Guest: resolves when the host has let go of it. */
  deleteGpadl(gpadlId: number): Promise<void>;
  /** Host. */
  mapGpadl(gpadlId: number, access: GpadlAccess): GpadlMapping;
  /** Host. @returns false if it is not mapped */
  unmapGpadl(gpadlId: number): boolean;
  /**
   * Host: makes sure that pages are there until `unpin`.
   * @param ready called later if they are not there yet
   * @returns true if they are there now
   */
  pin(mdl: Mdl, ready: () => void): boolean;
  unpin(mdl: Mdl): void;
  inspect(): object;
}
