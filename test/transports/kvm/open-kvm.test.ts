import { describe, expect, test } from 'vitest';
import { probeDevice } from '../../../src/transports/kvm/doctor.ts';
import { bootVirtualMachine } from '../../../src/transports/kvm/index.ts';
import { KvmRequest } from '../../../src/transports/kvm/machine/kvm-abi.ts';
import { openKvm } from '../../../src/transports/kvm/open-kvm.ts';
import { FAKE_KVM_FD, type FakeAnswers, fakeKernel } from './fake-kernel.ts';

const ENOENT = 2;
const EACCES = 13;
const EBUSY = 16;

/** A KVM of the right version that has every capability but those. */
const kvmWithout = (...missing: number[]): FakeAnswers => ({
  ioctl: (request, argument) => {
    if (request === KvmRequest.GetApiVersion) return 12;
    if (request === KvmRequest.CheckExtension) return missing.includes(Number(argument)) ? 0 : 1;
    return undefined;
  },
});

describe('opening KVM', () => {
  test('gives a descriptor when everything is there', () => {
    expect(openKvm(fakeKernel(kvmWithout()).libc)).toBe(FAKE_KVM_FD);
  });

  test.each([
    [ENOENT, 'is not there'],
    [EACCES, 'join its group'],
    [EBUSY, 'EBUSY'],
  ])('that fails with errno %i says "%s"', (errno, text) => {
    const { libc } = fakeKernel({ open: -errno });

    expect(() => openKvm(libc)).toThrow(
      expect.objectContaining({ code: 'ERR_TRANSPORT', message: expect.stringContaining(text) }),
    );
  });

  test('names the capabilities that it lacks, and leaves nothing open', () => {
    const { libc, closed } = fakeKernel(kvmWithout(188, 74));

    expect(() => openKvm(libc)).toThrow(/KVM_CAP_SYNC_REGS, KVM_CAP_X86_USER_SPACE_MSR/);

    expect(closed).toEqual([FAKE_KVM_FD]);
  });

  test('of another version is refused', () => {
    expect(() => openKvm(fakeKernel({ ioctl: () => 11 }).libc)).toThrow(/API version 12 \(it has 11\)/);
  });
});

describe('the doctor', () => {
  test.each([
    ['absent', ENOENT, 'vmx', 'modprobe kvm_intel'],
    ['absent', ENOENT, 'svm', 'modprobe kvm_amd'],
    ['absent', ENOENT, undefined, 'firmware'],
    ['no-permission', EACCES, 'vmx', 'group'],
    ['unusable', EBUSY, 'vmx', '/dev/kvm'],
  ] as const)(
    'finds KVM %s when opening it fails with errno %i and the processor shows %s',
    async (state, errno, extension, advice) => {
      const finding = await probeDevice(fakeKernel({ open: -errno }).libc, extension);

      expect(finding.state).toBe(state);
      expect(finding.advice).toContain(advice);
    },
  );

  test('finds KVM unusable when it lacks something, and leaves nothing open', async () => {
    const { libc, closed } = fakeKernel(kvmWithout(0));

    const finding = await probeDevice(libc, 'svm');

    expect(finding).toMatchObject({ state: 'unusable', detail: expect.stringContaining('KVM_CAP_IRQCHIP') });
    expect(closed).toEqual([FAKE_KVM_FD]);
  });

  test('finds KVM unusable when it refuses to make a machine, and leaves nothing open', async () => {
    const answers = kvmWithout();
    const { libc, closed } = fakeKernel({
      ioctl: (request, argument) => (request === KvmRequest.CreateVm ? -EBUSY : answers.ioctl?.(request, argument)),
    });

    const finding = await probeDevice(libc, 'svm');

    expect(finding).toMatchObject({ state: 'unusable', detail: expect.stringContaining('KVM_CREATE_VM') });
    expect(closed).toEqual([FAKE_KVM_FD]);
  });
});

describe('a machine that cannot be booted is refused before KVM is opened', () => {
  test.each([
    ['no processors', { cpus: 0 }],
    ['five processors', { cpus: 5 }],
    ['half a processor', { cpus: 0.5 }],
    ['too little memory', { memoryBytes: 4096 }],
    ['memory that is not whole pages', { memoryBytes: 2 ** 28 + 1 }],
    ['a kernel that is none', { kernel: new Uint8Array(100_000) }],
    ['a kernel that is not there', { kernel: '/nonexistent/vmlinuz' }],
    ['a RAM disk that is not there', { initrd: '/nonexistent/initrd' }],
  ])('with %s', async (_, options) => {
    await expect(bootVirtualMachine({ kernel: new Uint8Array(1), ...options })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    );
  });
});
