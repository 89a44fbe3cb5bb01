/** Bringing a VHDX file that was not closed into order: finding what its log still owes, and doing it. Section 2.3.3. */
import type { Guid } from '../../wire/guid.ts';
import { type BackingFile, readBytes, writeZeros } from '../backing-file.ts';
import { ImageError } from '../image-error.ts';
import { MIB, REGION_TABLE_OFFSETS, SECTOR_BYTES } from './format.ts';
import { type LogEntry, parseLogEntry } from './log-entry.ts';

/** Structures never need more zeros than this; a log that asks for more is not one. */
const MAX_ZERO_BYTES = 256 * MIB;
/** How far the end of the file may move by a replay: files grow by one block at a time, 256 MiB at most. */
const MAX_GROWTH_BYTES = 64 * 2 ** 30;

/** Entries to replay, oldest first. */
export type LogSequence = readonly [LogEntry, ...LogEntry[]];

/**
 * The newest sequence of entries that was written whole, from the first that counts to the last; undefined if there is
 * none.
 */
export function findActiveSequence(log: Uint8Array, logGuid: Guid): LogSequence | undefined {
  let active: LogEntry[] = [];
  for (let tail = 0; ; ) {
    const entries = sequenceFrom(log, tail, logGuid);
    const head = entries.at(-1);
    const firstAt = head === undefined ? -1 : entries.findIndex((entry) => entry.at === head.tail);
    const isNewest = head !== undefined && head.sequenceNumber > (active.at(-1)?.sequenceNumber ?? 0n);
    if (isNewest && firstAt >= 0) active = entries.slice(firstAt);
    // A sequence without its tail is passed over whole: every later start in it has the same head and fewer entries.
    const next = head === undefined ? tail + SECTOR_BYTES : head.at + head.entryBytes;
    if (next % log.length <= tail) break;
    tail = next % log.length;
  }
  const [first, ...rest] = active;
  return first === undefined ? undefined : [first, ...rest];
}

/** Entries one behind the other whose numbers rise by one; never more than the log holds. */
function sequenceFrom(log: Uint8Array, start: number, logGuid: Guid): LogEntry[] {
  const entries: LogEntry[] = [];
  let usedBytes = 0;
  for (let at = start; ; ) {
    const entry = parseLogEntry(log, at, logGuid);
    const before = entries.at(-1);
    if (entry === undefined || entry.entryBytes > log.length - usedBytes) break;
    if (before !== undefined && entry.sequenceNumber !== before.sequenceNumber + 1n) break;
    entries.push(entry);
    usedBytes += entry.entryBytes;
    at = (at + entry.entryBytes) % log.length;
  }
  return entries;
}

export interface LogPlace {
  readonly logGuid: Guid;
  readonly logOffset: number;
  readonly logBytes: number;
}

/**
 * Reads and judges the log. Changes nothing.
 * @throws ImageError if it holds no valid sequence, or the file or an update in it cannot be right
 */
export async function readLog(file: BackingFile, place: LogPlace, fileBytes: number): Promise<LogSequence> {
  const sequence = findActiveSequence(await readBytes(file, place.logOffset, place.logBytes), place.logGuid);
  if (sequence === undefined) throw new ImageError(file.path, 'is corrupt: its log holds no valid entry');
  const head = sequence.at(-1) as LogEntry;
  if (head.flushedFileOffset > BigInt(fileBytes)) {
    throw new ImageError(file.path, `is truncated: it had ${head.flushedFileOffset} bytes once, now ${fileBytes}`);
  }
  if (head.lastFileOffset > BigInt(fileBytes + MAX_GROWTH_BYTES)) {
    throw new ImageError(file.path, `is corrupt: its log makes it ${head.lastFileOffset} bytes long`);
  }
  const endLimit = Math.max(fileBytes, Number(head.lastFileOffset));
  let zeroBytes = 0;
  for (const update of sequence.flatMap((entry) => entry.updates)) {
    const byteCount = update.kind === 'zero' ? update.byteCount : SECTOR_BYTES;
    if (update.kind === 'zero') zeroBytes += byteCount;
    const isInside = byteCount <= endLimit && update.fileOffset <= endLimit - byteCount;
    if (!isInside || zeroBytes > MAX_ZERO_BYTES || touchesForbidden(update.fileOffset, byteCount, place)) {
      throw new ImageError(
        file.path,
        `is corrupt: its log changes ${byteCount} bytes at ${update.fileOffset}, where it may not`,
      );
    }
  }
  return sequence;
}

/** Updates never concern the file's signature, the two headers or the log itself. Sections 2.2.1, 2.2.2, 2.3. */
function touchesForbidden(at: number, byteCount: number, place: LogPlace): boolean {
  const meets = (start: number, end: number): boolean => at < end && byteCount > start - at;
  return meets(0, REGION_TABLE_OFFSETS[0]) || meets(place.logOffset, place.logOffset + place.logBytes);
}

/** Carries the updates out, oldest first, and puts them on stable storage. Doing it twice is as good as once. */
export async function replayLog(file: BackingFile, sequence: LogSequence, fileBytes: number): Promise<void> {
  const head = sequence.at(-1) as LogEntry;
  if (Number(head.lastFileOffset) > fileBytes) await file.resize(Number(head.lastFileOffset));
  for (const update of sequence.flatMap((entry) => entry.updates)) {
    if (update.kind === 'data') await file.write(update.fileOffset, [update.bytes]);
    else await writeZeros(file, update.fileOffset, update.byteCount);
  }
  await file.sync();
}
