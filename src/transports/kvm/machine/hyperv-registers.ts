/**
 * The synthetic registers of the partition and of each virtual processor, in memory that all threads of the machine
 * share: the vCPU threads write them when the guest does, the device thread reads where pages and vectors are.
 *
 * Values are 64 bits and change a handful of times per boot, so they are `bigint`s. `Atomics` pairs each store with the
 * loads of the other threads; no two registers need to be seen together.
 *
 * Source: Hyper-V TLFS, appendix "Synthetic MSRs"; Linux `arch/x86/include/asm/hyperv-tlfs.h`.
 */

/** MSR numbers. */
export const HypervMsr = {
  GuestOsId: 0x40000000,
  Hypercall: 0x40000001,
  VpIndex: 0x40000002,
  TimeRefCount: 0x40000020,
  ReferenceTsc: 0x40000021,
  TscFrequency: 0x40000022,
  ApicFrequency: 0x40000023,
  VpAssistPage: 0x40000073,
  Scontrol: 0x40000080,
  Sversion: 0x40000081,
  Siefp: 0x40000082,
  Simp: 0x40000083,
  Eom: 0x40000084,
  Sint0: 0x40000090,
  Sint15: 0x4000009f,
  CrashP0: 0x40000100,
  CrashP4: 0x40000104,
  CrashControl: 0x40000105,
  TscInvariantControl: 0x40000118,
} as const;

/** First MSR and number of MSRs that the guest may not reach without us. */
export const SYNTHETIC_MSR_FIRST = 0x40000000;
export const SYNTHETIC_MSR_COUNT = 0x200;

/** Synthetic interrupt sources per virtual processor. */
export const SINT_COUNT = 16;

/** SINT register: vector in bits 0..7, then these. */
export const SINT_MASKED = 1n << 16n;
export const SINT_POLLING = 1n << 18n;

/** Bit 0 of SCONTROL, SIMP, SIEFP, the hypercall and the reference TSC registers. */
export const ENABLED = 1n;

/** Registers that exist once per partition; the values are indexes into the shared array. */
export const PartitionRegister = {
  GuestOsId: 0,
  Hypercall: 1,
  ReferenceTsc: 2,
  TscInvariantControl: 3,
  /** Five of them. */
  CrashP0: 4,
} as const;
const PARTITION_REGISTERS = 16;

/** Registers of one virtual processor. */
export const VpRegister = {
  VpAssistPage: 0,
  Scontrol: 1,
  Siefp: 2,
  Simp: 3,
  /** Sixteen of them. */
  Sint0: 4,
} as const;
const VP_REGISTERS = 24;

/** What a SINT register holds after reset: masked, no vector. */
const SINT_RESET = SINT_MASKED;

export class HypervRegisters {
  readonly buffer: SharedArrayBuffer;
  readonly vpCount: number;
  readonly #values: BigUint64Array;

  /** @param buffer made by `allocate`, shared with the other threads */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#values = new BigUint64Array(buffer);
    this.vpCount = (this.#values.length - PARTITION_REGISTERS) / VP_REGISTERS;
  }

  static allocate(vpCount: number): HypervRegisters {
    const registers = new HypervRegisters(new SharedArrayBuffer(8 * (PARTITION_REGISTERS + VP_REGISTERS * vpCount)));
    registers.reset();
    return registers;
  }

  /** As after power-on. */
  reset(): void {
    for (let index = 0; index < this.#values.length; index++) Atomics.store(this.#values, index, 0n);
    for (let vp = 0; vp < this.vpCount; vp++) {
      for (let sint = 0; sint < SINT_COUNT; sint++) this.storeVp(vp, VpRegister.Sint0 + sint, SINT_RESET);
    }
  }

  /** @param register one of `PartitionRegister` */
  partition(register: number): bigint {
    return Atomics.load(this.#values, register);
  }

  storePartition(register: number, value: bigint): void {
    Atomics.store(this.#values, register, value);
  }

  /** @param vp below `vpCount` @param register one of `VpRegister` */
  vp(vp: number, register: number): bigint {
    return Atomics.load(this.#values, PARTITION_REGISTERS + VP_REGISTERS * vp + register);
  }

  storeVp(vp: number, register: number, value: bigint): void {
    Atomics.store(this.#values, PARTITION_REGISTERS + VP_REGISTERS * vp + register, value);
  }
}
