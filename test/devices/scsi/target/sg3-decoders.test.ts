/** What the decoders of sg3-utils make of our bytes, where they read them from a file: a second opinion on the layouts. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { CdUnit } from '../../../../src/devices/scsi/target/cd/cd-unit.ts';
import { encodeFixedSense, SENSE, type Sense } from '../../../../src/devices/scsi/target/sense.ts';
import { requireTool } from '../../../images/require-tool.ts';
import { ask, hex, someDisk } from './some-disk.ts';

const folder = mkdtempSync(join(tmpdir(), 'vmbus-sg3-'));
afterAll(() => rmSync(folder, { recursive: true }));

beforeEach((context) => requireTool(context, 'sg_inq', 'sg_vpd', 'sg_logs', 'sg_decode_sense', 'sg_get_lba_status'));

let files = 0;

/** What a tool says of an answer, with spaces joined. @param options before the file's name */
function decode(tool: string, options: string[], bytes: Uint8Array, fileOption = '--inhex='): string {
  const path = join(folder, `answer-${files++}`);
  writeFileSync(path, bytes);
  return execFileSync(tool, [...options, `${fileOption}${path}`], { encoding: 'utf8' }).replace(/[ \t]+/g, ' ');
}

type Unit = Parameters<typeof ask>[0];

async function answerOf(unit: Unit, cdb: string): Promise<Uint8Array> {
  const { data, transferredBytes } = await ask(unit, cdb, { data: 4096 });
  return data.subarray(0, transferredBytes);
}

function vitalPage(unit: Unit, page: number): Promise<Uint8Array> {
  return answerOf(unit, `12 01 ${page.toString(16).padStart(2, '0')} 0f ff 00`);
}

const thinDisk = () => someDisk({ isThin: true, blocks: 64 }).unit;
const someCd = () => new CdUnit(new MemoryBackend(new Uint8Array(4096), { blockBytes: 2048, readOnly: true }));

test('standard INQUIRY data of a disk and of a CD', async () => {
  const disk = decode('sg_inq', ['--raw'], await answerOf(thinDisk(), '12 00 00 00 68 00'));
  const cd = decode('sg_inq', ['--raw'], await answerOf(someCd(), '12 00 00 00 68 00'));

  expect(disk).toMatch(/PQual=0 (PDT|Device_type)=0 RMB=0/);
  for (const text of ['version=0x05', 'CmdQue=1', 'length=104']) expect(disk).toContain(text);
  for (const text of ['Vendor identification: Msft', 'Product identification: Virtual Disk'])
    expect(disk).toContain(text);
  expect(cd).toMatch(/(PDT|Device_type)=5 RMB=1/);
  expect(cd).toContain('Product identification: Virtual CD/ROM');
});

test('page 00 lists the pages by name', async () => {
  const said = decode('sg_vpd', ['--raw'], await vitalPage(thinDisk(), 0x00));

  for (const text of ['Unit serial number', 'Device identification', 'Block limits', 'Block device characteristics']) {
    expect(said).toContain(text);
  }
  expect(said).toContain('Logical block provisioning');
});

test('page 83 holds a T10 designator and an NAA 6 designator', async () => {
  const unit = thinDisk();
  const digits = Buffer.from(unit.identity).toString('hex');

  const said = decode('sg_vpd', ['--raw'], await vitalPage(unit, 0x83));

  expect(said).toContain('designator type: T10 vendor identification, code set: Binary');
  expect(said).toContain('vendor id: Msft');
  expect(said).toContain('designator type: NAA, code set: Binary');
  expect(said).toContain(`0x60022480${digits.slice(0, 24)}`);
});

test('page B0 names the limits', async () => {
  const said = decode('sg_vpd', ['--raw'], await vitalPage(thinDisk(), 0xb0));

  for (const text of [
    'Write same non-zero (WSNZ): 1',
    'Maximum compare and write length: 255 blocks',
    'Maximum transfer length: 2048 blocks',
    'Maximum unmap LBA count: -1 [unbounded]',
    'Maximum unmap block descriptor count: 4096',
    'Optimal unmap granularity: 1 blocks',
    'Unmap granularity alignment valid: true',
    'Maximum write same length: 0x20000',
  ]) {
    expect(said).toContain(text);
  }
});

test('page B1 says that it does not rotate', async () => {
  expect(decode('sg_vpd', ['--raw'], await vitalPage(thinDisk(), 0xb1))).toContain('Non-rotating medium');
});

