/**
 * Every command of a disk: opcode, which bits of its CDB are looked at, what it does to somebody's reservation, handler.
 *
 * A new command is a row here and a handler; every path of a handler must return an answer, or it does not compile.
 */
import { type CommandEntry, CommandTable } from '../command-table.ts';
import { inquiry } from '../inquiry.ts';
import { logSense } from '../log-sense.ts';
import { Opcode, REPORT_SUPPORTED_OPERATION_CODES, ServiceAction16 } from '../opcodes.ts';
import {
  PersistentReserveIn,
  PersistentReserveOut,
  persistentReserveOut,
  readKeys,
  readReservation,
  releaseUnit,
  reportCapabilities,
  reserveUnit,
} from '../persistent-reserve.ts';
import { requestSense } from '../request-sense.ts';
import { reportSupportedOpcodes } from '../supported-opcodes.ts';
import { flushCache, readBlocks, startStop, writeBlocks } from './disk-blocks.ts';
import { readCapacity10, readCapacity16 } from './disk-capacity.ts';
import { formatUnit, preventAllowRemoval, sendDiagnostic } from './disk-maintenance.ts';
import { modeSelect, modeSense6, modeSense10 } from './disk-mode.ts';
import { getLbaStatus, unmap, writeSame } from './disk-provisioning.ts';
import type { DiskUnit } from './disk-unit.ts';
import { compareAndWrite, verifyBlocks, writeAndVerify } from './disk-verify.ts';

type Handler = (disk: DiskUnit, command: Parameters<CommandEntry['run']>[0]) => ReturnType<CommandEntry['run']>;
type Row = Omit<CommandEntry, 'run'> & { readonly handler: Handler };

const BASE: readonly Row[] = [
  {
    opcode: Opcode.TestUnitReady,
    usage: '00 00 00 00 00 00',
    access: 'free',
    handler: (_disk, command) => command.good(0),
  },
  {
    opcode: Opcode.RequestSense,
    usage: '03 01 00 00 ff 00',
    access: 'free',
    ignoresAttention: true,
    handler: requestSense,
  },
  { opcode: Opcode.FormatUnit, usage: '04 ff 00 00 00 00', access: 'write', handler: formatUnit },
  { opcode: Opcode.Inquiry, usage: '12 03 ff ff ff 00', access: 'free', ignoresAttention: true, handler: inquiry },
  { opcode: Opcode.ModeSelect6, usage: '15 01 00 00 ff 00', access: 'write', handler: modeSelect },
  { opcode: Opcode.Reserve6, usage: '16 1f 00 00 00 00', access: 'reservation', handler: reserveUnit },
  { opcode: Opcode.Release6, usage: '17 1f 00 00 00 00', access: 'free', handler: releaseUnit },
  // Linux storvsc takes a failed MODE SENSE for a good one, so neither an attention nor a conflict may fail it.
  {
    opcode: Opcode.ModeSense6,
    usage: '1a 08 ff ff ff 00',
    access: 'free',
    ignoresAttention: true,
    handler: modeSense6,
  },
  { opcode: Opcode.StartStopUnit, usage: '1b 01 00 00 f3 00', access: 'write', handler: startStop },
  { opcode: Opcode.SendDiagnostic, usage: '1d fc 00 ff ff 00', access: 'write', handler: sendDiagnostic },
  { opcode: Opcode.PreventAllowRemoval, usage: '1e 00 00 00 03 00', access: 'write', handler: preventAllowRemoval },
  { opcode: Opcode.ReadCapacity10, usage: '25 00 ff ff ff ff 00 00 01 00', access: 'free', handler: readCapacity10 },
  { opcode: Opcode.LogSense, usage: '4d 03 ff ff 00 ff ff ff ff 00', access: 'free', handler: logSense },
  { opcode: Opcode.ModeSelect10, usage: '55 01 00 00 00 00 00 ff ff 00', access: 'write', handler: modeSelect },
  { opcode: Opcode.Reserve10, usage: '56 1f 00 00 00 00 00 00 00 00', access: 'reservation', handler: reserveUnit },
  { opcode: Opcode.Release10, usage: '57 1f 00 00 00 00 00 00 00 00', access: 'free', handler: releaseUnit },
  {
    opcode: Opcode.ModeSense10,
    usage: '5a 08 ff ff 00 00 00 ff ff 00',
    access: 'free',
    ignoresAttention: true,
    handler: modeSense10,
  },
  {
    opcode: Opcode.ServiceActionIn16,
    serviceAction: ServiceAction16.ReadCapacity16,
    usage: '9e 1f 00 00 00 00 00 00 00 00 ff ff ff ff 00 00',
    access: 'free',
    handler: readCapacity16,
  },
  {
    opcode: Opcode.ServiceActionIn16,
    serviceAction: ServiceAction16.GetLbaStatus,
    usage: '9e 1f ff ff ff ff ff ff ff ff ff ff ff ff 00 00',
    access: 'read',
    handler: getLbaStatus,
  },
  {
    opcode: Opcode.MaintenanceIn,
    serviceAction: REPORT_SUPPORTED_OPERATION_CODES,
    usage: 'a3 1f 87 ff ff ff ff ff ff ff 00 00',
    access: 'read',
    handler: reportSupportedOpcodes,
  },
];

