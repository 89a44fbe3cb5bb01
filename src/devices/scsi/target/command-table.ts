/**
 * The commands that a unit knows: by opcode, and by service action where an opcode has several.
 *
 * Each unit has a table of its own, made once, with only what it can do; a command costs one array look-up.
 */
import { UsageError } from '../../../errors.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { fromHex } from './hex-text.ts';
import { cdbBytesOf } from './opcodes.ts';

/**
 * What a command does to a unit that another initiator has reserved: nothing that matters, a read, a write, or dealing
 * with the reservation itself. Source: SPC-4 table 65, SBC-3 table 13.
 */
export type Access = 'free' | 'read' | 'write' | 'reservation';

export interface CommandEntry {
  readonly opcode: number;
  /** Low 5 bits of CDB byte 1, for opcodes that have several. */
  readonly serviceAction?: number;
  /** CDB usage data of REPORT SUPPORTED OPERATION CODES, in hex: a bit is set if it is looked at. The opcode comes first. */
  readonly usage: string;
  readonly access: Access;
  /** Runs although a unit attention waits, and leaves it waiting. Source: SAM-5 section 5.14. */
  readonly ignoresAttention?: boolean;
  readonly run: (command: ScsiCommand) => Answered;
}

interface Slot {
  /** The only entry, or `undefined` if there are service actions. */
  readonly single: CommandEntry | undefined;
  readonly actions: readonly (CommandEntry | undefined)[];
}

export class CommandTable {
  readonly entries: readonly CommandEntry[];
  readonly #slots: readonly (Slot | undefined)[];

  /** @throws UsageError `ERR_ARGUMENT` for an entry whose usage data is not as long as its opcode's CDB */
  constructor(entries: readonly CommandEntry[]) {
    this.entries = [...entries].sort((a, b) => a.opcode - b.opcode || (a.serviceAction ?? 0) - (b.serviceAction ?? 0));
    const slots = new Array<Slot | undefined>(256).fill(undefined);
    for (const entry of this.entries) {
      const { opcode, serviceAction } = entry;
      // Every handler reads fields by the length that the opcode's group fixes.
      if (cdbBytesOf(opcode) === 0 || usageBytes(entry).length !== cdbBytesOf(opcode)) {
        throw new UsageError('ERR_ARGUMENT', `opcode ${opcode} does not have the CDB length of its usage data`);
      }
      if (serviceAction === undefined) {
        slots[opcode] = { single: entry, actions: [] };
      } else {
        const actions = slots[opcode]?.actions.slice() ?? new Array<CommandEntry | undefined>(32).fill(undefined);
        actions[serviceAction] = entry;
        slots[opcode] = { single: undefined, actions };
      }
    }
    this.#slots = slots;
  }

  /** True if some command has this opcode. */
  hasOpcode(opcode: number): boolean {
    return this.#slots[opcode] !== undefined;
  }

  /** The command of a CDB; `undefined` for an opcode or a service action that is not there. */
  find(cdb: Uint8Array): CommandEntry | undefined {
    const slot = this.#slots[cdb[0] as number];
    if (slot === undefined) return undefined;
    return slot.single ?? slot.actions[(cdb[1] as number) & 0x1f];
  }
}

/** The usage data as bytes. */
export function usageBytes(entry: CommandEntry): Uint8Array {
  return fromHex(entry.usage);
}