test('page B2 says thin, UNMAP, WRITE SAME, zeros', async () => {
  const said = decode('sg_vpd', ['--raw'], await vitalPage(thinDisk(), 0xb2));

  for (const text of [
    'Unmap command supported (LBPU): 1',
    'Write same (16) with unmap bit supported (LBPWS): 1',
    'Write same (10) with unmap bit supported (LBPWS10): 1',
    'Logical block provisioning read zeros (LBPRZ): 1',
    'Provisioning type: 2 (thin provisioned)',
  ]) {
    expect(said).toContain(text);
  }
});

test('GET LBA STATUS after an UNMAP', async () => {
  const unit = thinDisk();
  const list = hex('00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 03  00 00 00 04  00 00 00 00');
  await ask(unit, '42 00 00 00 00 00 00 00 18 00', { data: list });

  const answer = await answerOf(unit, '9e 12 00 00 00 00 00 00 00 00 00 00 04 00 00 00');
  const said = decode('sg_get_lba_status', ['--raw', '--maxlen=1024'], answer);

  expect(said).toMatch(/LBA: 0x0+ blocks: 3 mapped/);
  expect(said).toMatch(/LBA: 0x0+3 blocks: 4 (unmapped|deallocated)/);
  expect(said).toMatch(/LBA: 0x0+7 blocks: 57 mapped/);
});

test.each([
  ['supported pages', '4d 00 40 00 00 00 00 0f ff 00', ['Supported log pages', 'Write error', 'Read error']],
  ['write errors', '4d 00 42 00 00 00 00 0f ff 00', ['Write error counter page', 'Total bytes processed = 1024']],
  ['read errors', '4d 00 43 00 00 00 00 0f ff 00', ['Read error counter page', 'Total uncorrected errors = 0']],
])('LOG SENSE, %s', async (_name, cdb, expected) => {
  const unit = thinDisk();
  await ask(unit, '2a 00 00 00 00 00 00 00 02 00', { data: new Uint8Array(1024) });

  const said = decode('sg_logs', ['--raw', '--pdt=0'], await answerOf(unit, cdb), '--in=');

  for (const text of expected) expect(said).toContain(text);
});

/** How sg3-utils spells what we refuse and report. */
const SPELLED: Record<Exclude<keyof typeof SENSE, 'None' | 'IoError'>, [string, string]> = {
  MediumNotPresent: ['Not Ready', 'Medium not present'],
  WriteFault: ['Medium Error', 'Peripheral device write fault'],
  UnrecoveredRead: ['Medium Error', 'Unrecovered read error'],
  ParameterListLength: ['Illegal Request', 'Parameter list length error'],
  InvalidOpcode: ['Illegal Request', 'Invalid command operation code'],
  LbaOutOfRange: ['Illegal Request', 'Logical block address out of range'],
  InvalidFieldInCdb: ['Illegal Request', 'Invalid field in cdb'],
  InvalidFieldInParameterList: ['Illegal Request', 'Invalid field in parameter list'],
  InvalidRelease: ['Illegal Request', 'Invalid release of persistent reservation'],
  SavingNotSupported: ['Illegal Request', 'Saving parameters not supported'],
  RemovalPrevented: ['Illegal Request', 'Medium removal prevented'],
  MediumMayHaveChanged: ['Unit Attention', 'Not ready to ready change, medium may have changed'],
  PowerOnOrReset: ['Unit Attention', 'Power on, reset, or bus device reset occurred'],
  ReservationsPreempted: ['Unit Attention', 'Reservations preempted'],
  ReservationsReleased: ['Unit Attention', 'Reservations released'],
  RegistrationsPreempted: ['Unit Attention', 'Registrations preempted'],
  CapacityChanged: ['Unit Attention', 'Capacity data has changed'],
  LunsChanged: ['Unit Attention', 'Reported luns data has changed'],
  WriteProtected: ['Data Protect', 'Write protected'],
  SpaceAllocationFailed: ['Data Protect', 'Space allocation failed write protect'],
  Miscompare: ['Miscompare', 'Miscompare during verify operation'],
};

test.each(Object.entries(SPELLED))('sense %s', (name, [key, words]) => {
  const bytes = new Uint8Array(18);
  encodeFixedSense(bytes, 0, SENSE[name as keyof typeof SENSE]);

  const said = decode('sg_decode_sense', [], bytes, '--binary=');

  expect(said).toContain('Fixed format, current');
  expect(said).toContain(`Sense key: ${key}`);
  expect(said).toContain(words);
});

test('where a comparison failed', () => {
  const bytes = new Uint8Array(18);
  const sense: Sense = { ...SENSE.Miscompare, information: 0x1234 };
  encodeFixedSense(bytes, 0, sense);

  expect(decode('sg_decode_sense', [], bytes, '--binary=')).toMatch(/Info fld=0x1234/);
});
