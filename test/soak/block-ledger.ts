/**
 * What a disk may hold after a cut, kept by whoever writes it.
 *
 * The disk is units of 4 KiB. Every write of a unit has a number of its own, higher than all before it, and puts it into
 * each of the unit's sectors. A number counts as kept once a flush that began after its write had ended has ended too
 * (or the write itself, with FUA). After a cut each sector must show a number from the last one kept to the last one
 * asked for: nothing older, nothing foreign, nothing half.
 */

export const UNIT_BYTES = 4096;
const SECTOR_BYTES = 512;
const SECTOR_WORDS = SECTOR_BYTES / 4;
const MAGIC = 0x7642_7573;

/** How the disk began: all zeros, or as `fillUnit` leaves it for number 0. */
export type Beginning = 'zeros' | 'numbered';

export class BlockLedger {
  readonly unitCount: number;
  /** Writes whose end is not known: their units are left alone by others. */
  readonly #isBusy: Uint8Array;
  readonly #asked: Uint32Array;
  readonly #ended: Uint32Array;
  readonly #kept: Uint32Array;
  /** Number of the last discard that was asked for; -1 if the unit was never zeros. */
  readonly #zeros: Int32Array;

  constructor(unitCount: number, beginning: Beginning) {
    this.unitCount = unitCount;
    this.#isBusy = new Uint8Array(unitCount);
    this.#asked = new Uint32Array(unitCount);
    this.#ended = new Uint32Array(unitCount);
    this.#kept = new Uint32Array(unitCount);
    this.#zeros = new Int32Array(unitCount).fill(beginning === 'zeros' ? 0 : -1);
  }

  /** @returns false if one of the units is being written */
  claim(first: number, count: number): boolean {
    if (this.#isBusy.subarray(first, first + count).includes(1)) return false;
    this.#isBusy.fill(1, first, first + count);
    return true;
  }

  /** Numbers a write of claimed units and puts the bytes into `target`. */
  beginWrite(first: number, count: number, target: Uint8Array): void {
    for (let unit = first; unit < first + count; unit++) {
      const number = (this.#asked[unit] as number) + 1;
      this.#asked[unit] = number;
      fillUnit(target, (unit - first) * UNIT_BYTES, unit, number);
    }
  }

  beginDiscard(first: number, count: number): void {
    for (let unit = first; unit < first + count; unit++) {
      this.#asked[unit] = (this.#asked[unit] as number) + 1;
      this.#zeros[unit] = this.#asked[unit] as number;
    }
  }

  /** The write or discard ended well. @param isKept it was one with FUA */
  end(first: number, count: number, isKept: boolean): void {
    for (let unit = first; unit < first + count; unit++) {
      this.#ended[unit] = this.#asked[unit] as number;
      if (isKept) this.#kept[unit] = this.#asked[unit] as number;
      this.#isBusy[unit] = 0;
    }
  }

  /** Call before a flush, and what it returns once the flush has ended well. */
  beginFlush(): () => void {
    const ended = this.#ended.slice();
    return () => {
      for (let unit = 0; unit < this.unitCount; unit++) {
        this.#kept[unit] = Math.max(this.#kept[unit] as number, ended[unit] as number);
      }
    };
  }

  /** Units that a flush or FUA has made promises about. */
  get keptUnits(): number {
    return this.#kept.reduce((sum, number) => sum + (number > 0 ? 1 : 0), 0);
  }

  /**
   * Takes units as they are after a cut: what is not there now is lost, and nothing is being written any more.
   * @throws Error that names the sector and what is wrong with it
   */
  settle(first: number, bytes: Uint8Array): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    for (let at = 0; at < words.length; at += SECTOR_WORDS) {
      const unit = first + Math.floor((at * 4) / UNIT_BYTES);
      const index = ((at * 4) % UNIT_BYTES) / SECTOR_BYTES;
      const sector = words.subarray(at, at + SECTOR_WORDS);
      const fault = this.#faultOf(sector, unit, index);
      if (fault !== undefined) throw new Error(`unit ${unit}, sector ${index}: ${fault}`);
      const found = sector[0] === 0 ? (this.#kept[unit] as number) : (sector[2] as number);
      this.#ended[unit] = index === 0 ? found : Math.min(found, this.#ended[unit] as number);
      this.#isBusy[unit] = 0;
    }
  }

  #faultOf(sector: Uint32Array, unit: number, index: number): string | undefined {
    const kept = this.#kept[unit] as number;
    const zeros = this.#zeros[unit] as number;
    const asked = this.#asked[unit] as number;
    if (sector.every((word) => word === 0)) {
      return zeros >= kept ? undefined : `zeros, though write ${kept} was flushed and the last discard was ${zeros}`;
    }
    const [magic, inUnit, number = 0] = sector;
    if (magic !== MAGIC || inUnit !== unit) return `foreign bytes ${magic?.toString(16)} ${inUnit?.toString(16)}`;
    if (number < kept) return `write ${number}, though write ${kept} was flushed`;
    if (number > asked) return `write ${number}, though only ${asked} were asked for`;
    const isWhole = sector.every((word, at) => at < 3 || word === wordOf(unit, number, index, at));
    return isWhole ? undefined : `write ${number} is torn inside the sector`;
  }
}

/** The bytes of one unit as write `number` leaves them. */
export function fillUnit(target: Uint8Array, at: number, unit: number, number: number): void {
  const words = new Uint32Array(target.buffer, target.byteOffset + at, UNIT_BYTES / 4);
  for (let index = 0; index < words.length; index++) {
    const inSector = index % SECTOR_WORDS;
    const sector = Math.floor(index / SECTOR_WORDS);
    words[index] =
      inSector === 0 ? MAGIC : inSector === 1 ? unit : inSector === 2 ? number : wordOf(unit, number, sector, inSector);
  }
}

function wordOf(unit: number, number: number, sector: number, at: number): number {
  const mixed =
    Math.imul(unit ^ Math.imul(number, 0x9e37_79b1), 0x85eb_ca6b) ^ Math.imul(sector * 128 + at, 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
