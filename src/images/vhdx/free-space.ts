/** Space in a VHDX file that nothing uses: what gaps there are, what discards free, and what lies behind the end. */
import { MIB } from './format.ts';

export interface Space {
  readonly at: number;
  /** True if the file does not reach that far yet: it reads as zeros once it does. Else anything may be there. */
  readonly isFresh: boolean;
}

export class FreeSpace {
  readonly #blockBytes: number;
  /** Gaps that hold at least one block; a gap is shortened from its start. */
  readonly #gaps: { at: number; end: number }[] = [];
  #end: number;

  /**
   * @param used pairs of start and end, in order, without overlaps
   * @param fileBytes length of the file
   */
  constructor(blockBytes: number, used: Float64Array, fileBytes: number) {
    this.#blockBytes = blockBytes;
    let before = 0;
    for (let pair = 0; pair < used.length; pair += 2) {
      this.#addGap(before, used[pair] as number);
      before = used[pair + 1] as number;
    }
    this.#end = Math.ceil(Math.max(fileBytes, before) / MIB) * MIB;
    this.#addGap(before, this.#end);
  }

  /** The length that the file needs for all that was taken, bytes; a multiple of 1 MiB. */
  get endBytes(): number {
    return this.#end;
  }

  /** Room for one block, at a multiple of 1 MiB. */
  take(): Space {
    const gap = this.#gaps.at(-1);
    if (gap === undefined) {
      const at = this.#end;
      this.#end += this.#blockBytes;
      return { at, isFresh: true };
    }
    const at = gap.at;
    gap.at += this.#blockBytes;
    if (gap.end - gap.at < this.#blockBytes) this.#gaps.pop();
    return { at, isFresh: false };
  }

  /** Takes a block's room back. No stable table may point at it any more. */
  give(at: number): void {
    this.#addGap(at, at + this.#blockBytes);
  }

  #addGap(from: number, to: number): void {
    const at = Math.ceil(from / MIB) * MIB;
    if (to - at >= this.#blockBytes) this.#gaps.push({ at, end: to });
  }
}
