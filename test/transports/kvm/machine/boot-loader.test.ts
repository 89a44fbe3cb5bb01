import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadKernel } from '../../../../src/transports/kvm/machine/boot-loader.ts';
import { parseBzImage } from '../../../../src/transports/kvm/machine/bzimage.ts';
import { GuestRam } from '../../../../src/transports/kvm/machine/guest-ram.ts';
import { hex } from '../../../vectors/hex.ts';
import { type KernelFields, someKernel } from './some-kernel.ts';

const MIB = 2 ** 20;
const refused = expect.objectContaining({ code: 'ERR_ARGUMENT' });

describe('a kernel image', () => {
  test('is its header and the code behind the setup sectors', () => {
    const image = parseBzImage(someKernel({ setupSectors: 3, codeBytes: 4096 }));

    expect(image.code.length).toBe(4096);
    expect(image.code.every((byte) => byte === 0x90)).toBe(true);
    expect(image.setupHeader.length).toBe(0x202 + 0x6a - 0x1f1);
    expect(image.unpackedEnd).toBe(0x1010000);
  });

  test('with no setup sectors has four', () => {
    expect(parseBzImage(someKernel({ setupSectors: 0 })).code.length).toBe(4096);
  });

  test.each<[string, KernelFields]>([
    ['without the boot flag', { bootFlag: 0 }],
    ['without the magic number', { magic: 0 }],
    ['of an old boot protocol', { protocol: 0x0209 }],
    ['that must lie low', { loadFlags: 0 }],
    ['whose code is cut off', { paragraphs: 0xffff }],
    ['whose code has no plausible length', { paragraphs: 0xffffffff }],
    ['whose setup goes beyond the file', { setupSectors: 0, codeBytes: 0, paragraphs: 1 }],
    ['whose header ends before its fields', { jump: 0x10 }],
  ])('%s is refused', (_, fields) => {
    const image = someKernel(fields);

    expect(() => parseBzImage(image)).toThrow(refused);
  });

  test('cut off anywhere is refused', () => {
    const image = someKernel();

    for (let length = 0; length < image.length; length += 7) {
      expect(() => parseBzImage(image.subarray(0, length))).toThrow(refused);
    }
  });

  test('of random bytes never gives anything but an image or a refusal', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 4096 }), fc.boolean(), (bytes, hasMagic) => {
        const image = someKernel({ codeBytes: 1024 });
        image.set(bytes.subarray(0, image.length - 0x1f1), 0x1f1);
        if (hasMagic) image.set(someKernel().subarray(0x1fe, 0x208), 0x1fe);
        try {
          expect(parseBzImage(image).code.length).toBeLessThanOrEqual(image.length);
        } catch (error) {
          expect(error).toEqual(refused);
        }
      }),
    );
  });
});

describe('the loader', () => {
  const someRam = () => new GuestRam(new ArrayBuffer(64 * MIB));

  test('puts code, boot parameters, command line, RAM disk and tables where the boot protocol has them', () => {
    const ram = someRam();
    const initrd = Uint8Array.from({ length: 5000 }, (_, index) => index % 251);

    loadKernel(ram, { kernel: someKernel(), initrd, commandLine: 'console=ttyS0' }, 2);

    const parameters = ram.view;
    const at = 0x7000;
    expect(ram.bytes[0x100000]).toBe(0x90);
    expect(parameters.getUint32(at + 0x202, true)).toBe(0x53726448);
    expect(parameters.getUint8(at + 0x210)).toBe(0xff);
    const text = ram.slice(parameters.getUint32(at + 0x228, true), 14);
    expect(new TextDecoder().decode(text)).toBe('console=ttyS0\0');
    const initrdAt = parameters.getUint32(at + 0x218, true);
    expect(initrdAt % 4096).toBe(0);
    expect(parameters.getUint32(at + 0x21c, true)).toBe(5000);
    expect(ram.slice(initrdAt, 5000)).toEqual(initrd);
    expect(new TextDecoder().decode(ram.slice(Number(parameters.getBigUint64(at + 0x70, true)), 8))).toBe('RSD PTR ');
  });

  test('puts code that resets the machine where a PC has its first instruction', () => {
    const ram = someRam();

    loadKernel(ram, { kernel: someKernel(), commandLine: '' }, 1);

    expect(ram.slice(0xffff0, 16)).toEqual(hex('ba 02 06 b0 01 ee f4 eb fd | 7 x 00'));
  });

  test('tells the kernel of the RAM below and above the hole', () => {
    const ram = someRam();

    loadKernel(ram, { kernel: someKernel(), commandLine: '' }, 1);

    const entries = [0, 1, 2].map((index) => {
      const at = 0x7000 + 0x2d0 + 20 * index;
      return [
        Number(ram.view.getBigUint64(at, true)),
        Number(ram.view.getBigUint64(at + 8, true)),
        ram.view.getUint32(at + 16, true),
      ];
    });
    expect(ram.view.getUint8(0x7000 + 0x1e8)).toBe(3);
    expect(entries).toEqual([
      [0, 0x9fc00, 1],
      [0xe0000, 0x20000, 2],
      [0x100000, 63 * MIB, 1],
    ]);
  });

  test('keeps the RAM disk below the highest address that the kernel allows', () => {
    const ram = someRam();

    loadKernel(
      ram,
      { kernel: someKernel({ maxInitrdAddress: 0x1ffffff }), initrd: new Uint8Array(100), commandLine: '' },
      1,
    );

    expect(ram.view.getUint32(0x7000 + 0x218, true)).toBe(0x1fff000);
  });

  test.each<[string, KernelFields, number, string]>([
    ['a command line longer than the kernel takes', { maxCommandLineBytes: 10 }, 0, 'x'.repeat(11)],
    ['a command line longer than its place', { maxCommandLineBytes: 0xffffffff }, 0, 'x'.repeat(65536)],
    ['a RAM disk that does not fit above the kernel', {}, 48 * MIB, ''],
    ['a RAM disk larger than all memory', {}, 65 * MIB, ''],
    ['a kernel that unpacks beyond memory', { initBytes: 64 * MIB }, 0, ''],
    ['a kernel that wants to lie beyond memory', { preferredAddress: 0xf0000000 }, 0, ''],
  ])('refuses %s', (_, fields, initrdBytes, commandLine) => {
    const image = { kernel: someKernel(fields), initrd: new Uint8Array(initrdBytes), commandLine };

    expect(() => loadKernel(someRam(), image, 1)).toThrow(refused);
  });
});
