import { describe, expect, test } from 'vitest';
import { Board } from '../../../../src/transports/kvm/machine/board.ts';
import { ExitMailbox } from '../../../../src/transports/kvm/machine/exit-mailbox.ts';
import { Hypercalls } from '../../../../src/transports/kvm/machine/hypercalls.ts';
import { KVM_RUN_BYTES, KvmExit } from '../../../../src/transports/kvm/machine/kvm-abi.ts';
import { KvmRun } from '../../../../src/transports/kvm/machine/kvm-run.ts';
import { Uart } from '../../../../src/transports/kvm/machine/uart.ts';
import { VcpuExits } from '../../../../src/transports/kvm/machine/vcpu-exits.ts';
import { someMachine } from './some-machine.ts';

const AREA_BYTES = 12288;
const DATA_AT = 4096;
const NOW = new Date(Date.UTC(2031, 11, 24, 18, 5, 59));

/** A run area that a test fills as the kernel does. */
function someVcpu() {
  const machine = someMachine();
  const area = new Uint8Array(AREA_BYTES);
  const view = new DataView(area.buffer);
  const uart = new Uart(Uart.allocate(), { interrupt() {}, outputReady() {}, isStopped: () => true });
  const mailbox = new ExitMailbox(ExitMailbox.allocate());
  const hypercalls = new Hypercalls(machine.ram, mailbox, { ring() {} }, () => true);
  const [msrs] = machine.msrs;
  if (msrs === undefined) throw new Error('a machine has a processor');
  const exits = new VcpuExits(new KvmRun(area), new Board(uart, () => NOW), msrs, hypercalls);
  const io = (direction: 'in' | 'out', port: number, sizeBytes: number, data: readonly number[], count = 1) => {
    view.setUint32(8, KvmExit.Io, true);
    area.set([direction === 'out' ? 1 : 0, sizeBytes], 32);
    view.setUint16(34, port, true);
    view.setUint32(36, count, true);
    view.setBigUint64(40, BigInt(DATA_AT), true);
    area.set(data, DATA_AT);
    return exits.handle();
  };
  const read = (port: number, sizeBytes = 1) => {
    io('in', port, sizeBytes, [0, 0, 0, 0]);
    return [...area.subarray(DATA_AT, DATA_AT + sizeBytes)];
  };
  return { machine, area, view, uart, mailbox, exits, io, read };
}

