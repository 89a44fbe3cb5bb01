/**
 * A disk behind a StorVSC, for those who want promises: `read`, `write`, `flush` by block numbers and page frame numbers.
 *
 * Data goes straight between the disk and the guest's pages that the caller names; the pages belong to the host from the
 * call until its promise settles. What a command returns beside data (sizes, names) is learnt once, by `openDisk`.
 */
import { UsageError } from '../../../errors.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import { DataDirection } from '../../../wire/storvsc.ts';
import { encodeReadWrite } from '../target/cdb.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { Opcode } from '../target/opcodes.ts';
import { type DiskFacts, learnDisk } from './disk-facts.ts';
import { failureOf } from './failure.ts';
import { ScsiIo } from './scsi-io.ts';
import type { StorVsc } from './storvsc.ts';

/**
 * Looks at the disk of an address: INQUIRY, TEST UNIT READY, READ CAPACITY, MODE SENSE.
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
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  /** Largest transfer of one call, bytes: what host and guest agreed on when the disk was opened. */
  readonly maxTransferBytes: number;
  readonly #vsc: StorVsc;
  readonly #address: Required<ScsiAddress>;
  readonly #idle: DiskIo[] = [];

  /** Use `openDisk`. */
  constructor(vsc: StorVsc, address: ScsiAddress, facts: DiskFacts) {
    this.#vsc = vsc;
    this.#address = { path: address.path ?? 0, target: address.target ?? 0, lun: address.lun ?? 0 };
    this.maxTransferBytes = vsc.maxTransferBytes;
    this.blockBytes = facts.blockBytes;
    this.blockCount = facts.blockCount;
    this.readOnly = facts.readOnly;
    this.hasWriteCache = facts.hasWriteCache;
    this.vendor = facts.vendor;
    this.product = facts.product;
    this.revision = facts.revision;
  }

  get sizeBytes(): number {
    return this.blockBytes * this.blockCount;
  }

  /**
   * Reads blocks into whole guest pages. Whether the blocks exist is the host's to say.
   * @param lba first block
   * @param blockCount blocks, at most `maxTransferBytes`
   * @param pfns guest pages in order, enough for the blocks; those behind the last byte are not named to the host
   * @throws UsageError `ERR_ARGUMENT` for numbers that make no request; ScsiError if the host refuses or fails;
   *   PeerError `ERR_CLOSED` or `ERR_RESCINDED` if the channel goes away
   */
  read(lba: number, blockCount: number, pfns: ArrayLike<number>): Promise<void> {
    return this.#transfer(false, lba, blockCount, pfns);
  }

  /** Writes blocks from whole guest pages; otherwise as `read`. */
  write(lba: number, blockCount: number, pfns: ArrayLike<number>): Promise<void> {
    return this.#transfer(true, lba, blockCount, pfns);
  }

  /** Resolves when all writes that ended before are on stable storage. */
  flush(): Promise<void> {
    const io = this.#take();
    io.cdb.fill(0);
    io.cdb[0] = Opcode.SynchronizeCache10;
    io.cdbBytes = 10;
    io.direction = DataDirection.None;
    io.dataBytes = 0;
    io.pfnCount = 0;
    return this.#run(io);
  }

  #transfer(isWrite: boolean, lba: number, blockCount: number, pfns: ArrayLike<number>): Promise<void> {
    const dataBytes = blockCount * this.blockBytes;
    const pfnCount = Math.ceil(dataBytes / PAGE_BYTES);
    const fault = this.#faultOf(lba, blockCount, dataBytes, pfns.length);
    if (fault !== undefined) return Promise.reject(new UsageError('ERR_ARGUMENT', fault));
    const io = this.#take();
    io.cdbBytes = encodeReadWrite(io.cdb, isWrite, lba, blockCount);
    io.direction = dataBytes === 0 ? DataDirection.None : isWrite ? DataDirection.Write : DataDirection.Read;
    io.dataBytes = dataBytes;
    io.pfns = pfns;
    io.pfnCount = pfnCount;
    return this.#run(io);
  }

  #faultOf(lba: number, blockCount: number, dataBytes: number, pageCount: number): string | undefined {
    if (!Number.isSafeInteger(lba) || lba < 0) return `block ${lba} is no block number`;
    if (!Number.isInteger(blockCount) || blockCount < 0) return `${blockCount} is no number of blocks`;
    if (dataBytes > this.maxTransferBytes) {
      return `${dataBytes} bytes are more than one transfer of ${this.maxTransferBytes} holds; split it`;
    }
    if (dataBytes > pageCount * PAGE_BYTES) return `${pageCount} pages do not hold ${dataBytes} bytes`;
    return undefined;
  }

  #run(io: DiskIo): Promise<void> {
    return new Promise((resolve, reject) => {
      io.resolve = resolve;
      io.reject = reject;
      this.#vsc.submit(io);
    });
  }

  #take(): DiskIo {
    const io = this.#idle.pop() ?? this.#newIo();
    io.path = this.#address.path;
    io.target = this.#address.target;
    io.lun = this.#address.lun;
    return io;
  }

  #newIo(): DiskIo {
    const io = new DiskIo();
    io.onDone = this.#done as (io: ScsiIo) => void;
    return io;
  }

  readonly #done = (io: DiskIo): void => {
    const { resolve, reject } = io;
    if (io.isGood && io.transferredBytes === io.dataBytes) resolve();
    else reject(failureOf(io));
    this.#idle.push(io);
  };
}

/** A command with the promise that waits for it. */
class DiskIo extends ScsiIo {
  resolve: () => void = () => {};
  reject: (error: unknown) => void = () => {};
}
