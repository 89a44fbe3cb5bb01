/**
 * Finds out whether virtual machines can run here, and says what to do if not.
 *
 * The last check is a real one: a guest of a few instructions, one of which KVM's instruction emulator does not know. A
 * processor runs it; a KVM without hardware behind it (as inside some cloud machines) only emulates, and fails there
 * as it would in the middle of a kernel's boot.
 */
import { readFileSync } from 'node:fs';
import { Errno, errnoOf, Libc, type NativeMapping } from '../native/index.ts';
import { ExitMailbox } from './machine/exit-mailbox.ts';
import { GuestRam } from './machine/guest-ram.ts';
import { HypervRegisters } from './machine/hyperv-registers.ts';
import { MachineRun } from './machine/machine-run.ts';
import { KERNEL_ADDRESS, MIN_MEMORY_BYTES } from './machine/memory-layout.ts';
import { SLEEP_CONTROL_PORT } from './machine/power-ports.ts';
import { Uart } from './machine/uart.ts';
import type { MachineEnd } from './machine/vcpu-exits.ts';
import { KVM_DEVICE, missingCapabilities } from './open-kvm.ts';

export interface KvmReport {
  readonly state:
    | 'usable'
    /** /dev/kvm answers, but no processor runs guest code behind it. */
    | 'emulated-only'
    /** It is there and refuses, or lacks a capability. */
    | 'unusable'
    | 'no-permission'
    | 'absent'
    /** The optional package koffi is missing, or this is not Linux on x86-64. */
    | 'no-native-calls';
  /** What was found. */
  readonly detail: string;
  /** What to do; empty if nothing needs doing. */
  readonly advice: string;
  /** `vmx` (Intel), `svm` (AMD), or `undefined` if the processor shows neither. */
  readonly extension: 'vmx' | 'svm' | undefined;
}

/** A guest that needs longer than this for ten instructions does not run them. */
const PROBE_TIMEOUT_MS = 10_000;

/** Never throws for what the machine lacks: the report says it. */
export async function probeKvm(): Promise<KvmReport> {
  const extension = hardwareExtension();
  let libc: Libc;
  try {
    libc = await Libc.load();
  } catch (error) {
    return { state: 'no-native-calls', detail: (error as Error).message, advice: 'npm install koffi@3', extension };
  }
  return { ...(await probeDevice(libc, extension)), extension };
}

type Finding = Omit<KvmReport, 'extension'>;

/** For `probeKvm`, with the system calls and the processor given. */
export async function probeDevice(libc: Libc, extension: KvmReport['extension']): Promise<Finding> {
  let fd: number;
  try {
    fd = libc.open(KVM_DEVICE);
  } catch (error) {
    return cannotOpen(error, extension);
  }
  try {
    const missing = missingCapabilities(libc, fd);
    if (missing.length > 0) {
      return {
        state: 'unusable',
        detail: `KVM lacks ${missing.join(', ')}`,
        advice: 'run Linux 5.10 or newer on the host',
      };
    }
    return judge(await runProbeGuest(libc, fd), extension);
  } catch (error) {
    return { state: 'unusable', detail: (error as Error).message, advice: 'see dmesg for what KVM says about it' };
  } finally {
    libc.close(fd);
  }
}

function cannotOpen(error: unknown, extension: KvmReport['extension']): Finding {
  const message = (error as Error).message;
  switch (errnoOf(error)) {
    case Errno.EACCES:
      return {
        state: 'no-permission',
        detail: message,
        advice: `join the group of ${KVM_DEVICE} (usually "kvm") and log in again`,
      };
    case Errno.ENOENT:
    case Errno.ENODEV: {
      const advice =
        extension === undefined
          ? 'turn virtualisation on in the firmware, or nested virtualisation if this is itself a virtual machine'
          : `load the module: modprobe ${extension === 'vmx' ? 'kvm_intel' : 'kvm_amd'}`;
      return { state: 'absent', detail: message, advice };
    }
    default:
      return { state: 'unusable', detail: message, advice: `check ${KVM_DEVICE}` };
  }
}

function judge(end: MachineEnd | undefined, extension: KvmReport['extension']): Finding {
  if (end?.reason === 'power-off') {
    return {
      state: 'usable',
      detail: `a guest runs on the processor (${extension ?? 'extension not shown'})`,
      advice: '',
    };
  }
  const found = end === undefined ? 'a guest of ten instructions did not end in time' : (end.detail ?? end.reason);
  return {
    state: 'emulated-only',
    detail: `${KVM_DEVICE} is there, but no processor runs guest code behind it: ${found}`,
    advice:
      'use a machine with hardware virtualisation (or nested virtualisation turned on), or QEMU with -accel tcg -cpu qemu64,+svm,+npt around it',
  };
}

/** `vmx` or `svm` among the processor's flags. Source: Linux proc(5), /proc/cpuinfo. */
function hardwareExtension(): KvmReport['extension'] {
  let flags: string;
  try {
    flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1] ?? '';
  } catch {
    return undefined; // Not Linux, or no /proc: then the flags are not known.
  }
  if (/\bvmx\b/.test(flags)) return 'vmx';
  return /\bsvm\b/.test(flags) ? 'svm' : undefined;
}

/**
 * 32-bit code: counts bits with an instruction that a processor of the last decade has and KVM's emulator has not, then
 * turns the machine off if the count is right; else it stops for good.
 */
// biome-ignore format: one instruction per line
const PROBE_CODE = Uint8Array.of(
  0xb9, 0xf0, 0xf0, 0x00, 0x00, // mov ecx, 0xf0f0
  0xf3, 0x0f, 0xb8, 0xc1, //       popcnt eax, ecx
  0x83, 0xf8, 0x08, //             cmp eax, 8
  0x75, 0x07, //                   jne stop
  0x66, 0xba, SLEEP_CONTROL_PORT & 0xff, SLEEP_CONTROL_PORT >> 8, // mov dx, sleep control
  0xb0, 0x34, //                   mov al, S5 with sleep enable
  0xee, //                         out dx, al
  0xf4, 0xeb, 0xfd, //       stop: hlt; jmp stop
);

async function runProbeGuest(libc: Libc, kvmFd: number): Promise<MachineEnd | undefined> {
  const ram: NativeMapping = libc.mapAnonymous(MIN_MEMORY_BYTES);
  new GuestRam(ram.buffer).bytes.set(PROBE_CODE, KERNEL_ADDRESS);
  const registers = HypervRegisters.allocate(1);
  const parts = {
    libc,
    kvmFd,
    ram,
    registers,
    mailboxes: [ExitMailbox.allocate()],
    uart: Uart.allocate(),
    bell: new SharedArrayBuffer(4),
  };
  let timer: NodeJS.Timeout | undefined;
  try {
    const run = new MachineRun(parts, { bell() {}, crashed() {} });
    timer = setTimeout(() => run.stop(), PROBE_TIMEOUT_MS);
    return await run.run();
  } finally {
    clearTimeout(timer);
    ram.release();
  }
}
