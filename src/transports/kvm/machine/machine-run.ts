/**
 * One run of the machine, from power-on to its end: the kernel's objects and a thread per processor. A reset is the end
 * of one run and the start of another over the same RAM.
 *
 * Ending is a fixed order: tell the threads, get them out of the guest, wait until each is gone, close the descriptors.
 */
import { constants as osConstants } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Libc, NativeMapping } from '../../native/index.ts';
import { guestCpuid } from './hyperv-cpuid.ts';
import type { HypervRegisters } from './hyperv-registers.ts';
import { KvmVm } from './kvm-vm.ts';
import { MachineControl } from './machine-control.ts';
import type { UartMemory } from './uart.ts';
import type { ExitCounts, MachineEnd } from './vcpu-exits.ts';
import { VCPU_WORKER, type VcpuThreadData, type VcpuThreadMessage } from './vcpu-thread.ts';

/**
 * Interrupts a thread that is in the guest. Its default action is to be ignored, so that one which arrives late, when
 * nobody handles it any more, does no harm.
 */
const KICK = { name: 'SIGURG', number: osConstants.signals.SIGURG } as const;

export interface MachineParts {
  readonly libc: Libc;
  /** Open /dev/kvm. */
  readonly kvmFd: number;
  readonly ram: NativeMapping;
  readonly registers: HypervRegisters;
  /** One per processor. */
  readonly mailboxes: readonly SharedArrayBuffer[];
  readonly uart: UartMemory;
  readonly bell: SharedArrayBuffer;
}

/** One processor at its end. */
export interface ProcessorReport extends ExitCounts {
  /** Address of the instruction that it was at, in hex. */
  readonly instruction: string;
}

/** What the device thread hears from a run. */
export interface MachineEvents {
  bell(): void;
  crashed(parameters: readonly bigint[], message: string | undefined): void;
}

export class MachineRun {
  readonly #parts: MachineParts;
  readonly #events: MachineEvents;
  readonly #vm: KvmVm;
  readonly #control: MachineControl;
  readonly #runs: { requestExit(): void }[] = [];
  readonly #threads: Promise<void>[] = [];
  readonly #processors: (ProcessorReport | undefined)[] = [];
  readonly #kickAtExit = (): void => this.#kick();
  #end: MachineEnd | undefined;

  /** Creates the machine, not yet running. @throws SystemError `ERR_TRANSPORT` if KVM refuses */
  constructor(parts: MachineParts, events: MachineEvents) {
    this.#parts = parts;
    this.#events = events;
    this.#control = MachineControl.allocate(parts.registers.vpCount);
    this.#vm = new KvmVm(parts.libc, parts.kvmFd);
  }

  /**
   * Runs until the guest, or `stop`, ends it. Nothing of the run is left when this returns, whatever happened.
   * @returns why it ended; `undefined` if it was told to
   */
  async run(): Promise<MachineEnd | undefined> {
    // Threads that are inside KVM_RUN cannot be joined: a process that exits meanwhile must get them out first.
    process.on('exit', this.#kickAtExit);
    process.on(KICK.name, ignore);
    try {
      this.#start();
      await Promise.all(this.#threads);
    } finally {
      this.stop();
      await Promise.allSettled(this.#threads);
      process.off(KICK.name, ignore);
      process.off('exit', this.#kickAtExit);
      this.#vm.close();
    }
    return this.#end;
  }

  /** Ends the run from outside; `run` returns soon. */
  stop(): void {
    this.#control.stop();
    this.#kick();
  }

  /** An edge on a processor's APIC. Only while it runs. */
  interrupt(vp: number, vector: number): void {
    this.#vm.interrupt(vp, vector);
  }

  /** An edge on an I/O APIC input. Only while it runs. */
  pulseIrq(gsi: number): void {
    this.#vm.pulseIrq(gsi);
  }

  /** What each processor had done and where it was, once its thread has ended. */
  get processors(): readonly (ProcessorReport | undefined)[] {
    return this.#processors;
  }

  #start(): void {
    const { registers, ram } = this.#parts;
    this.#vm.createInterruptControllers();
    this.#vm.addRam(ram);
    this.#vm.filterSyntheticMsrs();
    const supported = this.#vm.supportedCpuid();
    const data: VcpuThreadData[] = [];
    for (let vp = 0; vp < registers.vpCount; vp++) data.push(this.#createVcpu(vp, supported));
    for (const threadData of data) this.#threads.push(this.#startThread(threadData));
  }

  #createVcpu(vp: number, supported: Parameters<typeof guestCpuid>[0]): VcpuThreadData {
    const { ram, registers, mailboxes, uart, bell } = this.#parts;
    const vcpu = this.#vm.createVcpu(vp);
    vcpu.setCpuid(guestCpuid(supported, vp, registers.vpCount));
    if (vp === 0) vcpu.startAtKernel();
    this.#runs.push(vcpu.run);
    return {
      vp,
      vmFd: this.#vm.fd,
      vcpuFd: vcpu.fd,
      runAddress: vcpu.runMapping.address,
      runBytes: vcpu.runMapping.lengthBytes,
      ramAddress: ram.address,
      ramBytes: ram.lengthBytes,
      tscHz: vcpu.tscHz(),
      registers: registers.buffer,
      mailbox: mailboxes[vp] as SharedArrayBuffer,
      uart,
      bell,
      control: this.#control.buffer,
    };
  }

  /** @returns when the thread is gone; never rejects */
  #startThread(data: VcpuThreadData): Promise<void> {
    const worker = new Worker(VCPU_WORKER, { workerData: data, name: `vcpu ${data.vp}` });
    worker.on('message', (message: VcpuThreadMessage) => this.#heard(data.vp, message));
    worker.on('error', (error) =>
      this.#ended({ reason: 'fault', detail: `the thread of processor ${data.vp}: ${error.message}` }),
    );
    return new Promise((resolve) => worker.once('exit', () => resolve()));
  }

  #heard(vp: number, message: VcpuThreadMessage): void {
    switch (message.is) {
      case 'bell':
        this.#events.bell();
        return;
      case 'crashed':
        this.#events.crashed(message.parameters, message.message);
        return;
      case 'ended':
        this.#processors[vp] = { instruction: `0x${message.rip.toString(16)}`, ...message.counts };
        if (message.end !== undefined) this.#ended(message.end);
        return;
    }
  }

  /** The first reason counts; the other processors follow. */
  #ended(end: MachineEnd): void {
    this.#end ??= end;
    this.stop();
  }

  #kick(): void {
    this.#control.stop();
    for (const [vp, run] of this.#runs.entries()) {
      // The mark first: a thread that is about to enter the guest sees it, one that is inside sees the signal.
      run.requestExit();
      const threadId = this.#control.threadId(vp);
      if (threadId !== 0) this.#parts.libc.signalThread(threadId, KICK.number);
    }
  }
}

function ignore(): void {}
