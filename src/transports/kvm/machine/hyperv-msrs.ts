/**
 * The synthetic MSRs of one virtual processor, as its thread answers them.
 *
 * Every value is the guest's: addresses are checked against RAM before a page is touched, reserved registers and
 * impossible values raise #GP in the guest and change nothing.
 *
 * Source: Hyper-V TLFS, chapters "Hypercall Interface", "Virtual Interrupt Control", "Timers", "Partitions" (crash).
 */

import { PAGE_BYTES } from '../../../memory/page.ts';
import type { GuestRam } from './guest-ram.ts';
import { writeHypercallPage } from './hypercall-page.ts';
import {
  ENABLED,
  HypervMsr,
  type HypervRegisters,
  PartitionRegister,
  SINT_MASKED,
  VpRegister,
} from './hyperv-registers.ts';
import { referenceScale, referenceTime, writeReferenceTscPage } from './reference-time.ts';

/** What the registers ask of the thread they live in. */
export interface MsrHost {
  /** The guest's time stamp counter now. */
  readTsc(): bigint;
  /** The guest may have made room in a message slot, or turned its SynIC on: the device thread looks again. */
  synicChanged(): void;
  /** The guest reported its own crash. @param message what it wanted said, if it gave a text */
  crashed(parameters: readonly bigint[], message: string | undefined): void;
}

/** KVM's in-kernel APIC timer counts nanoseconds. */
const APIC_TIMER_HZ = 1_000_000_000n;
/** SynIC version, the only one there is. */
const SYNIC_VERSION = 1n;
/** Vectors below 16 are exceptions. */
const FIRST_VECTOR = 16n;

/** Crash control: the guest gives notice; P3 and P4 hold address and length of a text. */
const CRASH_NOTIFY = 1n << 63n;
const CRASH_NOTIFY_MESSAGE = 1n << 62n;
const CRASH_PARAMETERS = 5;

export class HypervMsrs {
  readonly #vp: number;
  readonly #ram: GuestRam;
  readonly #registers: HypervRegisters;
  readonly #host: MsrHost;
  readonly #tscHz: bigint;
  readonly #scale: bigint;

  constructor(vp: number, ram: GuestRam, registers: HypervRegisters, tscHz: bigint, host: MsrHost) {
    this.#vp = vp;
    this.#ram = ram;
    this.#registers = registers;
    this.#host = host;
    this.#tscHz = tscHz;
    this.#scale = referenceScale(tscHz);
  }