const BLOCKS: readonly Row[] = [
  { opcode: Opcode.Read6, usage: '08 1f ff ff ff 00', access: 'read', handler: readBlocks },
  { opcode: Opcode.Write6, usage: '0a 1f ff ff ff 00', access: 'write', handler: writeBlocks },
  { opcode: Opcode.Read10, usage: '28 e1 ff ff ff ff 00 ff ff 00', access: 'read', handler: readBlocks },
  { opcode: Opcode.Write10, usage: '2a e9 ff ff ff ff 00 ff ff 00', access: 'write', handler: writeBlocks },
  { opcode: Opcode.WriteAndVerify10, usage: '2e e7 ff ff ff ff 00 ff ff 00', access: 'write', handler: writeAndVerify },
  { opcode: Opcode.Verify10, usage: '2f e7 ff ff ff ff 00 ff ff 00', access: 'read', handler: verifyBlocks },
  { opcode: Opcode.SynchronizeCache10, usage: '35 00 ff ff ff ff 00 ff ff 00', access: 'write', handler: flushCache },
  { opcode: Opcode.WriteSame10, usage: '41 ff ff ff ff ff 00 ff ff 00', access: 'write', handler: writeSame },
  { opcode: Opcode.Read16, usage: `88 e0 ${'ff '.repeat(12)} 00 00`, access: 'read', handler: readBlocks },
  {
    opcode: Opcode.CompareAndWrite,
    usage: `89 e8 ${'ff '.repeat(8)} 00 00 00 ff 00 00`,
    access: 'write',
    handler: compareAndWrite,
  },
  { opcode: Opcode.Write16, usage: `8a e8 ${'ff '.repeat(12)} 00 00`, access: 'write', handler: writeBlocks },
  {
    opcode: Opcode.WriteAndVerify16,
    usage: `8e e6 ${'ff '.repeat(12)} 00 00`,
    access: 'write',
    handler: writeAndVerify,
  },
  { opcode: Opcode.Verify16, usage: `8f e6 ${'ff '.repeat(12)} 00 00`, access: 'read', handler: verifyBlocks },
  { opcode: Opcode.SynchronizeCache16, usage: `91 00 ${'ff '.repeat(12)} 00 00`, access: 'write', handler: flushCache },
  { opcode: Opcode.WriteSame16, usage: `93 ff ${'ff '.repeat(12)} 00 00`, access: 'write', handler: writeSame },
  { opcode: Opcode.Read12, usage: `a8 e1 ${'ff '.repeat(8)} 00 00`, access: 'read', handler: readBlocks },
  { opcode: Opcode.Write12, usage: `aa e9 ${'ff '.repeat(8)} 00 00`, access: 'write', handler: writeBlocks },
  {
    opcode: Opcode.WriteAndVerify12,
    usage: `ae e7 ${'ff '.repeat(8)} 00 00`,
    access: 'write',
    handler: writeAndVerify,
  },
  { opcode: Opcode.Verify12, usage: `af e7 ${'ff '.repeat(8)} 00 00`, access: 'read', handler: verifyBlocks },
];

/** The bits of PERSISTENT RESERVE OUT's CDB that are looked at, whichever service action. */
const RESERVE_OUT_USAGE = '5f 1f ff 00 00 ff ff ff ff 00';
const RESERVE_IN_USAGE = '5e 1f 00 00 00 00 00 ff ff 00';

const RESERVE: readonly Row[] = [
  reserveIn(PersistentReserveIn.ReadKeys, readKeys),
  reserveIn(PersistentReserveIn.ReadReservation, readReservation),
  reserveIn(PersistentReserveIn.ReportCapabilities, reportCapabilities),
  ...Object.values(PersistentReserveOut).map(
    (serviceAction): Row => ({
      opcode: Opcode.PersistentReserveOut,
      serviceAction,
      usage: RESERVE_OUT_USAGE,
      access: 'reservation',
      handler: persistentReserveOut,
    }),
  ),
];

const THIN: readonly Row[] = [
  { opcode: Opcode.Unmap, usage: '42 01 00 00 00 00 00 ff ff 00', access: 'write', handler: unmap },
];

function reserveIn(serviceAction: number, handler: Handler): Row {
  return { opcode: Opcode.PersistentReserveIn, serviceAction, usage: RESERVE_IN_USAGE, access: 'reservation', handler };
}

/** What this disk can do: UNMAP only where the store can give space back. */
export function diskCommands(disk: DiskUnit): CommandTable {
  const rows = [...BASE, ...BLOCKS, ...RESERVE, ...(disk.isThin ? THIN : [])];
  return new CommandTable(
    rows.map(({ handler, ...entry }) => ({ ...entry, run: (command) => handler(disk, command) })),
  );
}
