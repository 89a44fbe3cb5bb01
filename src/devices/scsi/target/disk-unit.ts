/**
 * A disk: a direct-access block device over a block back end.
 *
 * Source: SBC-3 (T10/1799-D), SPC-4 (T10/1731-D). The table of commands is at the end of this file; each theme has a file
 * of its own beside it.
 */
import { UsageError } from '../../../errors.ts';
import type { BlockBackend } from '../block-backend.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { flushCache, readBlocks, startStop, verifyBlocks, writeBlocks } from './disk-blocks.ts';
import { readCapacity10, serviceActionIn16 } from './disk-capacity.ts';
import { inquiry } from './disk-inquiry.ts';
import { modeSense6, modeSense10 } from './disk-mode.ts';
import { identityBytes } from './identity.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { cdbBytesOf, Opcode } from './opcodes.ts';
import { requestSense } from './request-sense.ts';
import { SENSE, type Sense } from './sense.ts';

export interface DiskUnitOptions {
  /** Largest transfer that the disk tells the guest, bytes; a multiple of the block size. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** INQUIRY vendor, at most 8 ASCII characters. Default `Msft`: guests know Hyper-V's disks by it. */
  readonly vendor?: string;
  /** INQUIRY product, at most 16 ASCII characters. Default `Virtual Disk`. */
  readonly product?: string;
  /** INQUIRY revision, at most 4 ASCII characters. Default `1.0`. */
  readonly revision?: string;
  /** Told when the store fails. The guest gets sense data; this is the host's own record. */
  readonly onFault?: (error: unknown) => void;
}

export const DEFAULT_MAX_TRANSFER_BYTES = 0x10_0000;

export class DiskUnit implements LogicalUnit {
  readonly backend: BlockBackend;
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly maxTransferBytes: number;
  readonly vendor: Uint8Array;
  readonly product: Uint8Array;
  readonly revision: Uint8Array;
  /** 16 bytes, the same after every restart. */
  readonly identity: Uint8Array;
  /** Sense that was not delivered with its command; REQUEST SENSE returns it once. */
  pendingSense: Sense | undefined;
  readonly #onFault: ((error: unknown) => void) | undefined;
  #commands = 0;
  #faults = 0;

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range */
  constructor(backend: BlockBackend, options: DiskUnitOptions = {}) {
    this.backend = backend;
    this.blockBytes = backend.blockBytes;
    this.blockCount = Math.floor(backend.sizeBytes / backend.blockBytes);
    this.maxTransferBytes = options.maxTransferBytes ?? DEFAULT_MAX_TRANSFER_BYTES;
    if (this.maxTransferBytes < this.blockBytes || this.maxTransferBytes % this.blockBytes !== 0) {
      throw new UsageError('ERR_ARGUMENT', `a largest transfer of ${this.maxTransferBytes} bytes is not whole blocks`);
    }
    this.vendor = asciiField('vendor', options.vendor ?? 'Msft', 8);
    this.product = asciiField('product', options.product ?? 'Virtual Disk', 16);
    this.revision = asciiField('revision', options.revision ?? '1.0', 4);
    this.identity = identityBytes(backend.identity);
    this.#onFault = options.onFault;
  }

  execute(command: ScsiCommand): Answered {
    this.#commands++;
    command.onFault = this.#faulted;
    const handler = HANDLERS[command.cdb[0] as number];
    return handler === undefined ? command.refuse(SENSE.InvalidOpcode) : handler(this, command);
  }

  keepSense(sense: Sense): void {
    this.pendingSense = sense;
  }

  reset(): void {
    this.pendingSense = undefined;
  }

  nexusLost(): void {
    this.pendingSense = undefined;
  }

  lunsChanged(): void {}

  close(): Promise<void> {
    return this.backend.close();
  }

  inspect(): Record<string, unknown> {
    return {
      kind: 'disk',
      store: this.backend.identity,
      blockBytes: this.blockBytes,
      blockCount: this.blockCount,
      readOnly: this.backend.readOnly,
      commands: this.#commands,
      faults: this.#faults,
    };
  }

  readonly #faulted = (error: unknown): void => {
    this.#faults++;
    this.#onFault?.(error);
  };
}

type Handler = (disk: DiskUnit, command: ScsiCommand) => Answered;

/** Indexed by opcode: an array look-up per command, nothing more. */
const HANDLERS: readonly (Handler | undefined)[] = byOpcode([
  [Opcode.TestUnitReady, (_disk, command) => command.good(0)],
  [Opcode.RequestSense, requestSense],
  [Opcode.Inquiry, inquiry],
  [Opcode.ModeSense6, modeSense6],
  [Opcode.ModeSense10, modeSense10],
  [Opcode.StartStopUnit, startStop],
  [Opcode.ReadCapacity10, readCapacity10],
  [Opcode.ServiceActionIn16, serviceActionIn16],
  [Opcode.Read6, readBlocks],
  [Opcode.Read10, readBlocks],
  [Opcode.Read12, readBlocks],
  [Opcode.Read16, readBlocks],
  [Opcode.Write6, writeBlocks],
  [Opcode.Write10, writeBlocks],
  [Opcode.Write12, writeBlocks],
  [Opcode.Write16, writeBlocks],
  [Opcode.Verify10, verifyBlocks],
  [Opcode.Verify12, verifyBlocks],
  [Opcode.Verify16, verifyBlocks],
  [Opcode.SynchronizeCache10, flushCache],
  [Opcode.SynchronizeCache16, flushCache],
]);

function byOpcode(entries: readonly (readonly [number, Handler])[]): (Handler | undefined)[] {
  const table = new Array<Handler | undefined>(256).fill(undefined);
  for (const [opcode, handler] of entries) {
    // Every handler reads fields by the length that the opcode's group fixes.
    if (cdbBytesOf(opcode) === 0) throw new UsageError('ERR_ARGUMENT', `opcode ${opcode} has no fixed CDB length`);
    table[opcode] = handler;
  }
  return table;
}

/** Left-aligned ASCII, padded with spaces, as SPC-4 section 4.4.1 asks. */
function asciiField(name: string, text: string, fieldBytes: number): Uint8Array {
  if (text.length > fieldBytes || !/^[\x20-\x7e]*$/.test(text)) {
    throw new UsageError('ERR_ARGUMENT', `${name} '${text}' is not at most ${fieldBytes} printable ASCII characters`);
  }
  return Uint8Array.from(text.padEnd(fieldBytes), (char) => char.charCodeAt(0));
}
