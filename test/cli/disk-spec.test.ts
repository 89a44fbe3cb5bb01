import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatDiskSpec, parseDiskSpec, parsePlace, placeDisks } from '../../src/cli/disk-spec.ts';
import { CommandError } from '../../src/cli/exit.ts';

test.each([
  ['a.img', { path: 'a.img', readOnly: false }],
  ['a.img,ro', { path: 'a.img', readOnly: true }],
  ['a.iso,lun=1,cd', { path: 'a.iso', readOnly: true, isCd: true, lun: 1 }],
  [
    'b.img,lun=3,overlay=/x/d.ovl,format=raw',
    { path: 'b.img', readOnly: false, lun: 3, overlay: '/x/d.ovl', format: 'raw' },
  ],
  ['with,,comma.img,ro', { path: 'with,comma.img', readOnly: true }],
  [
    'a.img,ro,fault=error:on=read,every=3;delay:delayMs=5',
    {
      path: 'a.img',
      readOnly: true,
      faults: [
        { what: 'error', on: 'read', every: 3 },
        { what: 'delay', delayMs: 5 },
      ],
    },
  ],
])('%s is read as it is meant', (text, spec) => {
  expect(parseDiskSpec(text)).toEqual(spec);
});

test.each([
  ['', /it names no file/],
  [',ro', /it names no file/],
  ['a.img,rw', /"rw" is none of ro, cd, lun=N/],
  ['a.img,ro=yes', /"ro=yes" is none of/],
  ['a.img,ro,ro', /"ro" is said twice/],
  ['a.img,lun=64', /lun=64 is no LUN: say a number from 0 to 63/],
  ['a.img,lun', /lun= is no LUN/],
  ['a.img,lun=-1', /lun=-1 is no LUN/],
  ['a.iso,cd,overlay=x', /a CD has neither overlay nor format/],
  ['a.img,overlay=', /overlay= names no file/],
  ['a.img,format=qcow2', /format=qcow2 is none of raw, vhd, vhdx/],
  ['a.img,fault=explode', /it begins with none of error, torn, delay/],
  ['a.img,fault=error:on=read,ro', /ro is no part of a rule/],
])('%j is refused with one line that says which word is wrong', (text, message) => {
  let error: unknown;
  try {
    parseDiskSpec(text);
  } catch (caught) {
    error = caught;
  }

  expect(error).toBeInstanceOf(CommandError);
  expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) });
  expect((error as Error).message).not.toContain('\n');
});

test('what is written as text is read back the same, whatever the names hold', () => {
  const name = fc.string({ minLength: 1 }).filter((text) => !text.includes(',fault='));
  const spec = fc.record(
    {
      path: name,
      readOnly: fc.boolean(),
      lun: fc.integer({ min: 0, max: 63 }),
      overlay: name,
      format: fc.constantFrom('raw' as const, 'vhd' as const, 'vhdx' as const),
    },
    { requiredKeys: ['path', 'readOnly'] },
  );

  fc.assert(
    fc.property(spec, (one) => {
      expect(parseDiskSpec(formatDiskSpec(one))).toEqual(one);
    }),
  );
});

test('every disk has a controller of its own, unless it names a LUN of the one before it', () => {
  const specs = ['a', 'b', 'c,lun=1', 'd,lun=7', 'e', 'f,lun=2'].map(parseDiskSpec);

  const places = placeDisks(specs).map(({ controller, lun }) => `${controller}:${lun}`);

  expect(places).toEqual(['0:0', '1:0', '1:1', '1:7', '2:0', '2:2']);
});

test('a first disk may name its LUN, and a second one join it below', () => {
  const places = placeDisks(['a,lun=5', 'b,lun=0'].map(parseDiskSpec));

  expect(places).toEqual([
    { controller: 0, lun: 5 },
    { controller: 0, lun: 0 },
  ]);
});

test('two disks in one place are refused by name', () => {
  expect(() => placeDisks(['a', 'b,lun=0'].map(parseDiskSpec))).toThrow('a and b are both LUN 0 of controller 0');
});

test('more controllers than a host has are refused', () => {
  const specs = Array.from({ length: 65 }, (_, index) => parseDiskSpec(`${index}.img`));

  expect(() => placeDisks(specs)).toThrow(/more than 64 controllers/);
});

test.each([
  ['0', { controller: 0, lun: 0 }],
  ['2', { controller: 2, lun: 0 }],
  ['1:63', { controller: 1, lun: 63 }],
])('--disk %s is a place', (text, place) => {
  expect(parsePlace(text)).toEqual(place);
});

test.each(['', 'x', '64', '0:64', '0:', '-1', '1:2:3'])('--disk %j is refused', (text) => {
  expect(() => parsePlace(text)).toThrow(/is no disk: say CONTROLLER or CONTROLLER:LUN/);
});
