/**
 * The GPADLs of one guest: assembling them from messages, finding them, counting pages against the limits.
 *
 * The life cycle is `gpadl-moves.ts`; this is the store. Nothing is kept for a GPADL that would exceed a limit.
 *
 * Source: Linux `drivers/hv/channel.c` (`create_gpadl_header`); OpenVMM `vmbus_channel` `gpadl.rs`.
 */
import { PeerError } from '../../errors.ts';
import { type GpaRange, gpaRangeBytes, parseGpaRanges } from '../../wire/gpa-range.ts';
import { badSavedState } from '../../wire/saved/index.ts';
import type { GpadlState } from './gpadl-moves.ts';
import type { SavedGpadl } from './saved/saved-bus.ts';

export interface GpadlLimits {
  /** GPADLs of one guest at a time, whatever their state. */
  readonly maxGpadls: number;
  /** Of those, how many may lack words. Each holds at most 64 KiB of private memory. */
  readonly maxGpadlsInProgress: number;
  /** Pages in all GPADLs of one guest together. */
  readonly maxGpadlPages: number;
}

/** One GPADL. Only the table and the bus write to it. */
export interface Gpadl {
  readonly relid: number;
  readonly id: number;
  state: GpadlState;
  /** Empty until accepted. */
  ranges: readonly GpaRange[];
  /** Pages counted against the limit: what the words can hold at most, and once accepted what they do hold. */
  pageCount: number;
  /** Mappings that the device has asked for. */
  mapCount: number;
  /** Open channels whose rings lie in it. */
  ringCount: number;
}

interface Assembly {
  readonly gpadl: Gpadl;
  readonly rangeCount: number;
  /** Range data, private. */
  readonly words: Uint8Array;
  filledBytes: number;
}

/** Bytes of the two u32 that begin each range. */
const RANGE_HEADER_BYTES = 8;

export class GpadlTable {
  readonly #limits: GpadlLimits;
  /** Channel id, then GPADL id: ids need not differ between channels, although guests do well to. */
  readonly #byChannel = new Map<number, Map<number, Gpadl>>();
  /** By id alone: bodies carry no channel. */
  readonly #assemblies = new Map<number, Assembly>();
  #size = 0;
  #pageCount = 0;