  /** @returns the value, or `undefined` for a register that does not exist: #GP */
  read(index: number): bigint | undefined {
    const registers = this.#registers;
    if (index >= HypervMsr.Sint0 && index <= HypervMsr.Sint15) {
      return registers.vp(this.#vp, VpRegister.Sint0 + (index - HypervMsr.Sint0));
    }
    if (index >= HypervMsr.CrashP0 && index <= HypervMsr.CrashP4) {
      return registers.partition(PartitionRegister.CrashP0 + (index - HypervMsr.CrashP0));
    }
    switch (index) {
      case HypervMsr.GuestOsId:
        return registers.partition(PartitionRegister.GuestOsId);
      case HypervMsr.Hypercall:
        return registers.partition(PartitionRegister.Hypercall);
      case HypervMsr.VpIndex:
        return BigInt(this.#vp);
      case HypervMsr.TimeRefCount:
        return referenceTime(this.#host.readTsc(), this.#scale);
      case HypervMsr.ReferenceTsc:
        return registers.partition(PartitionRegister.ReferenceTsc);
      case HypervMsr.TscFrequency:
        return this.#tscHz;
      case HypervMsr.ApicFrequency:
        return APIC_TIMER_HZ;
      case HypervMsr.VpAssistPage:
        return registers.vp(this.#vp, VpRegister.VpAssistPage);
      case HypervMsr.Scontrol:
        return registers.vp(this.#vp, VpRegister.Scontrol);
      case HypervMsr.Sversion:
        return SYNIC_VERSION;
      case HypervMsr.Siefp:
        return registers.vp(this.#vp, VpRegister.Siefp);
      case HypervMsr.Simp:
        return registers.vp(this.#vp, VpRegister.Simp);
      case HypervMsr.Eom:
        return 0n;
      case HypervMsr.CrashControl:
        return CRASH_NOTIFY | CRASH_NOTIFY_MESSAGE;
      case HypervMsr.TscInvariantControl:
        return registers.partition(PartitionRegister.TscInvariantControl);
      default:
        return undefined;
    }
  }

  /** @returns false if the guest must take #GP; nothing changed then */
  write(index: number, value: bigint): boolean {
    const registers = this.#registers;
    if (index >= HypervMsr.Sint0 && index <= HypervMsr.Sint15) return this.#writeSint(index - HypervMsr.Sint0, value);
    if (index >= HypervMsr.CrashP0 && index <= HypervMsr.CrashP4) {
      registers.storePartition(PartitionRegister.CrashP0 + (index - HypervMsr.CrashP0), value);
      return true;
    }
    switch (index) {
      case HypervMsr.GuestOsId:
        registers.storePartition(PartitionRegister.GuestOsId, value);
        // The hypercall page goes with the identity of who uses it.
        if (value === 0n) registers.storePartition(PartitionRegister.Hypercall, 0n);
        return true;
      case HypervMsr.Hypercall:
        return this.#writeHypercall(value);
      case HypervMsr.ReferenceTsc:
        return (
          this.#placePage(value, (page) => writeReferenceTscPage(page, this.#scale)) &&
          this.#storePartition(PartitionRegister.ReferenceTsc, value)
        );
      case HypervMsr.VpAssistPage:
        registers.storeVp(this.#vp, VpRegister.VpAssistPage, value);
        return true;
      case HypervMsr.Scontrol:
        return this.#storeSynic(VpRegister.Scontrol, value);
      case HypervMsr.Siefp:
        return this.#placeSynicPage(VpRegister.Siefp, value);
      case HypervMsr.Simp:
        return this.#placeSynicPage(VpRegister.Simp, value);
      case HypervMsr.Eom:
        this.#host.synicChanged();
        return true;
      case HypervMsr.CrashControl:
        if ((value & CRASH_NOTIFY) !== 0n) this.#crash((value & CRASH_NOTIFY_MESSAGE) !== 0n);
        return true;
      case HypervMsr.TscInvariantControl:
        return this.#storePartition(PartitionRegister.TscInvariantControl, value);
      default:
        return false;
    }
  }

  #writeHypercall(value: bigint): boolean {
    // Without a guest identity the page cannot be enabled; the bit reads back as 0 (TLFS, "Establishing the Hypercall
    // Interface").
    const isAnonymous = this.#registers.partition(PartitionRegister.GuestOsId) === 0n;
    const stored = isAnonymous ? value & ~ENABLED : value;
    return this.#placePage(stored, writeHypercallPage) && this.#storePartition(PartitionRegister.Hypercall, stored);
  }

  #writeSint(sint: number, value: bigint): boolean {
    if ((value & 0xffn) < FIRST_VECTOR && (value & SINT_MASKED) === 0n) return false;
    return this.#storeSynic(VpRegister.Sint0 + sint, value);
  }

  /** The pages read as zero when they are enabled. */
  #placeSynicPage(register: number, value: bigint): boolean {
    const wasAt = this.#registers.vp(this.#vp, register);
    return this.#placePage(value, (page) => value !== wasAt && page.fill(0)) && this.#storeSynic(register, value);
  }

  /** @returns false if the register enables a page that is not RAM */
  #placePage(register: bigint, fill: (page: Uint8Array) => void): boolean {
    if ((register & ENABLED) === 0n) return true;
    const gpa = this.#ram.pageOf(register);
    if (gpa < 0) return false;
    fill(this.#ram.slice(gpa, PAGE_BYTES));
    return true;
  }

  #storePartition(register: number, value: bigint): boolean {
    this.#registers.storePartition(register, value);
    return true;
  }

  #storeSynic(register: number, value: bigint): boolean {
    this.#registers.storeVp(this.#vp, register, value);
    this.#host.synicChanged();
    return true;
  }

  #crash(hasMessage: boolean): void {
    const parameters: bigint[] = [];
    for (let index = 0; index < CRASH_PARAMETERS; index++) {
      parameters.push(this.#registers.partition(PartitionRegister.CrashP0 + index));
    }
    this.#host.crashed(parameters, hasMessage ? this.#crashMessage(parameters) : undefined);
  }

  /** At most a page of text, wherever in RAM the guest says it is; nothing if it is elsewhere. */
  #crashMessage(parameters: readonly bigint[]): string | undefined {
    const gpa = Number(parameters[3]);
    const lengthBytes = Number(parameters[4]);
    if (lengthBytes === 0 || lengthBytes > PAGE_BYTES || !this.#ram.has(gpa, lengthBytes)) return undefined;
    return new TextDecoder().decode(this.#ram.slice(gpa, lengthBytes).slice());
  }
}
