/**
 * Answers the exits of one virtual processor: the table from "KVM_RUN returned" to "run again" or "the machine ends".
 *
 * Runs in the vCPU's thread and touches no system call itself, so that tests can feed it run areas.
 *
 * Source: KVM api.rst, "The kvm_run structure".
 */
import type { Board } from './board.ts';
import { HYPERCALL_PORT } from './hypercall-page.ts';
import type { Hypercalls } from './hypercalls.ts';
import type { HypervMsrs } from './hyperv-msrs.ts';
import { KvmExit, RegisterOffset } from './kvm-abi.ts';
import type { KvmRun } from './kvm-run.ts';

/** Why the machine stopped running. `fault`: the processor or KVM gave up; `detail` says how. */
export interface MachineEnd {
  readonly reason: 'power-off' | 'reset' | 'triple-fault' | 'fault';
  readonly detail?: string;
}

/** What the exits of one processor were, for reports. */
export interface ExitCounts {
  io: number;
  hypercalls: number;
  msrs: number;
  mmio: number;
  others: number;
}

export class VcpuExits {
  readonly counts: ExitCounts = { io: 0, hypercalls: 0, msrs: 0, mmio: 0, others: 0 };
  readonly #run: KvmRun;
  readonly #board: Board;
  readonly #msrs: HypervMsrs;
  readonly #hypercalls: Hypercalls;

  constructor(run: KvmRun, board: Board, msrs: HypervMsrs, hypercalls: Hypercalls) {
    this.#run = run;
    this.#board = board;
    this.#msrs = msrs;
    this.#hypercalls = hypercalls;
  }

  /** Answers the exit that the run area holds. @returns why the machine ends, or `undefined` to run on */
  handle(): MachineEnd | undefined {
    const run = this.#run;
    switch (run.exitReason) {
      case KvmExit.Io:
        return this.#io();
      case KvmExit.ReadMsr:
        this.counts.msrs++;
        run.answerReadMsr(this.#msrs.read(run.msrIndex));
        return undefined;
      case KvmExit.WriteMsr:
        this.counts.msrs++;
        run.answerWriteMsr(this.#msrs.write(run.msrIndex, run.msrData));
        return undefined;
      case KvmExit.Mmio:
        this.counts.mmio++;
        if (!run.mmioIsWrite) run.answerMmioWithOnes();
        return undefined;
      case KvmExit.Hlt:
      case KvmExit.IrqWindowOpen:
      case KvmExit.Interrupted:
        this.counts.others++;
        return undefined;
      case KvmExit.Shutdown:
        return { reason: 'triple-fault', detail: `at instruction ${address(run.rip)}` };
      case KvmExit.FailEntry:
        return {
          reason: 'fault',
          detail: `the processor refused to enter the guest (reason ${address(run.hardwareReason)})`,
        };
      case KvmExit.InternalError: {
        const why =
          run.internalSuberror === 1 ? 'it could not emulate an instruction' : `suberror ${run.internalSuberror}`;
        return { reason: 'fault', detail: `KVM gave up at instruction ${address(run.rip)}: ${why}` };
      }
      default:
        return {
          reason: 'fault',
          detail: `KVM returned with exit reason ${run.exitReason}, which this machine has no use for`,
        };
    }
  }

  #io(): MachineEnd | undefined {
    const run = this.#run;
    if (run.ioPort === HYPERCALL_PORT && run.ioIsOut && run.ioSizeBytes === 4 && run.ioCount === 1) {
      this.counts.hypercalls++;
      const status = this.#hypercalls.call(
        run.registerWord(RegisterOffset.rcx, 0),
        run.registerWord(RegisterOffset.rcx, 1),
        run.registerWord(RegisterOffset.rdx, 0),
        run.registerWord(RegisterOffset.rdx, 1),
      );
      run.answerRax(status);
      return undefined;
    }
    this.counts.io++;
    return run.ioIsOut ? this.#portWrites() : this.#portReads();
  }

  #portReads(): undefined {
    const { bytes, ioDataAt, ioSizeBytes, ioCount, ioPort } = this.#run;
    if (ioDataAt < 0) return;
    for (let item = 0; item < ioCount; item++) {
      for (let byte = 0; byte < ioSizeBytes; byte++) {
        bytes[ioDataAt + item * ioSizeBytes + byte] = this.#board.read((ioPort + byte) & 0xffff);
      }
    }
  }

  #portWrites(): MachineEnd | undefined {
    const { bytes, ioDataAt, ioSizeBytes, ioCount, ioPort } = this.#run;
    if (ioDataAt < 0) return undefined;
    for (let item = 0; item < ioCount; item++) {
      for (let byte = 0; byte < ioSizeBytes; byte++) {
        const request = this.#board.write((ioPort + byte) & 0xffff, bytes[ioDataAt + item * ioSizeBytes + byte] ?? 0);
        if (request !== undefined) return { reason: request };
      }
    }
    return undefined;
  }
}

function address(value: bigint): string {
  return `0x${value.toString(16)}`;
}
