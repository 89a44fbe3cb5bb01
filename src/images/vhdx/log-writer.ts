/**
 * Writes a VHDX log: each entry is applied before the next one is written, so an entry's tail is always itself.
 *
 * The writer never puts anything on stable storage by itself; its user syncs between an entry and the update it stands
 * for, and between that update and the next entry.
 */
import { assert } from '../../errors.ts';
import type { Guid } from '../../wire/guid.ts';
import type { BackingFile } from '../backing-file.ts';
import { encodeLogEntry, entryBytesFor, type NewLogEntry } from './log-entry.ts';

/**
 * Most sectors of one entry: its header and descriptors fill one sector then. Two such entries fit the smallest log, so
 * the newest is never overwritten by the next.
 */
export const MAX_ENTRY_SECTORS = 126;

export class LogWriter {
  readonly logGuid: Guid;
  readonly #file: BackingFile;
  readonly #logOffset: number;
  readonly #logBytes: number;
  #at = 0;
  #sequenceNumber = 1n;

  /** @param logGuid a new one: no entry with it exists yet */
  constructor(file: BackingFile, logOffset: number, logBytes: number, logGuid: Guid) {
    assert(2 * entryBytesFor(MAX_ENTRY_SECTORS) <= logBytes, 'two log entries fit the log');
    this.#file = file;
    this.#logOffset = logOffset;
    this.#logBytes = logBytes;
    this.logGuid = logGuid;
  }

  /**
   * Writes one entry.
   * @param sectors at most `MAX_ENTRY_SECTORS`; none makes the entry that begins a log
   * @param flushedFileOffset length of the file that is on stable storage, bytes
   * @param lastFileOffset length that everything in the file fits into, bytes
   */
  async append(sectors: NewLogEntry['sectors'], flushedFileOffset: number, lastFileOffset: number): Promise<void> {
    assert(sectors.length <= MAX_ENTRY_SECTORS, 'a log entry holds no more than its share of sectors');
    const entry = encodeLogEntry({
      tail: this.#at,
      sequenceNumber: this.#sequenceNumber,
      logGuid: this.logGuid,
      flushedFileOffset,
      lastFileOffset,
      sectors,
    });
    const firstBytes = Math.min(entry.length, this.#logBytes - this.#at);
    await this.#file.write(this.#logOffset + this.#at, [entry.subarray(0, firstBytes)]);
    if (firstBytes < entry.length) await this.#file.write(this.#logOffset, [entry.subarray(firstBytes)]);
    this.#at = (this.#at + entry.length) % this.#logBytes;
    this.#sequenceNumber++;
  }
}
