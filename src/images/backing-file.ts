/**
 * A file that holds an image, as far as the formats need it. Formats see only this interface, so a test can put a
 * recording file in its place, cut the power between any two of its writes, and open what is left.
 *
 * What a cut leaves is what an operating system promises, no more: all that was written before a completed `sync`; of
 * everything after it any part, in any order, in pieces of 512 bytes.
 */
export interface BackingFile {
  /** For messages. */
  readonly path: string;
  readonly readOnly: boolean;
  /** Bytes that the file has now. */
  sizeBytes(): Promise<number>;
  /**
   * Fills all buffers, in order, from `offsetBytes` on.
   * @throws (rejects) BackendError if they cannot all be filled, the end of the file included
   */
  read(offsetBytes: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** Writes all buffers, in order, from `offsetBytes` on; the file grows if need be. @throws (rejects) BackendError */
  write(offsetBytes: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** Cuts the file, or lengthens it with zeros. @throws (rejects) BackendError */
  resize(sizeBytes: number): Promise<void>;
  /** False if `punch` never does anything. */
  readonly canPunch: boolean;
  /**
   * Gives the space of a range back to the file system; it reads as zeros from then on. The length stays.
   * @returns false if that cannot be done here (then nothing was changed)
   * @throws (rejects) BackendError
   */
  punch(offsetBytes: number, byteCount: number): Promise<boolean>;
  /**
   * Resolves when all that was written, resized and punched before this call is on stable storage.
   * @throws (rejects) BackendError; from then on every `sync` fails, because the system forgets what it could not write
   */
  sync(): Promise<void>;
  close(): Promise<void>;
}

const ZEROS = new Uint8Array(256 * 1024);
const MAX_ZERO_BUFFERS = 64;

/** Buffers of zeros that hold `byteCount` bytes together. They are shared: only read them. */
export function zeroBuffers(byteCount: number): Uint8Array[] {
  const buffers: Uint8Array[] = [];
  for (let left = byteCount; left > 0; left -= ZEROS.length) {
    buffers.push(left >= ZEROS.length ? ZEROS : ZEROS.subarray(0, left));
  }
  return buffers;
}

/** Makes a range of the file read as zeros: by a hole where that is possible, by writing them elsewhere. */
export async function zeroRange(file: BackingFile, offsetBytes: number, byteCount: number): Promise<void> {
  if (byteCount === 0 || (file.canPunch && (await file.punch(offsetBytes, byteCount)))) return;
  await writeZeros(file, offsetBytes, byteCount);
}

/** Writes zeros, so that the range has its space in the file. */
export async function writeZeros(file: BackingFile, offsetBytes: number, byteCount: number): Promise<void> {
  const pieceBytes = ZEROS.length * MAX_ZERO_BUFFERS;
  for (let done = 0; done < byteCount; done += pieceBytes) {
    await file.write(offsetBytes + done, zeroBuffers(Math.min(pieceBytes, byteCount - done)));
  }
}

/** Reads `byteCount` bytes into fresh memory. Callers bound the count first. */
export async function readBytes(
  file: BackingFile,
  offsetBytes: number,
  byteCount: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(byteCount);
  if (byteCount > 0) await file.read(offsetBytes, [bytes]);
  return bytes;
}
