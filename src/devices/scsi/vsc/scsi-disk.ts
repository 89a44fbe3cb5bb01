/**
 * A disk behind a StorVSC, for those who want promises: `read`, `write`, `flush`, `trim` by block numbers and page frame
 * numbers.
 *
 * Data goes straight between the disk and the guest's pages that the caller names; the pages, and the list that names
 * them, belong to the host from the call until its promise settles. One exception: a call that is aborted rejects at
 * once, while the host may still be moving its data, so its pages stay the host's until `drained` resolves.
 * What a command returns beside data (sizes, names) is learnt once, by `openDisk`.
 */
import { UsageError } from '../../../errors.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import { ScatterView } from '../../../memory/scatter-view.ts';
import { DataDirection } from '../../../wire/storvsc.ts';
import { encodeReadWrite } from '../target/cdb.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { Opcode } from '../target/opcodes.ts';
import { SenseKey } from '../target/sense.ts';
import { type DiskFacts, learnDisk, type Provisioning } from './disk-facts.ts';
import { DiskIo } from './disk-io.ts';
import { type BlockStatus, readBlockStatus, unmapAll, writeSameZeros } from './disk-trim.ts';
import { failureOf } from './failure.ts';
import { UNIT_ATTENTION_TRIES } from './run-command.ts';
import type { ScsiIo } from './scsi-io.ts';
import type { StorVsc } from './storvsc.ts';

export interface IoOptions {
  /** Rejects the call with the signal's reason; see the head of this file for its pages. */
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends IoOptions {
  /** The blocks are on stable storage when the call ends. */
  readonly forceUnitAccess?: boolean;
}

export interface ZeroOptions extends WriteOptions {
  /** The disk may give the blocks' space back. */
  readonly mayDeallocate?: boolean;
}

/** Pages of zeros that a disk without WRITE SAME is sent at a time. */
const ZERO_PAGES = 16;

/**
 * Looks at the disk of an address: INQUIRY, TEST UNIT READY, READ CAPACITY, MODE SENSE, vital product data.
 * @param address path, target and LUN; 0 each unless given
 * @throws PeerError `ERR_REFUSED` if nobody lives there; ScsiError if the disk cannot be used
 */
export async function openDisk(vsc: StorVsc, address: ScsiAddress = {}): Promise<ScsiDisk> {
  return new ScsiDisk(vsc, address, await learnDisk(vsc, address));
}

export class ScsiDisk implements DiskFacts {
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly hasWriteCache: boolean;
  readonly hasForceUnitAccess: boolean;
  readonly provisioning: Provisioning;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  /** Largest transfer of one call, bytes: what host and guest agreed on when the disk was opened. */
  readonly maxTransferBytes: number;
  readonly #vsc: StorVsc;
  readonly #address: Required<ScsiAddress>;
  readonly #idle: DiskIo[] = [];
  #inFlight = 0;
  #drained: (() => void)[] = [];
  #knowsWriteSame = true;

  /** Use `openDisk`. */
  constructor(vsc: StorVsc, address: ScsiAddress, facts: DiskFacts) {
    this.#vsc = vsc;
    this.#address = { path: address.path ?? 0, target: address.target ?? 0, lun: address.lun ?? 0 };
    this.maxTransferBytes = vsc.maxTransferBytes;
    this.blockBytes = facts.blockBytes;
    this.blockCount = facts.blockCount;
    this.readOnly = facts.readOnly;
    this.hasWriteCache = facts.hasWriteCache;
    this.hasForceUnitAccess = facts.hasForceUnitAccess;
    this.provisioning = facts.provisioning;
    this.vendor = facts.vendor;
    this.product = facts.product;
    this.revision = facts.revision;
  }

  get sizeBytes(): number {
    return this.blockBytes * this.blockCount;
  }

  /** Blocks can be given back: `trim` does something. */
  get canTrim(): boolean {
    return this.provisioning.canTrim && !this.readOnly;
  }

