/**
 * What disks and CDs have in common: a back end with blocks, names that stay the same over restarts, unit attentions,
 * reservations, and a table of commands that each kind of unit brings.
 *
 * A unit is one initiator's view: give each guest units of its own over a shared back end, and they see each other's
 * reservations and changes of size.
 */
import { UsageError } from '../../../errors.ts';
import { BackendError, BackendFault, type BlockBackend } from '../block-backend.ts';
import type { Answered, ScsiCommand } from './command.ts';
import type { CommandEntry, CommandTable } from './command-table.ts';
import { identityBytes } from './identity.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { Opcode } from './opcodes.ts';
import type { Registrant } from './reservations.ts';
import { SENSE, type Sense } from './sense.ts';
import { type StoreShare, shareOf } from './store-share.ts';

export interface UnitOptions {
  /** Largest transfer that the unit tells the guest, bytes; a multiple of the block size. Default 1 MiB. */
  readonly maxTransferBytes?: number;
  /** INQUIRY vendor, at most 8 ASCII characters. Default `Msft`: guests know Hyper-V's disks by it. */
  readonly vendor?: string;
  /** INQUIRY product, at most 16 ASCII characters. */
  readonly product?: string;
  /** INQUIRY revision, at most 4 ASCII characters. Default `1.0`. */
  readonly revision?: string;
  /**
   * Who uses the unit, for reservations: give a guest the same name after it came back, and it finds its registration.
   * Default: a name that no other unit has.
   */
  readonly initiator?: string;
  /** Told when the store fails. The guest gets sense data; this is the host's own record. */
  readonly onFault?: (error: unknown) => void;
}

export const DEFAULT_MAX_TRANSFER_BYTES = 0x10_0000;

let unitsMade = 0;

export abstract class BlockUnit implements LogicalUnit, Registrant {
  /** Peripheral device type of INQUIRY. */
  abstract readonly deviceType: number;
  abstract readonly isRemovable: boolean;
  abstract readonly commands: CommandTable;
  /** Vital product data pages in ascending order: the bytes behind the 4 of the header. */
  abstract readonly vitalPages: ReadonlyMap<number, () => Uint8Array>;

  readonly maxTransferBytes: number;
  readonly vendor: Uint8Array;
  readonly product: Uint8Array;
  readonly revision: Uint8Array;
  readonly initiator: string;
  /** Sense that was not delivered with its command; REQUEST SENSE returns it once. */
  pendingSense: Sense | undefined;
  /** Reads and writes that the store failed, for LOG SENSE. */
  readonly faults = { read: 0, write: 0 };
  /** Bytes that reads and writes were to move, for LOG SENSE. */
  readonly movedBytes = { read: 0, write: 0 };

  #backend: BlockBackend;
  #share: StoreShare;
  readonly #identity: Uint8Array;
  #blockCount: number;
  #sizeVersion: number;
  /** Oldest first; each is reported once. */
  #attentions: Sense[] = [];
  readonly #onFault: ((error: unknown) => void) | undefined;
  #commandCount = 0;
  #faultCount = 0;

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range */
  constructor(backend: BlockBackend, options: UnitOptions, product: string) {
    this.#backend = backend;
    this.#share = shareOf(backend);
    this.#sizeVersion = this.#share.sizeVersion;
    this.#identity = identityBytes(backend.identity);
    this.#blockCount = blockCountOfStore(backend);
    this.maxTransferBytes = options.maxTransferBytes ?? DEFAULT_MAX_TRANSFER_BYTES;
    if (this.maxTransferBytes < this.blockBytes || this.maxTransferBytes % this.blockBytes !== 0) {
      throw new UsageError('ERR_ARGUMENT', `a largest transfer of ${this.maxTransferBytes} bytes is not whole blocks`);
    }
    this.vendor = asciiField('vendor', options.vendor ?? 'Msft', 8);
    this.product = asciiField('product', options.product ?? product, 16);
    this.revision = asciiField('revision', options.revision ?? '1.0', 4);
    this.initiator = options.initiator ?? `unit ${unitsMade++}`;
    this.#onFault = options.onFault;
  }

  get backend(): BlockBackend {
    return this.#backend;
  }

  get share(): StoreShare {
    return this.#share;
  }

