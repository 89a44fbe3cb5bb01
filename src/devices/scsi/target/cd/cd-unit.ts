/**
 * A CD or DVD drive with an ISO image in it: blocks of 2048 bytes, read-only, the medium may be taken out and put in.
 *
 * Source: MMC-6 (T10/1836-D), SPC-4; what is here is what Linux `drivers/scsi/sr.c` and `drivers/cdrom/cdrom.c` ask for.
 */
import { UsageError } from '../../../../errors.ts';
import type { BlockBackend } from '../../block-backend.ts';
import { BlockUnit, type UnitOptions } from '../block-unit.ts';
import type { CommandTable } from '../command-table.ts';
import { DeviceType, identificationPage, serialNumberPage } from '../inquiry.ts';
import { SENSE } from '../sense.ts';
import { cdCommands } from './cd-commands.ts';

export interface CdUnitOptions extends UnitOptions {
  /** INQUIRY product, at most 16 ASCII characters. Default `Virtual CD/ROM`. */
  readonly product?: string;
}

/** Block size of every data CD and DVD, bytes. */
export const CD_BLOCK_BYTES = 2048;
/** More than the longest CD, 99 minutes of 60 seconds of 75 blocks: then it is a DVD. */
const MOST_CD_BLOCKS = 99 * 60 * 75;

/** Media events of GET EVENT STATUS NOTIFICATION. Source: MMC-6 table 277. */
export const MediaEvent = { None: 0, EjectRequest: 1, NewMedia: 2, MediaRemoval: 3 } as const;
export type MediaEvent = (typeof MediaEvent)[keyof typeof MediaEvent];

export class CdUnit extends BlockUnit {
  readonly deviceType = DeviceType.CdDvd;
  readonly isRemovable = true;
  readonly vitalPages: ReadonlyMap<number, () => Uint8Array>;
  readonly commands: CommandTable;
  /** The guest does not want its medium taken out. */
  isRemovalPrevented = false;
  #hasMedium = true;
  #event: MediaEvent = MediaEvent.None;

  /** @throws UsageError `ERR_ARGUMENT` for an option outside its range, or a store whose blocks are not 2048 bytes */
  constructor(backend: BlockBackend, options: CdUnitOptions = {}) {
    checkMedium(backend);
    super(backend, options, 'Virtual CD/ROM');
    this.vitalPages = new Map([
      [0x80, () => serialNumberPage(this)],
      [0x83, () => identificationPage(this)],
    ]);
    this.commands = cdCommands(this);
  }

  get hasMedium(): boolean {
    return this.#hasMedium;
  }

  get isDvd(): boolean {
    return this.blockCount > MOST_CD_BLOCKS;
  }

  /** Takes the medium out, whatever the guest wants; reads under way end by themselves. The store stays open. */
  eject(): void {
    if (!this.#hasMedium) return;
    this.#hasMedium = false;
    this.isRemovalPrevented = false;
    this.#event = MediaEvent.MediaRemoval;
  }

  /**
   * Puts a medium in, or the last one back.
   * @returns the store that was in before, which is the caller's to close if it is another one
   * @throws UsageError `ERR_ARGUMENT` for a store whose blocks are not 2048 bytes
   */
  insert(backend: BlockBackend = this.backend): BlockBackend {
    checkMedium(backend);
    const before = this.backend;
    if (backend !== before) this.exchangeStore(backend);
    this.#hasMedium = true;
    this.#event = MediaEvent.NewMedia;
    this.postAttention(SENSE.MediumMayHaveChanged);
    return before;
  }

  /** What happened since it was asked last. */
  takeEvent(): MediaEvent {
    const event = this.#event;
    this.#event = MediaEvent.None;
    return event;
  }

  override reset(): void {
    super.reset();
    this.isRemovalPrevented = false;
  }

  override nexusLost(): void {
    super.nexusLost();
    this.isRemovalPrevented = false;
  }

  override inspect(): Record<string, unknown> {
    return { kind: 'CD', hasMedium: this.#hasMedium, ...super.inspect() };
  }
}

function checkMedium(backend: BlockBackend): void {
  if (backend.blockBytes !== CD_BLOCK_BYTES) {
    throw new UsageError(
      'ERR_ARGUMENT',
      `a CD has blocks of ${CD_BLOCK_BYTES} bytes, ${backend.identity} has ${backend.blockBytes}: open it with that size`,
    );
  }
}