  /**
   * Reads blocks into whole guest pages. Whether the blocks exist is the host's to say.
   * @param lba first block
   * @param blockCount blocks, at most `maxTransferBytes`
   * @param pfns guest pages in order, enough for the blocks; those behind the last byte are not named to the host
   * @throws UsageError `ERR_ARGUMENT` for numbers that make no request; ScsiError if the host refuses or fails;
   *   PeerError `ERR_CLOSED` or `ERR_RESCINDED` if the channel goes away; the signal's reason if it aborts
   */
  read(lba: number, blockCount: number, pfns: ArrayLike<number>, options?: IoOptions): Promise<void> {
    return this.#transfer(false, lba, blockCount, pfns, false, options?.signal);
  }

  /** Writes blocks from whole guest pages; otherwise as `read`. */
  write(lba: number, blockCount: number, pfns: ArrayLike<number>, options?: WriteOptions): Promise<void> {
    if (options?.forceUnitAccess !== true) {
      return this.#transfer(true, lba, blockCount, pfns, false, options?.signal);
    }
    if (this.hasForceUnitAccess) return this.#transfer(true, lba, blockCount, pfns, true, options.signal);
    return this.#transfer(true, lba, blockCount, pfns, false, options.signal).then(() => this.flush(options));
  }

  /** Resolves when all writes that ended before are on stable storage. */
  flush(options?: IoOptions): Promise<void> {
    const io = this.#take();
    io.cdb.fill(0);
    io.cdb[0] = Opcode.SynchronizeCache10;
    io.cdbBytes = 10;
    io.direction = DataDirection.None;
    io.dataBytes = 0;
    io.pfnCount = 0;
    return this.#run(io, options?.signal);
  }

