import { describe, expect, test } from 'vitest';
import { SENSE } from '../../../../src/devices/scsi/target/sense.ts';
import { StorRequest } from '../../../../src/devices/scsi/vsp/stor-request.ts';
import type { VmbPacketCompletion } from '../../../../src/kmcl/index.ts';
import { STATUS_REVISION_MISMATCH } from '../../../../src/wire/ntstatus.ts';
import { hex } from '../target/some-disk.ts';

/** READ(10) of block 5, 8 blocks, as Linux sends it: 64 bytes. */
const READ = hex(`
  03 00 00 00  01 00 00 00  00 00 00 00
  34 00  00 00  02 01 00 07  0a 14 01 00  00 10 00 00
  28 00 00 00 00 05 00 00 08 00 00 00 00 00 00 00  00 00 00 00
  00 00 ff 20  4a 01 00 00  3c 00 00 00  00 00 00 00`);

function loaded(packet: Uint8Array): StorRequest {
  const request = new StorRequest();
  // KMCL's scratch buffer may hold more than the payload, left over from an earlier packet.
  const scratch = new Uint8Array(256).fill(0xa5);
  scratch.set(packet);
  request.load({} as VmbPacketCompletion, scratch, packet.length);
  return request;
}

/** Answers as a unit would. */
function answered(request: StorRequest, answer: (command: StorRequest['command']) => void): Uint8Array {
  request.command.begin();
  answer(request.command);
  return request.bytes.slice(0, request.encodeResult());
}

describe('a request', () => {
  test('is read field by field', () => {
    const request = loaded(READ);

    expect(request.decodeCommand()).toBe(true);
    expect(request.offeredBytes).toBe(4096);
    expect(request.isWriteToDevice).toBe(false);
    expect(request.command).toMatchObject({ path: 1, target: 0, lun: 7, direction: 1 });
    expect(request.command.cdb).toEqual(hex('28 00 00 00 00 05 00 00 08 00 00 00 00 00 00 00'));
  });

  test('of an older guest has 48 bytes', () => {
    const request = loaded(READ.subarray(0, 48));

    expect(request.decodeCommand()).toBe(true);
    expect(request.command.cdb[8]).toBe(8);
  });

  test('cut behind its CDB is whole, and what is missing counts as zero', () => {
    const request = loaded(READ.subarray(0, 40));

    expect(request.decodeCommand()).toBe(true);
    expect(request.command.cdb).toEqual(hex('28 00 00 00 00 05 00 00 08 00 00 00 00 00 00 00'));
  });

  test('does not see what the buffer holds behind its own bytes', () => {
    const request = loaded(READ.subarray(0, 16));

    expect(request.decodeCommand()).toBe(false);
    expect(request.offeredBytes).toBe(0);
    expect(request.bytes.subarray(16)).toEqual(new Uint8Array(48));
  });

  test('sees nothing of the packet that used the object before', () => {
    const request = loaded(READ);

    request.load({} as VmbPacketCompletion, READ.slice(0, 16), 16);

    expect(request.bytes).toEqual(Uint8Array.from([...READ.subarray(0, 16), ...new Uint8Array(48)]));
  });

  test.each([
    ['cut inside its CDB', READ.subarray(0, 32)],
    ['with a CDB of no bytes', withByte(READ, 20, 0)],
    ['with a CDB of 17 bytes', withByte(READ, 20, 17)],
    ['with fewer CDB bytes than its opcode has', withByte(READ, 20, 6)],
  ])('%s is not whole', (_what, packet) => {
    expect(loaded(packet).decodeCommand()).toBe(false);
  });

  test('of 8 bytes has no header', () => {
    expect(loaded(READ.subarray(0, 8)).hasHeader).toBe(false);
    expect(loaded(READ.subarray(0, 16)).hasHeader).toBe(true);
  });
});

