import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printPacket } from '../../src/wire/print-packet.ts';

/** Bytes from hex text with any white space. */
const bytes = (text: string) => Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (byte) => Number.parseInt(byte, 16));

test('a GPA-direct packet shows its descriptor, its range, its page frame numbers and its payload', () => {
  const packet = bytes(`
    09 00 07 00 09 00 01 00  02 00 00 00 00 00 00 00
    00 00 00 00 01 00 00 00  00 21 00 00 00 02 00 00
    b0 a2 01 00 00 00 00 00  b1 a2 01 00 00 00 00 00  d5 c4 03 00 00 00 00 00
    a0 a1 a2 a3 a4 a5 a6 a7  a8 a9 aa ab ac ad ae af
  `);

  const text = printPacket(packet);

  expect(text).toContain('GpaDirect');
  expect(text).toContain('8448 bytes from offset 512, 3 pages');
  expect(text).toContain('PFNs 0x1a2b0 0x1a2b1 0x3c4d5');
  expect(text).toContain('payload (16 bytes)\n  a0 a1 a2');
});

test('a long page list is shown at both ends and counted in the middle', () => {
  const packet = new Uint8Array(32 + 8 * 16);
  new DataView(packet.buffer).setUint32(0, 9 | (20 << 16), true);
  packet[4] = 20;
  packet[20] = 1;
  new DataView(packet.buffer).setUint32(24, 16 * 4096, true);
  for (let index = 0; index < 16; index++) packet[32 + 8 * index] = index;

  expect(printPacket(packet, { maxPfns: 4 })).toContain('PFNs 0x0 0x1 … 12 more … 0xe 0xf');
});

test('the payload printer gets exactly what follows the ranges', () => {
  const packet = bytes('0b 00 02 00 03 00 00 00  02 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00');

  const text = printPacket(packet, { payload: (payload) => `status ${payload[0]} of ${payload.length} bytes` });

  expect(text.split('\n').at(-1)).toBe('status 1 of 8 bytes');
});

test('malformed ranges are named, and any bytes at all have a text', () => {
  expect(
    printPacket(
      bytes('09 00 04 00 04 00 01 00  01 00 00 00 00 00 00 00  00 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00'),
    ),
  ).toContain('ranges are malformed');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 128 }), (packet) => {
      expect(printPacket(packet).startsWith('PacketDescriptor')).toBe(true);
    }),
  );
});