  /**
   * The blocks are no longer needed. They may be any number; what lies outside the disk is refused by the host. On a disk
   * that gives nothing back (`canTrim` is false) this does nothing. Like a write, it is safe after the next `flush`.
   */
  async trim(lba: number, blockCount: number, options?: IoOptions): Promise<void> {
    this.#checkRun(lba, blockCount);
    if (!this.canTrim) return;
    await unmapAll(this.#vsc, this.#address, { lba, blockCount }, this.provisioning, options?.signal);
  }

  /** The blocks read as zeros when this resolves; any number of them. */
  async writeZeroes(lba: number, blockCount: number, options: ZeroOptions = {}): Promise<void> {
    this.#checkRun(lba, blockCount);
    const { signal, mayDeallocate = false, forceUnitAccess = false } = options;
    const run = { lba, blockCount };
    if (this.#knowsWriteSame) {
      const { provisioning, blockBytes } = this;
      this.#knowsWriteSame = await writeSameZeros(
        this.#vsc,
        this.#address,
        run,
        provisioning,
        blockBytes,
        mayDeallocate,
        signal,
      );
    }
    if (!this.#knowsWriteSame) await this.#sendZeros(lba, blockCount, options);
    if (forceUnitAccess) await this.flush(options);
  }

  /**
   * How the disk stores its blocks, from one of them on; as much as it cares to say, so perhaps not to the end.
   * @throws ScsiError if it does not know the command or the block
   */
  blockStatus(lba: number): Promise<BlockStatus[]> {
    return readBlockStatus(this.#vsc, this.#address, lba);
  }

  /** Resolves when every call of before has ended at the host too: the pages of aborted ones are the caller's again. */
  drained(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  async #sendZeros(lba: number, blockCount: number, options: IoOptions): Promise<void> {
    const pageCount = Math.min(ZERO_PAGES, this.maxTransferBytes / PAGE_BYTES);
    const pfns = this.#vsc.pages.allocate(pageCount);
    try {
      new ScatterView(this.#vsc.pages.memory, pfns, 0, pageCount * PAGE_BYTES).fill(0);
      const blocksEach = (pageCount * PAGE_BYTES) / this.blockBytes;
      for (let done = 0; done < blockCount; done += blocksEach) {
        await this.write(lba + done, Math.min(blocksEach, blockCount - done), pfns, options);
      }
    } finally {
      // After an abort they are the host's for a while.
      void this.drained().then(() => this.#vsc.pages.free(pfns));
    }
  }

  #transfer(
    isWrite: boolean,
    lba: number,
    blockCount: number,
    pfns: ArrayLike<number>,
    isFua: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const dataBytes = blockCount * this.blockBytes;
    const pfnCount = Math.ceil(dataBytes / PAGE_BYTES);
    const fault = this.#faultOf(lba, blockCount, dataBytes, pfns.length);
    if (fault !== undefined) return Promise.reject(new UsageError('ERR_ARGUMENT', fault));
    const io = this.#take();
    io.cdbBytes = encodeReadWrite(io.cdb, isWrite, lba, blockCount, isFua);
    io.direction = dataBytes === 0 ? DataDirection.None : isWrite ? DataDirection.Write : DataDirection.Read;
    io.dataBytes = dataBytes;
    io.pfns = pfns;
    io.pfnCount = pfnCount;
    return this.#run(io, signal);
  }

  #faultOf(lba: number, blockCount: number, dataBytes: number, pageCount: number): string | undefined {
    const fault = faultOfRun(lba, blockCount);
    if (fault !== undefined) return fault;
    if (dataBytes > this.maxTransferBytes) {
      return `${dataBytes} bytes are more than one transfer of ${this.maxTransferBytes} holds; split it`;
    }
    if (dataBytes > pageCount * PAGE_BYTES) return `${pageCount} pages do not hold ${dataBytes} bytes`;
    return undefined;
  }

  #checkRun(lba: number, blockCount: number): void {
    const fault = faultOfRun(lba, blockCount);
    if (fault !== undefined) throw new UsageError('ERR_ARGUMENT', fault);
  }

  #run(io: DiskIo, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) {
      this.#idle.push(io);
      return Promise.reject(signal.reason);
    }
    return new Promise((resolve, reject) => {
      io.resolve = resolve;
      io.reject = reject;
      if (signal !== undefined) io.watch(signal, this.#abandoned);
      this.#inFlight++;
      this.#vsc.submit(io);
    });
  }

  #take(): DiskIo {
    const io = this.#idle.pop() ?? this.#newIo();
    io.path = this.#address.path;
    io.target = this.#address.target;
    io.lun = this.#address.lun;
    io.triesLeft = UNIT_ATTENTION_TRIES - 1;
    return io;
  }

  #newIo(): DiskIo {
    const io = new DiskIo();
    io.onDone = this.#done as (io: ScsiIo) => void;
    return io;
  }

  /** What is with the host cannot be called back; what still waits here need not be sent. */
  readonly #abandoned = (io: DiskIo): void => {
    this.#vsc.withdraw(io);
  };

  readonly #done = (io: DiskIo): void => {
    if (io.isGood && io.transferredBytes === io.dataBytes) {
      io.resolve();
    } else {
      if (!io.isAbandoned && io.triesLeft > 0 && io.sense?.key === SenseKey.UnitAttention) {
        io.triesLeft--;
        this.#vsc.submit(io);
        return;
      }
      io.reject(failureOf(io));
    }
    io.settle();
    this.#idle.push(io);
    this.#inFlight--;
    if (this.#inFlight === 0 && this.#drained.length > 0) this.#tellDrained();
  };

  #tellDrained(): void {
    const waiting = this.#drained;
    this.#drained = [];
    for (const resolve of waiting) resolve();
  }
}

function faultOfRun(lba: number, blockCount: number): string | undefined {
  if (!Number.isSafeInteger(lba) || lba < 0) return `block ${lba} is no block number`;
  if (!Number.isSafeInteger(blockCount) || blockCount < 0) return `${blockCount} is no number of blocks`;
  return undefined;
}
