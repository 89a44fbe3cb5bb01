/**
 * What a virtual processor and its thread say to each other: `struct kvm_run`, mapped from the vCPU's descriptor.
 *
 * The kernel writes it, so its offsets are sound; they are checked all the same, because a wrong one would read
 * elsewhere in our process. 64-bit registers are two words, since one hypercall is one packet's doorbell.
 *
 * Source: Linux `include/uapi/linux/kvm.h`, `struct kvm_run`; `arch/x86/include/uapi/asm/kvm.h`, `struct kvm_regs`.
 */
import { UsageError } from '../../../errors.ts';
import { KVM_RUN_BYTES, RegisterOffset, RunOffset, SYNC_REGISTERS } from './kvm-abi.ts';

export class KvmRun {
  readonly #view: DataView;
  readonly bytes: Uint8Array;

  /** @param bytes the mapped area, at least `KVM_RUN_BYTES` */
  constructor(bytes: Uint8Array) {
    if (bytes.length < KVM_RUN_BYTES) {
      throw new UsageError('ERR_ARGUMENT', `the run area has ${bytes.length} bytes, ${KVM_RUN_BYTES} are needed`);
    }
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The kernel stores the general registers in this area on every exit. */
  keepRegisters(): void {
    this.#view.setUint32(RunOffset.validRegisters, SYNC_REGISTERS, true);
  }

  /** The next (or current) KVM_RUN returns at once with EINTR. May be called by another thread. */
  requestExit(): void {
    this.#view.setUint8(RunOffset.immediateExit, 1);
  }

  /** One of `KvmExit`, or another number. */
  get exitReason(): number {
    return this.#view.getUint32(RunOffset.exitReason, true);
  }

  get ioIsOut(): boolean {
    return this.#view.getUint8(RunOffset.ioDirection) === 1;
  }

  /** Bytes per item: 1, 2 or 4. */
  get ioSizeBytes(): number {
    return this.#view.getUint8(RunOffset.ioSizeBytes);
  }

  get ioPort(): number {
    return this.#view.getUint16(RunOffset.ioPort, true);
  }

  /** Items: more than 1 for string instructions. */
  get ioCount(): number {
    return this.#view.getUint32(RunOffset.ioCount, true);
  }

  /** Where in `bytes` the items lie; -1 if they would not lie in it. */
  get ioDataAt(): number {
    const at = this.#view.getUint32(RunOffset.ioDataOffset, true);
    const lengthBytes = this.ioSizeBytes * this.ioCount;
    return at <= this.bytes.length && lengthBytes <= this.bytes.length - at ? at : -1;
  }

  get mmioAddress(): bigint {
    return this.#view.getBigUint64(RunOffset.mmioAddress, true);
  }

  get mmioIsWrite(): boolean {
    return this.#view.getUint8(RunOffset.mmioIsWrite) !== 0;
  }

  /** The answer to an MMIO read: nothing is there, so the bus floats high. */
  answerMmioWithOnes(): void {
    this.bytes.fill(0xff, RunOffset.mmioData, RunOffset.mmioData + 8);
  }

  get msrIndex(): number {
    return this.#view.getUint32(RunOffset.msrIndex, true);
  }

  get msrData(): bigint {
    return this.#view.getBigUint64(RunOffset.msrData, true);
  }

  /** @param value what RDMSR returns; `undefined` raises #GP in the guest */
  answerReadMsr(value: bigint | undefined): void {
    this.#view.setUint8(RunOffset.msrError, value === undefined ? 1 : 0);
    if (value !== undefined) this.#view.setBigUint64(RunOffset.msrData, value, true);
  }

  /** @param isAccepted false raises #GP in the guest */
  answerWriteMsr(isAccepted: boolean): void {
    this.#view.setUint8(RunOffset.msrError, isAccepted ? 0 : 1);
  }

  get internalSuberror(): number {
    return this.#view.getUint32(RunOffset.internalSuberror, true);
  }

  get hardwareReason(): bigint {
    return this.#view.getBigUint64(RunOffset.hardwareReason, true);
  }

  /** Low (`half` 0) or high (`half` 1) word of a general register. @param offset one of `RegisterOffset` */
  registerWord(offset: number, half: 0 | 1): number {
    return this.#view.getUint32(RunOffset.registers + offset + 4 * half, true);
  }

  /** Instruction pointer as of the exit, for reports. */
  get rip(): bigint {
    return this.#view.getBigUint64(RunOffset.registers + RegisterOffset.rip, true);
  }

  /** Sets RAX for the guest to find; the upper word becomes 0. */
  answerRax(value: number): void {
    this.#view.setUint32(RunOffset.registers + RegisterOffset.rax, value, true);
    this.#view.setUint32(RunOffset.registers + RegisterOffset.rax + 4, 0, true);
    this.#view.setUint32(RunOffset.dirtyRegisters, SYNC_REGISTERS, true);
  }
}