  get blockBytes(): number {
    return this.#backend.blockBytes;
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  /** 16 bytes, the same after every restart. */
  get identity(): Uint8Array {
    return this.#identity;
  }

  execute(command: ScsiCommand): Answered {
    this.#commandCount++;
    command.onFault = this.#faulted;
    const entry = this.commands.find(command.cdb);
    const share = this.#share;
    if (this.#attentions.length > 0 || share.sizeVersion !== this.#sizeVersion || !share.reservations.isQuiet) {
      const objection = this.#object(command, entry);
      if (objection !== undefined) return objection;
    }
    if (entry !== undefined) return entry.run(command);
    const isKnown = this.commands.hasOpcode(command.cdb[0] as number);
    return command.refuse(isKnown ? SENSE.InvalidFieldInCdb : SENSE.InvalidOpcode);
  }

  keepSense(sense: Sense): void {
    this.pendingSense = sense;
  }

  /** Reports `sense` with the next command that may carry it. The same thing twice in a row is reported once. */
  postAttention(sense: Sense): void {
    if (!this.#attentions.includes(sense)) this.#attentions.push(sense);
  }

  /** The oldest unit attention that waits, which then waits no longer. */
  takeAttention(): Sense | undefined {
    this.#noticeSize();
    return this.#attentions.shift();
  }

  /** The store has grown or shrunk: every guest of every unit over it learns it with its next command. */
  capacityChanged(): void {
    this.#share.sizeVersion++;
  }

  /** What SPC-4 calls a logical unit reset: one attention stands for all that waited. */
  reset(): void {
    this.pendingSense = undefined;
    this.#share.reservations.forget();
    this.#attentions = [SENSE.PowerOnOrReset];
  }

  nexusLost(): void {
    this.pendingSense = undefined;
    this.#attentions = [];
    this.#share.reservations.forget(this.initiator);
  }

  lunsChanged(): void {
    this.postAttention(SENSE.LunsChanged);
  }

  close(): Promise<void> {
    return this.#backend.close();
  }

  inspect(): Record<string, unknown> {
    return {
      store: this.#backend.identity,
      blockBytes: this.blockBytes,
      blockCount: this.blockCount,
      readOnly: this.#backend.readOnly,
      commands: this.#commandCount,
      faults: this.#faultCount,
      attentions: this.#attentions.length,
      reservations: this.#share.reservations.inspect(),
    };
  }

  /** Another medium in the same unit, which keeps its name. */
  protected exchangeStore(backend: BlockBackend): void {
    this.#backend = backend;
    this.#share = shareOf(backend);
    this.#sizeVersion = this.#share.sizeVersion;
    this.#blockCount = blockCountOfStore(backend);
  }

  /** Why the command cannot run now, unless it can: an attention comes first, then reservations. */
  #object(command: ScsiCommand, entry: CommandEntry | undefined): Answered | undefined {
    this.#noticeSize();
    if (entry?.ignoresAttention !== true) {
      const attention = this.#attentions.shift();
      if (attention !== undefined) return command.fail(attention);
    }
    const isFree = entry === undefined || !this.#share.reservations.conflicts(this.initiator, accessOf(entry, command));
    return isFree ? undefined : command.conflict();
  }

  #noticeSize(): void {
    if (this.#share.sizeVersion === this.#sizeVersion) return;
    this.#sizeVersion = this.#share.sizeVersion;
    this.#blockCount = blockCountOfStore(this.#backend);
    this.postAttention(SENSE.CapacityChanged);
  }

  readonly #faulted = (error: unknown): void => {
    this.#faultCount++;
    if (error instanceof BackendError && error.fault === BackendFault.Read) this.faults.read++;
    else this.faults.write++;
    this.#onFault?.(error);
  };
}

/** Starting a unit, and allowing removal, touch nothing. Source: SPC-4 table 65, SBC-3 table 13. */
function accessOf(entry: CommandEntry, { cdb }: ScsiCommand): CommandEntry['access'] {
  if (entry.opcode === Opcode.StartStopUnit && ((cdb[4] as number) & 0xf3) === 1) return 'free';
  if (entry.opcode === Opcode.PreventAllowRemoval && ((cdb[4] as number) & 3) === 0) return 'free';
  return entry.access;
}

function blockCountOfStore(backend: BlockBackend): number {
  return Math.floor(backend.sizeBytes / backend.blockBytes);
}

/** Left-aligned ASCII, padded with spaces, as SPC-4 section 4.4.1 asks. */
function asciiField(name: string, text: string, fieldBytes: number): Uint8Array {
  if (text.length > fieldBytes || !/^[\x20-\x7e]*$/.test(text)) {
    throw new UsageError('ERR_ARGUMENT', `${name} '${text}' is not at most ${fieldBytes} printable ASCII characters`);
  }
  return Uint8Array.from(text.padEnd(fieldBytes), (char) => char.charCodeAt(0));
}
