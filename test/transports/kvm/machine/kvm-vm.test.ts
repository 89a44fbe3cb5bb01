import { describe, expect, test } from 'vitest';
import { KvmRequest } from '../../../../src/transports/kvm/machine/kvm-abi.ts';
import { IrqLine, KvmVm, readTsc } from '../../../../src/transports/kvm/machine/kvm-vm.ts';
import { concat, hex } from '../../../vectors/hex.ts';
import { FAKE_KVM_FD, type FakeAnswers, fakeKernel } from '../fake-kernel.ts';

const VM_FD = 101;
const VCPU_FD = 102;

/** Descriptors as the kernel gives them, and a run area of three pages. */
function someVm(answers: FakeAnswers = {}) {
  const kernel = fakeKernel({
    ioctl: (request, argument) => {
      const answer = answers.ioctl?.(request, argument);
      if (answer !== undefined) return answer;
      if (request === KvmRequest.CreateVm) return VM_FD;
      if (request === KvmRequest.CreateVcpu) return VCPU_FD;
      return request === KvmRequest.GetVcpuMmapSize ? 12288 : 0;
    },
  });
  return { ...kernel, vm: new KvmVm(kernel.libc, FAKE_KVM_FD) };
}

/** Layouts: Linux `include/uapi/linux/kvm.h`; fields in the order of the header. */
describe('the structures that KVM is given', () => {
  test('RAM is slot 0 from guest address 0', () => {
    const { libc, vm, structOf } = someVm();
    const ram = libc.mapAnonymous(0x1234000);

    vm.addRam(ram);

    const region = structOf(KvmRequest.SetUserMemoryRegion);
    expect(region.subarray(0, 24)).toEqual(hex('00 00 00 00 | 00 00 00 00 | 8 x 00 | 00 40 23 01 00 00 00 00'));
    expect(new DataView(region.buffer).getBigUint64(24, true)).toBe(BigInt(ram.address));
  });

  test('synthetic MSRs leave the guest: one range of 512 from 0x40000000, nothing allowed', () => {
    const { vm, structOf } = someVm();

    vm.filterSyntheticMsrs();

    expect(structOf(KvmRequest.EnableCapability).subarray(0, 16)).toEqual(hex('bc 00 00 00 | 4 x 00 | 04 7 x 00'));
    const filter = structOf(KvmRequest.SetMsrFilter);
    expect(filter.length).toBe(392);
    expect(filter.subarray(0, 24)).toEqual(hex('4 x 00 | 4 x 00 | 03 00 00 00 | 00 02 00 00 | 00 00 00 40 | 4 x 00'));
    expect(filter.subarray(32).every((byte) => byte === 0)).toBe(true);
  });

  test('an interrupt is a message to one APIC with one vector', () => {
    const { vm, structOf } = someVm();

    vm.interrupt(3, 0xf3);

    expect(structOf(KvmRequest.SignalMsi)).toEqual(
      concat(hex('00 30 e0 fe | 00 00 00 00 | f3 00 00 00 | 00 00 00 00'), new Uint8Array(16)),
    );
  });

  test('an edge of an interrupt line is up and down', () => {
    const { libc, ioctls } = someVm();

    new IrqLine(libc, VM_FD).pulse(4);

    const levels = ioctls.filter(({ request }) => request === KvmRequest.IrqLine);
    expect(levels.map(({ argument }) => argument)).toEqual([
      hex('04 00 00 00 01 00 00 00'),
      hex('04 00 00 00 00 00 00 00'),
    ]);
  });

  test('a CPUID table is a count and entries of 40 bytes', () => {
    const { vm, structOf } = someVm();
    const registers = { eax: 0x11111111, ebx: 0xffffffff, ecx: 0x33333333, edx: 0x44444444 };

    vm.createVcpu(0).setCpuid([{ leaf: 0xb, subleaf: 1, flags: 1, ...registers }]);

    expect(structOf(KvmRequest.SetCpuid2)).toEqual(
      concat(
        hex('01 00 00 00 00 00 00 00 | 0b 00 00 00 01 00 00 00 01 00 00 00'),
        hex('11 11 11 11 ff ff ff ff 33 33 33 33 44 44 44 44 | 12 x 00'),
      ),
    );
  });

  test('the first processor starts in flat 32-bit mode at the kernel, with the boot parameters in RSI', () => {
    const { vm, structOf } = someVm({
      ioctl: (request, argument) => {
        if (request !== KvmRequest.GetSpecialRegisters || typeof argument === 'number') return undefined;
        argument.fill(0xa5);
        argument[224] = 0x10;
        return 0;
      },
    });

    vm.createVcpu(0).startAtKernel();

    const special = structOf(KvmRequest.SetSpecialRegisters);
    const segment = (selector: string, type: string) =>
      hex(`8 x 00 | ff ff ff ff | ${selector} 00 | ${type} 01 00 01 01 00 01 00 00 00`);
    expect(special.subarray(0, 24)).toEqual(segment('10', '0b'));
    for (const at of [24, 48, 72, 96, 120]) expect(special.subarray(at, at + 24)).toEqual(segment('18', '03'));
    expect(special.subarray(192, 202)).toEqual(hex('00 60 00 00 00 00 00 00 | 1f 00'));
    expect(special[224]).toBe(0x11);
    const registers = new DataView(structOf(KvmRequest.SetRegisters).buffer);
    expect([32, 128, 136].map((at) => registers.getBigUint64(at, true))).toEqual([0x7000n, 0x100000n, 2n]);
  });
});

test('the processor features that KVM offers are read up to the table that was given', () => {
  const { vm } = someVm({
    ioctl: (request, argument) => {
      if (request !== KvmRequest.GetSupportedCpuid || typeof argument === 'number') return undefined;
      const view = new DataView(argument.buffer);
      expect(view.getUint32(0, true)).toBe(256);
      view.setUint32(0, 0xffffffff, true);
      view.setUint32(8, 0x8000_0001, true);
      return 0;
    },
  });

  const entries = vm.supportedCpuid();

  expect(entries.length).toBe(256);
  expect(entries[0]).toEqual({ leaf: 0x8000_0001, subleaf: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 });
});

test("the guest's time stamp counter is read from its processor", () => {
  const { libc } = someVm({
    ioctl: (request, argument) => {
      if (request !== KvmRequest.GetMsrs || typeof argument === 'number') return undefined;
      expect(argument.subarray(0, 12)).toEqual(hex('01 00 00 00 00 00 00 00 | 10 00 00 00'));
      new DataView(argument.buffer).setBigUint64(16, 0x1234_5678_9abcn, true);
      return 1;
    },
  });

  expect(readTsc(libc, VCPU_FD)).toBe(0x1234_5678_9abcn);
});

test('closing gives back every descriptor, and what comes after does nothing', () => {
  const { vm, closed, ioctls } = someVm();
  vm.createVcpu(0);
  vm.createVcpu(1);

  vm.close();
  const before = ioctls.length;
  vm.interrupt(0, 0xf3);
  vm.pulseIrq(4);

  expect(closed).toEqual([VCPU_FD, VCPU_FD, VM_FD]);
  expect(ioctls.length).toBe(before);
});
