/**
 * A disk: a direct-access block device over a block back end.
 *
 * Source: SBC-3 (T10/1799-D), SPC-4 (T10/1731-D). The table of its commands is in `disk-commands.ts`; each theme has a
 * file of its own beside it.
 */
import type { BlockBackend } from '../../block-backend.ts';
import { BlockUnit, type UnitOptions } from '../block-unit.ts';
import type { CommandTable } from '../command-table.ts';
import { DeviceType, identificationPage, serialNumberPage } from '../inquiry.ts';
import { diskCommands } from './disk-commands.ts';
import { blockLimitsPage, characteristicsPage, provisioningPage } from './disk-pages.ts';

export interface DiskUnitOptions extends UnitOptions {
  /** INQUIRY product, at most 16 ASCII characters. Default `Virtual Disk`. */
  readonly product?: string;
}

/** Most bytes that one WRITE SAME fills: a bound on how long it takes. */
const MAX_WRITE_SAME_BYTES = 0x400_0000;
/** COMPARE AND WRITE counts its blocks in one byte. */
const MOST_COMPARE_AND_WRITE_BLOCKS = 255;

export class DiskUnit extends BlockUnit {
  readonly deviceType = DeviceType.DirectAccess;
  readonly isRemovable = false;
  /** The store can give space back, and the guest is told so. */
  readonly isThin: boolean;
  readonly readsZerosWhereUnmapped: boolean;
  readonly discardGranularityBlocks: number;
  readonly maxWriteSameBlocks: number;
  readonly maxCompareAndWriteBlocks: number;
  readonly vitalPages: ReadonlyMap<number, () => Uint8Array>;
  readonly commands: CommandTable;

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range */
  constructor(backend: BlockBackend, options: DiskUnitOptions = {}) {
    super(backend, options, 'Virtual Disk');
    const { blockBytes, discardGranularityBytes = 0, discardReadsZeros = false } = backend;
    this.isThin = discardGranularityBytes > 0 && backend.discard !== undefined && !backend.readOnly;
    this.readsZerosWhereUnmapped = this.isThin && discardReadsZeros;
    this.discardGranularityBlocks = Math.max(1, Math.floor(discardGranularityBytes / blockBytes));
    this.maxWriteSameBlocks = MAX_WRITE_SAME_BYTES / blockBytes;
    this.maxCompareAndWriteBlocks = Math.min(
      MOST_COMPARE_AND_WRITE_BLOCKS,
      Math.floor(this.maxTransferBytes / (2 * blockBytes)),
    );
    this.vitalPages = new Map([
      [0x80, () => serialNumberPage(this)],
      [0x83, () => identificationPage(this)],
      [0xb0, () => blockLimitsPage(this)],
      [0xb1, () => characteristicsPage()],
      [0xb2, () => provisioningPage(this)],
    ]);
    this.commands = diskCommands(this);
  }

  override inspect(): Record<string, unknown> {
    return { kind: 'disk', isThin: this.isThin, ...super.inspect() };
  }
}
