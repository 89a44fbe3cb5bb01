/** Every command of a CD drive. Those that need a medium say "medium not present" without one. */
import { type CommandEntry, CommandTable } from '../command-table.ts';
import { readBlocks } from '../disk/disk-blocks.ts';
import { readCapacity10 } from '../disk/disk-capacity.ts';
import { inquiry } from '../inquiry.ts';
import { Opcode, REPORT_SUPPORTED_OPERATION_CODES } from '../opcodes.ts';
import { requestSense } from '../request-sense.ts';
import { SENSE } from '../sense.ts';
import { reportSupportedOpcodes } from '../supported-opcodes.ts';
import { getConfiguration } from './cd-configuration.ts';
import { readDiscInformation, readToc, readTrackInformation } from './cd-disc.ts';
import { modeSense6, modeSense10 } from './cd-mode.ts';
import { getEventStatus, mechanismStatus, preventAllowRemoval, startStop } from './cd-tray.ts';
import type { CdUnit } from './cd-unit.ts';

type Handler = (cd: CdUnit, command: Parameters<CommandEntry['run']>[0]) => ReturnType<CommandEntry['run']>;
interface Row extends Omit<CommandEntry, 'run' | 'access'> {
  readonly handler: Handler;
  readonly needsMedium?: true;
}

const ROWS: readonly Row[] = [
  {
    opcode: Opcode.TestUnitReady,
    usage: '00 00 00 00 00 00',
    needsMedium: true,
    handler: (_cd, command) => command.good(0),
  },
  { opcode: Opcode.RequestSense, usage: '03 01 00 00 ff 00', ignoresAttention: true, handler: requestSense },
  { opcode: Opcode.Inquiry, usage: '12 03 ff ff ff 00', ignoresAttention: true, handler: inquiry },
  { opcode: Opcode.ModeSense6, usage: '1a 08 ff ff ff 00', ignoresAttention: true, handler: modeSense6 },
  { opcode: Opcode.StartStopUnit, usage: '1b 01 00 00 f3 00', handler: startStop },
  { opcode: Opcode.PreventAllowRemoval, usage: '1e 00 00 00 03 00', handler: preventAllowRemoval },
  {
    opcode: Opcode.ReadCapacity10,
    usage: '25 00 ff ff ff ff 00 00 01 00',
    needsMedium: true,
    handler: readCapacity10,
  },
  { opcode: Opcode.Read10, usage: '28 e1 ff ff ff ff 00 ff ff 00', needsMedium: true, handler: readBlocks },
  { opcode: Opcode.ReadToc, usage: '43 02 0f 00 00 00 ff ff ff 00', needsMedium: true, handler: readToc },
  // MMC-6 section 6.5: like INQUIRY, it neither reports nor clears an attention. So does the next.
  {
    opcode: Opcode.GetConfiguration,
    usage: '46 03 ff ff 00 00 00 ff ff 00',
    ignoresAttention: true,
    handler: getConfiguration,
  },
  {
    opcode: Opcode.GetEventStatus,
    usage: '4a 01 00 00 ff 00 00 ff ff 00',
    ignoresAttention: true,
    handler: getEventStatus,
  },
  {
    opcode: Opcode.ReadDiscInformation,
    usage: '51 07 00 00 00 00 00 ff ff 00',
    needsMedium: true,
    handler: readDiscInformation,
  },
  {
    opcode: Opcode.ReadTrackInformation,
    usage: '52 03 ff ff ff ff 00 ff ff 00',
    needsMedium: true,
    handler: readTrackInformation,
  },
  {
    opcode: Opcode.ModeSense10,
    usage: '5a 08 ff ff 00 00 00 ff ff 00',
    ignoresAttention: true,
    handler: modeSense10,
  },
  {
    opcode: Opcode.MaintenanceIn,
    serviceAction: REPORT_SUPPORTED_OPERATION_CODES,
    usage: 'a3 1f 87 ff ff ff ff ff ff ff 00 00',
    handler: reportSupportedOpcodes,
  },
  { opcode: Opcode.Read12, usage: `a8 e1 ${'ff '.repeat(8)} 00 00`, needsMedium: true, handler: readBlocks },
  { opcode: Opcode.MechanismStatus, usage: 'bd 00 00 00 00 00 00 00 ff ff 00 00', handler: mechanismStatus },
];

export function cdCommands(cd: CdUnit): CommandTable {
  return new CommandTable(
    ROWS.map(({ handler, needsMedium, ...entry }) => ({
      ...entry,
      // Nobody can write, so nobody needs to reserve.
      access: 'free',
      run: (command) =>
        needsMedium === true && !cd.hasMedium ? command.fail(SENSE.MediumNotPresent) : handler(cd, command),
    })),
  );
}
