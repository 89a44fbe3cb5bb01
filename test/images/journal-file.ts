/**
 * A file in memory that remembers every change in order, so that a test can cut the power anywhere and look at what an
 * operating system might have kept: all before the last sync, and any part of the rest, in any order, in sectors.
 */
import type { BackingFile } from '../../src/images/backing-file.ts';

const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;

/** Bytes of a sparse file: pages that were never written are zeros and take no memory. */
export class SparseBytes {
  #pages = new Map<number, Uint8Array>();
  sizeBytes = 0;

  clone(): SparseBytes {
    const copy = new SparseBytes();
    for (const [page, bytes] of this.#pages) copy.#pages.set(page, bytes.slice());
    copy.sizeBytes = this.sizeBytes;
    return copy;
  }

  read(at: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const inPage = (at + done) % PAGE_BYTES;
      const byteCount = Math.min(PAGE_BYTES - inPage, target.length - done);
      const page = this.#pages.get((at + done - inPage) / PAGE_BYTES);
      if (page === undefined) target.fill(0, done, done + byteCount);
      else target.set(page.subarray(inPage, inPage + byteCount), done);
      done += byteCount;
    }
  }

  write(at: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const inPage = (at + done) % PAGE_BYTES;
      const byteCount = Math.min(PAGE_BYTES - inPage, source.length - done);
      const number = (at + done - inPage) / PAGE_BYTES;
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = new Uint8Array(PAGE_BYTES);
        this.#pages.set(number, page);
      }
      page.set(source.subarray(done, done + byteCount), inPage);
      done += byteCount;
    }
    this.sizeBytes = Math.max(this.sizeBytes, at + source.length);
  }

  resize(sizeBytes: number): void {
    for (const page of this.#pages.keys()) if (page * PAGE_BYTES >= sizeBytes) this.#pages.delete(page);
    const last = this.#pages.get(Math.floor(sizeBytes / PAGE_BYTES));
    if (sizeBytes < this.sizeBytes) last?.fill(0, sizeBytes % PAGE_BYTES);
    this.sizeBytes = sizeBytes;
  }

  toBytes(): Uint8Array {
    const all = new Uint8Array(this.sizeBytes);
    this.read(0, all);
    return all;
  }
}

/** One change of the file. */
type Change =
  | { readonly kind: 'write'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'punch'; readonly at: number; readonly byteCount: number }
  | { readonly kind: 'resize'; readonly sizeBytes: number }
  /** What was changed before the sync was asked for is safe when it is done: so many changes. */
  | { readonly kind: 'sync'; readonly covers: number };

export interface JournalFileOptions {
  readonly readOnly?: boolean;
  /** Default true. */
  readonly canPunch?: boolean;
  readonly path?: string;
}

export class JournalFile implements BackingFile {
  readonly path: string;
  readonly readOnly: boolean;
  readonly canPunch: boolean;
  readonly now: SparseBytes;
  /** What the file was when this recording began. */
  readonly #start: SparseBytes;
  readonly #changes: Change[] = [];
  isClosed = false;
  /** Makes the next calls of this kind fail. */
  failing: 'write' | 'sync' | 'resize' | undefined;

  constructor(bytes: SparseBytes | Uint8Array = new SparseBytes(), options: JournalFileOptions = {}) {
    this.path = options.path ?? 'disk.img';
    this.readOnly = options.readOnly ?? false;
    this.canPunch = options.canPunch ?? true;
    if (bytes instanceof Uint8Array) {
      this.now = new SparseBytes();
      this.now.write(0, bytes);
    } else {
      this.now = bytes;
    }
    this.#start = this.now.clone();
  }

  /** The same bytes in a file that knows nothing of the past. */
  reopened(options: JournalFileOptions = {}): JournalFile {
    return new JournalFile(this.now.clone(), { path: this.path, canPunch: this.canPunch, ...options });
  }

  /** Moments when a sync is about to be done: then most is at stake. As numbers of changes before them. */
  get moments(): number[] {
    return this.#changes.flatMap((change, index) => (change.kind === 'sync' ? [index] : []));
  }

  get changeCount(): number {
    return this.#changes.length;
  }

  async sizeBytes(): Promise<number> {
    return this.now.sizeBytes;
  }

  async read(at: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.#turn();
    let place = at;
    for (const buffer of buffers) {
      if (buffer.length > this.now.sizeBytes - place) throw new Error(`read past the end at ${place}`);
      this.now.read(place, buffer);
      place += buffer.length;
    }
  }

  async write(at: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.#turn();
    this.#mayChange('write');
    const bytes = new Uint8Array(Buffer.concat(buffers));
    this.now.write(at, bytes);
    this.#changes.push({ kind: 'write', at, bytes });
    await this.#turn();
  }

  async resize(sizeBytes: number): Promise<void> {
    await this.#turn();
    this.#mayChange('resize');
    this.now.resize(sizeBytes);
    this.#changes.push({ kind: 'resize', sizeBytes });
  }

  async punch(at: number, byteCount: number): Promise<boolean> {
    if (!this.canPunch) return false;
    await this.#turn();
    this.#mayChange('write');
    this.#clear(this.now, at, byteCount);
    this.#changes.push({ kind: 'punch', at, byteCount });
    return true;
  }

  async sync(): Promise<void> {
    this.#mayChange('sync');
    const covers = this.#changes.length;
    await this.#turn();
    this.#changes.push({ kind: 'sync', covers });
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  /**
   * What a cut after `changeCount` changes may leave.
   * @param keeps asked, with the change's number, for each sector of each change that no sync covers
   */
  cut(changeCount: number, keeps: (change: number) => boolean): SparseBytes {
    const left = this.#start.clone();
    const before = this.#changes.slice(0, changeCount);
    const sureCount = Math.max(0, ...before.map((change) => (change.kind === 'sync' ? change.covers : 0)));
    for (const [index, change] of before.entries()) {
      const isSure = index < sureCount;
      if (change.kind === 'resize') {
        if (isSure || keeps(index)) left.resize(Math.max(change.sizeBytes, left.sizeBytes));
      } else if (change.kind === 'write') {
        for (let at = 0; at < change.bytes.length; at += SECTOR_BYTES) {
          if (isSure || keeps(index)) left.write(change.at + at, change.bytes.subarray(at, at + SECTOR_BYTES));
        }
      } else if (change.kind === 'punch') {
        for (let at = 0; at < change.byteCount; at += PAGE_BYTES) {
          if (isSure || keeps(index)) this.#clear(left, change.at + at, Math.min(PAGE_BYTES, change.byteCount - at));
        }
      }
    }
    return left;
  }

  #clear(bytes: SparseBytes, at: number, byteCount: number): void {
    const inFile = Math.min(byteCount, bytes.sizeBytes - at);
    if (inFile > 0) bytes.write(at, new Uint8Array(inFile));
  }

  #mayChange(what: 'write' | 'sync' | 'resize'): void {
    if (this.readOnly) throw new Error('the file is read-only');
    if (this.isClosed) throw new Error('the file is closed');
    if (this.failing === what) throw new Error(`${what} fails`);
  }

  /** Lets others go on in between, as a thread pool would. */
  #turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
}