describe('the completion', () => {
  test('of a good read tells the bytes moved, every other byte set', () => {
    const request = loaded(READ);
    request.decodeCommand();

    const completion = answered(request, (command) => command.good(4096));

    expect(completion).toEqual(
      hex(`01 00 00 00  00 00 00 00  00 00 00 00
           34 00  01 00  00 00 00 00  10 14 00 00  00 10 00 00
           00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  00 00 00 00
           00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
    );
  });

  test('of a refused read carries autosense and the status of its srb', () => {
    const request = loaded(READ);
    request.decodeCommand();

    const completion = answered(request, (command) => command.refuse(SENSE.InvalidFieldInCdb));

    expect(completion).toEqual(
      hex(`01 00 00 00  00 00 00 00  85 01 00 c0
           34 00  86 02  00 00 00 00  10 14 00 00  00 00 00 00
           70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 00  00 00 00 00
           00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00`),
    );
  });

  test.each([
    [16, 16],
    [48, 48],
    [56, 56],
    [64, 64],
    [72, 64],
    [8, 16],
  ])('of a packet of %i bytes has %i', (packetBytes, completionBytes) => {
    const packet = new Uint8Array(packetBytes);
    packet.set(READ.subarray(0, packetBytes));

    expect(loaded(packet).encodeStatus(STATUS_REVISION_MISMATCH)).toBe(completionBytes);
  });

  test('without payload is a header and zeros', () => {
    const request = loaded(READ);

    const bytes = request.encodeStatus(STATUS_REVISION_MISMATCH);

    expect(request.bytes.subarray(0, bytes)).toEqual(
      Uint8Array.from([...hex('01 00 00 00  00 00 00 00  59 00 00 c0'), ...new Uint8Array(52)]),
    );
  });

  test('of QUERY_PROPERTIES has the properties behind its header', () => {
    const request = loaded(new Uint8Array(64));

    request.encodeProperties({ maxSubChannelCount: 3, flags: 1, maxTransferBytes: 0x100000 });

    expect(request.bytes.subarray(0, 40)).toEqual(
      hex(`01 00 00 00  00 00 00 00  00 00 00 00
           00 00 00 00  03 00  00 00  01 00 00 00  00 00 10 00  00 00 00 00 00 00 00 00  00 00 00 00`),
    );
  });

  test('carries no sense for a guest that turned autosense off, and says that it kept it', () => {
    const request = loaded(withByte(READ, 52, 0x20));
    request.decodeCommand();

    const completion = answered(request, (command) => command.fail(SENSE.LbaOutOfRange));

    expect(request.keepsSense).toBe(true);
    expect(completion.subarray(14, 16)).toEqual(hex('04 02'));
    expect(completion.subarray(28, 48)).toEqual(new Uint8Array(20));
  });

  test('carries as much sense as the guest has room for', () => {
    const request = loaded(withByte(READ, 21, 8));
    request.decodeCommand();

    const completion = answered(request, (command) => command.fail(SENSE.LbaOutOfRange));

    expect(completion[14]).toBe(0x84);
    expect(completion[21]).toBe(8);
    expect(completion.subarray(28, 48)).toEqual(
      Uint8Array.from([...hex('70 00 05 00 00 00 00 0a'), ...new Uint8Array(12)]),
    );
  });

  test.each([
    ['absent', 0x20, 0xc00000c0],
    ['overrun', 0x12, 0x80000005],
  ] as const)('of a command that ends as %s has srb status %i', (end, srbStatus, ntStatus) => {
    const request = loaded(READ);
    request.decodeCommand();

    const completion = answered(request, (command) => command[end]());

    expect(completion[14]).toBe(end === 'absent' ? srbStatus : srbStatus | 0x80);
    expect(new DataView(completion.buffer).getUint32(8, true)).toBe(ntStatus);
  });
});

function withByte(packet: Uint8Array, at: number, value: number): Uint8Array {
  const changed = packet.slice();
  changed[at] = value;
  return changed;
}
