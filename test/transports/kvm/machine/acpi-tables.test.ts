import { expect, test } from 'vitest';
import { acpiTables } from '../../../../src/transports/kvm/machine/acpi-tables.ts';

const ADDRESS = 0xe0000;

/** Follows the pointers as a guest does. */
function readTables(vpCount: number) {
  const bytes = acpiTables(ADDRESS, vpCount);
  const view = new DataView(bytes.buffer);
  const pointer = (at: number) => Number(view.getBigUint64(at, true)) - ADDRESS;
  const table = (at: number) => bytes.subarray(at, at + view.getUint32(at + 4, true));
  const xsdt = table(pointer(24));
  const entries = [...Array((xsdt.length - 36) / 8).keys()].map((index) =>
    table(pointer(xsdt.byteOffset + 36 + 8 * index)),
  );
  const [fadt = new Uint8Array(), madt = new Uint8Array()] = entries;
  const dsdt = table(pointer(fadt.byteOffset + 140));
  return { rsdp: bytes.subarray(0, 36), xsdt, fadt, madt, dsdt, view };
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
const signature = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(0, 4));

test.each([1, 4])('with %i processors every table is found from the root pointer and adds up to zero', (vpCount) => {
  const { rsdp, xsdt, fadt, madt, dsdt } = readTables(vpCount);

  expect(new TextDecoder().decode(rsdp.subarray(0, 8))).toBe('RSD PTR ');
  expect([xsdt, fadt, madt, dsdt].map(signature)).toEqual(['XSDT', 'FACP', 'APIC', 'DSDT']);
  expect([rsdp.subarray(0, 20), rsdp, xsdt, fadt, madt, dsdt].map(sum)).toEqual([0, 0, 0, 0, 0, 0]);
});

test('the tables fit between their place and the reset vector, whatever the number of processors', () => {
  expect(acpiTables(ADDRESS, 4).length).toBeLessThan(0xffff0 - ADDRESS);
});

test('the power table is hardware-reduced and names the sleep and reset ports', () => {
  const { fadt, view } = readTables(1);
  const at = fadt.byteOffset;

  expect(view.getUint32(at + 112, true) & (1 << 20)).not.toBe(0);
  expect(view.getUint32(at + 112, true) & (1 << 10)).not.toBe(0);
  expect([116, 244, 256].map((offset) => view.getBigUint64(at + offset + 4, true))).toEqual([0x602n, 0x600n, 0x601n]);
  expect(fadt[128]).toBe(1);
});

test('each processor has a local APIC of its own number, and one I/O APIC follows', () => {
  const { madt, view } = readTables(3);

  const entries = [...madt.subarray(44)];
  expect(view.getUint32(madt.byteOffset + 36, true)).toBe(0xfee00000);
  expect(entries.slice(0, 24)).toEqual([0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 1, 1, 0, 0, 0, 0, 8, 2, 2, 1, 0, 0, 0]);
  expect(entries.slice(24)).toEqual([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
});