  constructor(limits: GpadlLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  get inProgress(): number {
    return this.#assemblies.size;
  }

  get pageCount(): number {
    return this.#pageCount;
  }

  find(relid: number, id: number): Gpadl | undefined {
    return this.#byChannel.get(relid)?.get(id);
  }

  /** Those of one channel, in order of creation. A copy: moves may remove entries. */
  ofChannel(relid: number): Gpadl[] {
    return [...(this.#byChannel.get(relid)?.values() ?? [])];
  }

  all(): Gpadl[] {
    return [...this.#byChannel.values()].flatMap((gpadls) => [...gpadls.values()]);
  }

  /** The GPADL that bodies with this id go to. */
  assembling(id: number): Gpadl | undefined {
    return this.#assemblies.get(id)?.gpadl;
  }

  /**
   * Begins a GPADL. Feed it with `append`; it may be complete at once.
   * @param lengthBytes bytes of range data in all messages together; low bits are dropped
   * @throws PeerError `ERR_MESSAGE` for an id in use, `ERR_RESOURCES` for one too many; nothing is kept then
   */
  begin(relid: number, id: number, rangeCount: number, lengthBytes: number): Gpadl {
    const wordBytes = lengthBytes & ~7;
    const mostPages = Math.max(0, wordBytes / 8 - rangeCount);
    if (this.find(relid, id) !== undefined)
      throw new PeerError('ERR_MESSAGE', `GPADL ${id} exists on channel ${relid}`);
    const other = this.#assemblies.get(id);
    if (other !== undefined) {
      throw new PeerError('ERR_MESSAGE', `GPADL ${id} is in progress on channel ${other.gpadl.relid}`);
    }
    if (rangeCount * RANGE_HEADER_BYTES > wordBytes) {
      throw new PeerError('ERR_GPA_RANGE', `GPADL ${id} announces ${rangeCount} ranges in ${wordBytes} bytes`);
    }
    this.#bound('GPADLs', this.#size, 1, this.#limits.maxGpadls);
    this.#bound('GPADLs in progress', this.#assemblies.size, 1, this.#limits.maxGpadlsInProgress);
    this.#bound('GPADL pages', this.#pageCount, mostPages, this.#limits.maxGpadlPages);

    const gpadl: Gpadl = {
      relid,
      id,
      state: { at: 'assembling' },
      ranges: [],
      pageCount: mostPages,
      mapCount: 0,
      ringCount: 0,
    };
    const siblings = this.#byChannel.get(relid) ?? new Map<number, Gpadl>();
    this.#byChannel.set(relid, siblings.set(id, gpadl));
    this.#size++;
    this.#assemblies.set(id, { gpadl, rangeCount, words: new Uint8Array(wordBytes), filledBytes: 0 });
    this.#pageCount += mostPages;
    return gpadl;
  }

  /**
   * Adds range data; what exceeds the announced length is ignored (some firmware sends full-size messages).
   * @returns true when the last word is there
   */
  append(id: number, data: Uint8Array): boolean {
    const assembly = this.#assemblies.get(id);
    if (assembly === undefined) throw new PeerError('ERR_MESSAGE', `no GPADL ${id} is in progress`);
    const missingBytes = assembly.words.length - assembly.filledBytes;
    // A message carries whole words; a last partial one is cut off.
    const takenBytes = Math.min(data.length & ~7, missingBytes);
    assembly.words.set(data.subarray(0, takenBytes), assembly.filledBytes);
    assembly.filledBytes += takenBytes;
    return assembly.filledBytes === assembly.words.length;
  }

  /**
   * Ends the assembly and judges the words.
   * @throws PeerError `ERR_GPA_RANGE` if they make no valid ranges; remove the GPADL then
   */
  complete(gpadl: Gpadl): void {
    const assembly = this.#assemblies.get(gpadl.id);
    if (assembly === undefined || assembly.gpadl !== gpadl) return;
    this.#assemblies.delete(gpadl.id);
    const { words, rangeCount } = assembly;
    gpadl.ranges = rangeCount === 0 ? [] : parseGpaRanges(words, 0, words.length, rangeCount);
    const pageCount = gpadl.ranges.reduce((sum, range) => sum + range.pfns.length, 0);
    this.#pageCount += pageCount - gpadl.pageCount;
    gpadl.pageCount = pageCount;
  }

  /** One GPADL as plain data. Who uses it is not part of that. */
  save({ relid, id, state, ranges }: Gpadl): SavedGpadl {
    const assembly = this.#assemblies.get(id);
    if (assembly?.gpadl.relid !== relid) return { relid, id, state, ranges, assembly: undefined };
    const { rangeCount, words, filledBytes } = assembly;
    return { relid, id, state, ranges, assembly: { rangeCount, words: words.slice(), filledBytes } };
  }

  /**
   * Puts a saved GPADL back; nobody uses it yet.
   * @throws PeerError as `begin`, by the limits of this table, and `ERR_SAVED_STATE` for one that cannot be
   */
  restore({ relid, id, state, ranges, assembly }: SavedGpadl): Gpadl {
    const isAssembling = state.at === 'assembling';
    if (state.at === 'gone' || isAssembling !== (assembly !== undefined))
      throw badSavedState(`GPADL ${id} is ${state.at}`);
    const rangeBytes = ranges.reduce((sum, { pfns }) => sum + gpaRangeBytes(pfns.length), 0);
    const rangeCount = assembly?.rangeCount ?? ranges.length;
    const gpadl = this.begin(relid, id, rangeCount, assembly?.words.length ?? rangeBytes);
    gpadl.state = state;
    if (assembly === undefined) {
      this.#assemblies.delete(id);
      gpadl.ranges = ranges;
      return gpadl;
    }
    const isWhole = assembly.filledBytes % 8 === 0 && assembly.words.length % 8 === 0;
    if (!isWhole || assembly.filledBytes >= assembly.words.length) throw badSavedState(`GPADL ${id} is in progress`);
    this.append(id, assembly.words.subarray(0, assembly.filledBytes));
    return gpadl;
  }

  remove(gpadl: Gpadl): void {
    const siblings = this.#byChannel.get(gpadl.relid);
    if (siblings?.get(gpadl.id) !== gpadl) return;
    siblings.delete(gpadl.id);
    if (siblings.size === 0) this.#byChannel.delete(gpadl.relid);
    this.#size--;
    if (this.#assemblies.get(gpadl.id)?.gpadl === gpadl) this.#assemblies.delete(gpadl.id);
    this.#pageCount -= gpadl.pageCount;
  }

  #bound(what: string, present: number, more: number, limit: number): void {
    if (more > limit - present) {
      throw new PeerError('ERR_RESOURCES', `${present} ${what}, ${more} more would exceed the limit of ${limit}`);
    }
  }
}

/** True while the host may still touch the pages. */
export function isUsed(gpadl: Gpadl): boolean {
  return gpadl.mapCount > 0 || gpadl.ringCount > 0;
}
