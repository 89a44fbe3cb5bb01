/**
 * What a vCPU thread is given, and what it says: the protocol between `vcpu-worker.ts` and the device thread.
 */

import type { UartMemory } from './uart.ts';
import type { ExitCounts, MachineEnd } from './vcpu-exits.ts';

export interface VcpuThreadData {
  /** VP index and APIC id. */
  readonly vp: number;
  readonly vmFd: number;
  readonly vcpuFd: number;
  /** The mapped run area. */
  readonly runAddress: number;
  readonly runBytes: number;
  readonly ramAddress: number;
  readonly ramBytes: number;
  readonly tscHz: bigint;
  readonly registers: SharedArrayBuffer;
  readonly mailbox: SharedArrayBuffer;
  readonly uart: UartMemory;
  readonly bell: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
}

/** The module that a vCPU thread runs: the compiled file beside this one. */
export const VCPU_WORKER = new URL('./vcpu-worker.js', import.meta.url);

export type VcpuThreadMessage =
  /** Something waits: mailboxes, console output, or a changed SynIC. */
  | { readonly is: 'bell' }
  /** The guest said that it crashed; it runs on for a while. */
  | { readonly is: 'crashed'; readonly parameters: readonly bigint[]; readonly message: string | undefined }
  /** Last: why this thread's loop ended; no `end` if it was told to. */
  | {
      readonly is: 'ended';
      readonly end: MachineEnd | undefined;
      readonly counts: ExitCounts;
      /** Where the guest was. */
      readonly rip: bigint;
    };
