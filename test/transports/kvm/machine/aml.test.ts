import { describe, expect, test } from 'vitest';
import { device, eisaId, integer, name, scope, string } from '../../../../src/transports/kvm/machine/aml.ts';
import { dsdtBody } from '../../../../src/transports/kvm/machine/dsdt.ts';
import { hex } from '../../../vectors/hex.ts';

/**
 * What Intel's ASL compiler 20200925 (`iasl -f`, Debian acpica-tools) makes of this source, without the table header:
 *
 *     Name (\_S5, Package () { 5, 0, 0, 0 })
 *     Scope (\_SB) {
 *       Device (VMOD) {
 *         Name (_HID, "ACPI0004")
 *         Name (_UID, 0)
 *         Name (_CRS, ResourceTemplate () { QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
 *           NonCacheable, ReadWrite, 0, 0xF8000000, 0xFEBFFFFF, 0, 0x06C00000) })
 *         Device (VMBS) { Name (_HID, "VMBus") Name (_UID, 0) Method (_STA) { Return (0x0F) } }
 *       }
 *       Device (COM1) {
 *         Name (_HID, EisaId ("PNP0501"))
 *         Name (_UID, 1)
 *         Name (_CRS, ResourceTemplate () {
 *           IO (Decode16, 0x3F8, 0x3F8, 0, 8)
 *           Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 } })
 *       }
 *     }
 */
const COMPILED_DSDT = hex(`
  08 5f 53 35 5f 12 07 04 0a 05 00 00 00 10 42 0b 5f 53 42 5f 5b 82 47 07 56 4d 4f 44 08 5f 48 49
  44 0d 41 43 50 49 30 30 30 34 00 08 5f 55 49 44 00 08 5f 43 52 53 11 33 0a 30 8a 2b 00 00 0c 01
  00 00 00 00 00 00 00 00 00 00 00 f8 00 00 00 00 ff ff bf fe 00 00 00 00 00 00 00 00 00 00 00 00
  00 00 c0 06 00 00 00 00 79 00 5b 82 21 56 4d 42 53 08 5f 48 49 44 0d 56 4d 42 75 73 00 08 5f 55
  49 44 00 14 09 5f 53 54 41 00 a4 0a 0f 5b 82 31 43 4f 4d 31 08 5f 48 49 44 0c 41 d0 05 01 08 5f
  55 49 44 01 08 5f 43 52 53 11 16 0a 13 47 01 f8 03 f8 03 00 08 89 06 00 03 01 04 00 00 00 79 00
`);

test('the device description is byte for byte what the ASL compiler makes of its source', () => {
  expect(Uint8Array.from(dsdtBody())).toEqual(COMPILED_DSDT);
});

describe('the AML encoder', () => {
  test.each([
    [0, '00'],
    [1, '01'],
    [2, '0a 02'],
    [0xff, '0a ff'],
    [0x100, '0b 00 01'],
    [0x10000, '0c 00 00 01 00'],
    [0x1_0000_0000, '0e 00 00 00 00 01 00 00 00'],
  ])('encodes the integer %i in its shortest form', (value, expected) => {
    expect(Uint8Array.from(integer(value))).toEqual(hex(expected));
  });

  // The name takes 4 bytes, the string its prefix and terminator: a body of 6 bytes and the text.
  test.each([
    [56, '3f'], // 62 and itself: the last that fits one byte
    [57, '41 04'], // 63 and two: 0x41
    [4087, '4f ff'], // 4093 and two: the last that fits two
    [4088, '81 00 01'], // 4094 and three: 0x1001
  ])('counts a package around %i characters, its own length included', (characters, expected) => {
    const encoded = Uint8Array.from(scope('ABCD', string('x'.repeat(characters))));

    const length = hex(expected);
    expect(encoded.subarray(1, 1 + length.length)).toEqual(length);
    expect(encoded.length).toBe(1 + length.length + 6 + characters);
  });

  test('puts a root prefix, two-part and longer names as the grammar says', () => {
    expect(Uint8Array.from(name('\\_SB', integer(0)))).toEqual(hex('08 5c 5f 53 42 5f 00'));
    expect(Uint8Array.from(name('_SB.VMBS', integer(0)))).toEqual(hex('08 2e 5f 53 42 5f 56 4d 42 53 00'));
    expect(Uint8Array.from(name('A.B.C', integer(0)))).toEqual(hex('08 2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f 00'));
  });

  test.each(['', 'toolow', 'ABCDE', '1ABC', 'AB-C'])('refuses "%s" as a name', (text) => {
    expect(() => device(text)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });

  test.each(['pnp0501', 'PNP501', 'PNP0501X'])('refuses "%s" as an EISA id', (text) => {
    expect(() => eisaId(text)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});
