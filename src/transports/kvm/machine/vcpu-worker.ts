/**
 * The thread of one virtual processor: runs the guest until it, or the device thread, ends the machine.
 *
 * KVM_RUN blocks this thread, event loop included, so it talks through shared memory and posted messages only. It ends
 * when `control` says so: the device thread sets that, marks the run area and sends this thread a signal, in that order.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../../errors.ts';
import { Errno, Libc } from '../../native/index.ts';
import { SharedBell } from './bell.ts';
import { Board } from './board.ts';
import { ExitMailbox } from './exit-mailbox.ts';
import { GuestRam } from './guest-ram.ts';
import { Hypercalls } from './hypercalls.ts';
import { HypervMsrs } from './hyperv-msrs.ts';
import { HypervRegisters } from './hyperv-registers.ts';
import { KvmRequest } from './kvm-abi.ts';
import { KvmRun } from './kvm-run.ts';
import { IrqLine, readTsc } from './kvm-vm.ts';
import { MachineControl } from './machine-control.ts';
import { UART_IRQ, Uart } from './uart.ts';
import { type MachineEnd, VcpuExits } from './vcpu-exits.ts';
import type { VcpuThreadData, VcpuThreadMessage } from './vcpu-thread.ts';

const port = parentPort;
assert(port !== null, 'vcpu-worker runs in a worker thread');
const tell = (message: VcpuThreadMessage): void => port.postMessage(message);

const data = workerData as VcpuThreadData;
const libc = await Libc.load();
const control = new MachineControl(data.control);
const bell = new SharedBell(data.bell, () => tell({ is: 'bell' }));
const run = new KvmRun(new Uint8Array(libc.view(data.runAddress, data.runBytes)));
const exits = buildExits();

control.started(data.vp, libc.gettid());
run.keepRegisters();
const end = runUntilEnd();
tell({ is: 'ended', end, counts: exits.counts, rip: run.rip });

function runUntilEnd(): MachineEnd | undefined {
  while (!control.isStopped) {
    if (libc.tryIoctl(data.vcpuFd, KvmRequest.Run, 0) < 0) {
      const errno = libc.errno;
      // EINTR: a signal; EAGAIN: a processor that was waiting for its start is about to run.
      if (errno === Errno.EINTR || errno === Errno.EAGAIN) continue;
      return { reason: 'fault', detail: `KVM_RUN failed with errno ${errno}` };
    }
    const ended = exits.handle();
    if (ended !== undefined) return ended;
  }
  return undefined;
}

function buildExits(): VcpuExits {
  const ram = new GuestRam(libc.view(data.ramAddress, data.ramBytes));
  const isStopped = () => control.isStopped;
  const irqLine = new IrqLine(libc, data.vmFd);
  const uart = new Uart(data.uart, {
    interrupt: () => irqLine.pulse(UART_IRQ),
    outputReady: () => bell.ring(),
    isStopped,
  });
  const msrs = new HypervMsrs(data.vp, ram, new HypervRegisters(data.registers), data.tscHz, {
    readTsc: () => readTsc(libc, data.vcpuFd),
    synicChanged: () => bell.ring(),
    crashed: (parameters, message) => tell({ is: 'crashed', parameters, message }),
  });
  const hypercalls = new Hypercalls(ram, new ExitMailbox(data.mailbox), bell, isStopped);
  return new VcpuExits(run, new Board(uart, () => new Date()), msrs, hypercalls);
}
