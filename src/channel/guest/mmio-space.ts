/**
 * Guest physical address space for memory-mapped I/O, handed out to devices whose offers ask for it.
 *
 * Source: Linux `drivers/hv/vmbus_drv.c`, `vmbus_allocate_mmio`: the guest's bus driver gives each device its space.
 */
export interface MmioRange {
  /** Guest physical address, a multiple of a megabyte. */
  readonly address: number;
  readonly bytes: number;
}

const MEGABYTE = 2 ** 20;

/** 64 GiB: above the memory of any guest that a test or a demonstration makes. */
export const DEFAULT_MMIO_SPACE: MmioRange = { address: 2 ** 36, bytes: 2 ** 32 };

export class MmioSpace {
  readonly #space: MmioRange;
  /** In use, lowest first. */
  #taken: MmioRange[] = [];

  constructor(space: MmioRange = DEFAULT_MMIO_SPACE) {
    this.#space = space;
  }

  /** The lowest gap that fits. @returns `null` if there is none */
  allocate(megabytes: number): MmioRange | null {
    const bytes = megabytes * MEGABYTE;
    let address = this.#space.address;
    let index = 0;
    for (; index < this.#taken.length; index++) {
      const taken = this.#taken[index] as MmioRange;
      if (bytes <= taken.address - address) break;
      address = taken.address + taken.bytes;
    }
    if (bytes > this.#space.address + this.#space.bytes - address) return null;
    const range = { address, bytes };
    this.#taken.splice(index, 0, range);
    return range;
  }

  free(range: MmioRange): void {
    this.#taken = this.#taken.filter((taken) => taken !== range);
  }
}
