/** The ordinary ring of these tests: both ends over one memory that was filled with 0xa5. */
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { PAGE_BYTES } from '../../src/memory/page.ts';
import { RingMemory } from '../../src/ring/ring-memory.ts';
import { RingReader, type RingReaderOptions } from '../../src/ring/ring-reader.ts';
import { RingWriter } from '../../src/ring/ring-writer.ts';

export const [IN, OUT, MASK, PENDING, FEATURES] = [0, 1, 2, 3, 16];

export interface SomeRingOptions {
  /** Multiple of 4096; 4096 unless given. */
  readonly dataBytes?: number;
  /** Put the data pages in reverse order, so that no two are adjacent. */
  readonly isScattered?: boolean;
  readonly isShared?: boolean;
  /** Where both indexes stand. */
  readonly start?: number;
  readonly reader?: RingReaderOptions;
}

export interface SomeRing {
  readonly ring: RingMemory;
  readonly writer: RingWriter;
  readonly reader: RingReader;
  /** The control page. */
  readonly control: Int32Array;
  /** A copy of the data area as the ring orders it. */
  data(): Uint8Array;
  /** Writes into the data area behind everybody's back. */
  poke(at: number, bytes: ArrayLike<number>): void;
}

export function someRing(options: SomeRingOptions = {}): SomeRing {
  const dataPages = (options.dataBytes ?? PAGE_BYTES) / PAGE_BYTES;
  const memory = GuestMemory.allocate(dataPages + 1, { shared: options.isShared ?? false });
  const dataPfns = Array.from({ length: dataPages }, (_, index) => index + 1);
  if (options.isScattered === true) dataPfns.reverse();
  for (const pfn of dataPfns) memory.page(pfn).fill(0xa5);
  const ring = RingMemory.overPages(memory, [0, ...dataPfns]);
  const control = ring.control;
  control[IN] = options.start ?? 0;
  control[OUT] = options.start ?? 0;
  const pages = dataPfns.map((pfn) => memory.page(pfn));
  return {
    ring,
    writer: new RingWriter(ring),
    reader: new RingReader(ring, options.reader),
    control,
    data: () => Uint8Array.from(pages.flatMap((page) => [...page])),
    poke: (at, bytes) => {
      for (let index = 0; index < bytes.length; index++) {
        const to = (at + index) % (dataPages * PAGE_BYTES);
        const page = pages[Math.trunc(to / PAGE_BYTES)] as Uint8Array;
        page[to % PAGE_BYTES] = bytes[index] as number;
      }
    },
  };
}

/** `06 00 | 02` style text to bytes; everything but hex digits is for the eye. */
export function hexBytes(text: string): Uint8Array {
  const digits = text.replace(/[^0-9a-f]/gi, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
  );
}

/** `length` bytes counting up from `first`, modulo 256. */
export function countingBytes(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => first + index);
}
