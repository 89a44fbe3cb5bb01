/** The two headers of a VHDX file: which one counts, and how to replace it so that one is always whole. */
import { randomUUID } from 'node:crypto';
import { type Guid, ZERO_GUID } from '../../wire/guid.ts';
import { type BackingFile, readBytes } from '../backing-file.ts';
import { crc32cWithout } from '../crc32c.ts';
import { ImageError } from '../image-error.ts';
import { FILE_SIGNATURE, HEADER_OFFSETS, HEADER_SECTION_BYTES, HEADER_SIGNATURE, MIB, VhdxHeader } from './format.ts';

type HeaderFields = ReturnType<typeof VhdxHeader.parse>;

/** A log longer than this is refused: it is read into memory. Windows makes logs of 1 MiB. */
export const MAX_LOG_BYTES = 64 * MIB;

export class VhdxHeaders {
  readonly #file: BackingFile;
  #current: HeaderFields;
  #currentSlot: number;

  /**
   * Finds the current header and checks it.
   * @param fileBytes length of the file
   * @throws ImageError
   */
  static async load(file: BackingFile, fileBytes: number): Promise<VhdxHeaders> {
    const refuse = (why: string): never => {
      throw new ImageError(file.path, why);
    };
    if (fileBytes < FILE_SIGNATURE.length) refuse(`is no VHDX: it has ${fileBytes} bytes`);
    if (Buffer.compare(await readBytes(file, 0, FILE_SIGNATURE.length), FILE_SIGNATURE) !== 0) {
      refuse('is no VHDX: it does not begin as one');
    }
    if (fileBytes < HEADER_SECTION_BYTES)
      refuse(`is truncated: a VHDX has 1 MiB of headers, it has ${fileBytes} bytes`);
    let currentSlot = -1;
    let current: HeaderFields | undefined;
    for (const [slot, offset] of HEADER_OFFSETS.entries()) {
      const page = await readBytes(file, offset, VhdxHeader.size);
      const header = VhdxHeader.parse(page);
      const isValid =
        header.signature === HEADER_SIGNATURE && header.checksum === crc32cWithout(page, VhdxHeader.offsets.checksum);
      if (isValid && (current === undefined || header.sequenceNumber > current.sequenceNumber)) {
        current = header;
        currentSlot = slot;
      }
    }
    if (current === undefined) return refuse('is corrupt: neither of its two headers is valid');
    checkHeader(current, fileBytes, refuse);
    return new VhdxHeaders(file, current, currentSlot);
  }

  private constructor(file: BackingFile, current: HeaderFields, currentSlot: number) {
    this.#file = file;
    this.#current = current;
    this.#currentSlot = currentSlot;
  }

  get logGuid(): Guid {
    return this.#current.logGuid;
  }

  get hasLog(): boolean {
    return this.#current.logGuid !== ZERO_GUID;
  }

  get logOffset(): number {
    return Number(this.#current.logOffset);
  }

  get logBytes(): number {
    return this.#current.logLength;
  }

  /**
   * Replaces both headers, one after the other (section 2.2.2.1). A new file-write id is part of the first change after
   * opening, a new data-write id of the first that guests can see.
   */
  async update(changes: { logGuid?: Guid; newFileWriteGuid?: boolean; newDataWriteGuid?: boolean }): Promise<void> {
    const changed = {
      ...this.#current,
      ...(changes.logGuid !== undefined && { logGuid: changes.logGuid }),
      ...(changes.newFileWriteGuid === true && { fileWriteGuid: randomUUID() }),
      ...(changes.newDataWriteGuid === true && { dataWriteGuid: randomUUID() }),
    };
    for (let copy = 0; copy < 2; copy++) {
      const header = { ...changed, sequenceNumber: this.#current.sequenceNumber + 1n };
      const slot = 1 - this.#currentSlot;
      await this.#file.write(HEADER_OFFSETS[slot] as number, [encodeHeader(header)]);
      await this.#file.sync();
      this.#current = header;
      this.#currentSlot = slot;
    }
  }
}

/** With the right checksum. */
export function encodeHeader(fields: Parameters<typeof VhdxHeader.encode>[0]): Uint8Array {
  const page = VhdxHeader.encode({ ...fields, checksum: 0 });
  new DataView(page.buffer).setUint32(
    VhdxHeader.offsets.checksum,
    crc32cWithout(page, VhdxHeader.offsets.checksum),
    true,
  );
  return page;
}

function checkHeader(header: HeaderFields, fileBytes: number, refuse: (why: string) => never): void {
  if (header.version !== 1) refuse(`is a VHDX of version ${header.version}; this program knows version 1`);
  if (header.logGuid !== ZERO_GUID && header.logVersion !== 0) {
    refuse(`has a log of version ${header.logVersion}; this program knows version 0`);
  }
  const { logLength, logOffset } = header;
  if (logLength === 0 || logLength % MIB !== 0 || logOffset % BigInt(MIB) !== 0n || logOffset < BigInt(MIB)) {
    refuse(`is corrupt: its log of ${logLength} bytes at ${logOffset} is not made of whole MiB behind the headers`);
  }
  if (logLength > MAX_LOG_BYTES) refuse(`has a log of ${logLength} bytes; this program takes ${MAX_LOG_BYTES}`);
  if (logOffset > BigInt(fileBytes) || logLength > fileBytes - Number(logOffset)) {
    refuse(`is truncated: its log ends at ${logOffset + BigInt(logLength)}, the file at ${fileBytes}`);
  }
  // Each opening adds a handful; a number this large was never reached by counting.
  if (header.sequenceNumber > 0xffff_ffff_ffff_0000n) refuse('is corrupt: its header sequence number is at its end');
}