describe('ports', () => {
  test('of the console reach it, one byte or a string of them', () => {
    const { io, uart } = someVcpu();

    io('out', 0x3f8, 1, [65]);
    io('out', 0x3f8, 1, [66, 67, 68], 3);

    expect(new TextDecoder().decode(uart.takeOutput())).toBe('ABCD');
  });

  test('of the clock give the time in decimal digits', () => {
    const { io, read } = someVcpu();

    const fields = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32].map((index) => {
      io('out', 0x70, 1, [index | 0x80]);
      return read(0x71)[0];
    });

    expect(fields).toEqual([0x59, 0x05, 0x18, 0x24, 0x12, 0x31, 0x20]);
  });

  test('that nothing listens to read as ones and swallow writes', () => {
    const { io, read } = someVcpu();

    expect(io('out', 0x80, 4, [1, 2, 3, 4])).toBeUndefined();
    expect(read(0xcf8, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
  });

  test.each([
    ['sleep type 5 with enable', 0x600, 0x34, { reason: 'power-off' }],
    ['sleep type 5 without enable', 0x600, 0x14, undefined],
    ['another sleep type', 0x600, 0x2c, undefined],
    ['the reset value', 0x602, 1, { reason: 'reset' }],
    ['another value to the reset port', 0x602, 0, undefined],
  ])('end the machine or not: %s', (_, port, value, end) => {
    expect(someVcpu().io('out', port, 1, [value])).toEqual(end);
  });

  test('with data outside the run area are ignored', () => {
    const { view, area, exits } = someVcpu();
    view.setUint32(8, KvmExit.Io, true);
    area.set([1, 1], 32);
    view.setUint16(34, 0x3f8, true);
    for (const [offset, count] of [
      [AREA_BYTES, 1],
      [AREA_BYTES - 1, 2],
      [0xffffffff, 1],
      [0, 0xffffffff],
    ] as const) {
      view.setUint32(36, count, true);
      view.setUint32(40, offset, true);

      expect(exits.handle()).toBeUndefined();
    }
  });
});

describe('the hypercall port', () => {
  const call = (vcpu: ReturnType<typeof someVcpu>, rcx: bigint, rdx: bigint) => {
    vcpu.view.setBigUint64(304, 0xffff_ffff_ffff_ffffn, true);
    vcpu.view.setBigUint64(304 + 16, rcx, true);
    vcpu.view.setBigUint64(304 + 24, rdx, true);
    vcpu.io('out', 0xe6, 4, [0, 0, 0, 0]);
    return { rax: vcpu.view.getBigUint64(304, true), dirty: vcpu.view.getBigUint64(296, true) };
  };

  test('takes the call from the registers and answers in RAX', () => {
    const vcpu = someVcpu();

    expect(call(vcpu, 0x1005dn, 0x2001n)).toEqual({ rax: 0n, dirty: 1n });

    expect(vcpu.mailbox.isEmpty).toBe(false);
    expect(vcpu.exits.counts.hypercalls).toBe(1);
  });

  test('answers "invalid code" to every other call', () => {
    expect(call(someVcpu(), 0x2n, 0n).rax).toBe(2n);
  });

  test('is an ordinary port for any other access', () => {
    const { io, read, exits } = someVcpu();

    io('out', 0xe6, 1, [0]);
    io('out', 0xe6, 4, [0, 0, 0, 0, 0, 0, 0, 0], 2);

    expect(read(0xe6)).toEqual([0xff]);
    expect(exits.counts.hypercalls).toBe(0);
  });
});

describe('synthetic MSRs', () => {
  const access = (vcpu: ReturnType<typeof someVcpu>, reason: number, index: number, data = 0n) => {
    vcpu.view.setUint32(8, reason, true);
    vcpu.view.setUint8(32, 0xff);
    vcpu.view.setUint32(44, index, true);
    vcpu.view.setBigUint64(48, data, true);
    vcpu.exits.handle();
    return { error: vcpu.view.getUint8(32), data: vcpu.view.getBigUint64(48, true) };
  };

  test('are read and written through the run area', () => {
    const vcpu = someVcpu();

    expect(access(vcpu, KvmExit.WriteMsr, 0x40000000, 0x1234n).error).toBe(0);
    expect(access(vcpu, KvmExit.ReadMsr, 0x40000000)).toEqual({ error: 0, data: 0x1234n });
  });

  test('that do not exist raise the fault bit', () => {
    const vcpu = someVcpu();

    expect(access(vcpu, KvmExit.ReadMsr, 0x400000b0).error).toBe(1);
    expect(access(vcpu, KvmExit.WriteMsr, 0x400000b0, 1n).error).toBe(1);
  });
});

test('memory that is not there reads as ones', () => {
  const { view, area, exits } = someVcpu();
  view.setUint32(8, KvmExit.Mmio, true);

  expect(exits.handle()).toBeUndefined();

  expect([...area.subarray(40, 48)]).toEqual(Array(8).fill(0xff));
});

test.each([
  [KvmExit.Shutdown, 'triple-fault'],
  [KvmExit.FailEntry, 'fault'],
  [KvmExit.InternalError, 'fault'],
  [KvmExit.SystemEvent, 'fault'],
  [0, 'fault'],
  [999, 'fault'],
])('exit reason %i ends the machine with %s and says why', (exitReason, reason) => {
  const { view, exits } = someVcpu();
  view.setUint32(8, exitReason, true);

  expect(exits.handle()).toEqual({ reason, detail: expect.stringMatching(/./) });
});

test('a run area that is too small is refused', () => {
  expect(() => new KvmRun(new Uint8Array(KVM_RUN_BYTES - 1))).toThrow(
    expect.objectContaining({ code: 'ERR_ARGUMENT' }),
  );
});
