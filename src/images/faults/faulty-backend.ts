/** Any store, made worse: errors, delays and torn writes by rule, the same ones for the same seed and calls. */
import {
  BackendError,
  BackendFault,
  type BlockBackend,
  canDiscard,
  checkRange,
  type DiscardingBackend,
  type Extent,
} from '../../devices/scsi/block-backend.ts';
import { ScatterView } from '../../memory/scatter-view.ts';
import { zeroBuffers } from '../backing-file.ts';
import { writeZerosBlockwise } from '../zero-writes.ts';
import { checkFaultRule, type FaultRule, type FaultyCall } from './fault-rule.ts';
import { seededRandom } from './random.ts';

export interface FaultyBackendOptions {
  /** Default 1. */
  readonly seed?: number;
  /** Waits so many milliseconds; needed only by rules that delay. */
  readonly delay?: (delayMs: number) => Promise<void>;
  /** Is told of each fault. */
  readonly onFault?: (rule: FaultRule, call: FaultyCall, offsetBytes: number, byteCount: number) => void;
}

const FAULT_OF: Record<FaultyCall, BackendFault> = {
  read: BackendFault.Read,
  write: BackendFault.Write,
  flush: BackendFault.Write,
  discard: BackendFault.Write,
};

export class FaultyBackend implements DiscardingBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache: boolean;
  readonly identity: string;
  readonly discardGranularityBytes: number;
  readonly discardReadsZeros: boolean;
  readonly #inner: BlockBackend;
  readonly #rules: { readonly rule: FaultRule; seen: number; done: number }[];
  readonly #random: () => number;
  readonly #options: FaultyBackendOptions;

  /** @throws UsageError `ERR_ARGUMENT` for a rule that makes no sense, or one that delays without a way to */
  constructor(inner: BlockBackend, rules: readonly FaultRule[], options: FaultyBackendOptions = {}) {
    for (const rule of rules) checkFaultRule(rule);
    this.#inner = inner;
    this.#rules = rules.map((rule) => ({ rule, seen: 0, done: 0 }));
    this.#random = seededRandom(options.seed ?? 1);
    this.#options = options;
    this.sizeBytes = inner.sizeBytes;
    this.blockBytes = inner.blockBytes;
    this.readOnly = inner.readOnly;
    this.hasVolatileCache = inner.hasVolatileCache;
    this.identity = inner.identity;
    this.discardGranularityBytes = canDiscard(inner) ? inner.discardGranularityBytes : 0;
    this.discardReadsZeros = canDiscard(inner) && inner.discardReadsZeros;
  }

  async read(offsetBytes: number, target: ScatterView): Promise<void> {
    await this.#suffer('read', offsetBytes, target.byteLength);
    await this.#inner.read(offsetBytes, target);
  }

  async write(offsetBytes: number, source: ScatterView, forceUnitAccess: boolean): Promise<void> {
    const torn = await this.#suffer('write', offsetBytes, source.byteLength);
    if (torn === undefined) await this.#inner.write(offsetBytes, source, forceUnitAccess);
    else await this.#tear(torn, offsetBytes, source);
  }

  async flush(): Promise<void> {
    await this.#suffer('flush', 0, this.sizeBytes);
    await this.#inner.flush();
  }

  async discard(offsetBytes: number, byteCount: number): Promise<void> {
    await this.#suffer('discard', offsetBytes, byteCount);
    if (canDiscard(this.#inner)) await this.#inner.discard(offsetBytes, byteCount);
  }

  async writeZeroes(
    offsetBytes: number,
    byteCount: number,
    mayDeallocate: boolean,
    forceUnitAccess: boolean,
  ): Promise<void> {
    const torn = await this.#suffer('write', offsetBytes, byteCount);
    if (torn !== undefined) {
      const someBytes = Math.min(byteCount, 1024 * this.blockBytes);
      await this.#tear(torn, offsetBytes, ScatterView.over(zeroBuffers(someBytes)));
    } else if (canDiscard(this.#inner)) {
      await this.#inner.writeZeroes(offsetBytes, byteCount, mayDeallocate, forceUnitAccess);
    } else {
      await writeZerosBlockwise(offsetBytes, byteCount, (at, zeros) => this.#inner.write(at, zeros, forceUnitAccess));
    }
  }

  async extents(offsetBytes: number, byteCount: number, maxExtents: number): Promise<Extent[]> {
    if (canDiscard(this.#inner)) return this.#inner.extents(offsetBytes, byteCount, maxExtents);
    checkRange(this, offsetBytes, byteCount);
    return [{ offsetBytes, byteCount, isAllocated: true, isZero: false }];
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** Applies the rules in order. @returns the rule of a write that is to be torn @throws BackendError */
  async #suffer(call: FaultyCall, offsetBytes: number, byteCount: number): Promise<FaultRule | undefined> {
    for (const state of this.#rules) {
      const { rule } = state;
      if (!this.#applies(state, call, offsetBytes, byteCount)) continue;
      state.done++;
      this.#options.onFault?.(rule, call, offsetBytes, byteCount);
      if (rule.what === 'torn') return rule;
      if (rule.what === 'error') {
        throw new BackendError(rule.fault ?? FAULT_OF[call], `${call} at ${offsetBytes} fails by rule`);
      }
      await this.#options.delay?.(rule.delayMs ?? 100);
    }
    return undefined;
  }

  #applies(
    state: { readonly rule: FaultRule; seen: number; done: number },
    call: FaultyCall,
    offsetBytes: number,
    byteCount: number,
  ): boolean {
    const { on, what, every, probability, times, fromBytes, toBytes } = state.rule;
    if (on !== undefined ? on !== call : what === 'torn' && call !== 'write') return false;
    if (toBytes !== undefined && offsetBytes >= toBytes) return false;
    if (fromBytes !== undefined && fromBytes >= offsetBytes + byteCount) return false;
    if (times !== undefined && state.done >= times) return false;
    state.seen++;
    if (every !== undefined && state.seen % every !== 0) return false;
    return probability === undefined || this.#random() < probability;
  }

  /** Stores each block or not, by lot; one that the lot spares is always left out. */
  async #tear(rule: FaultRule, offsetBytes: number, source: ScatterView): Promise<void> {
    const { blockBytes } = this;
    const blockCount = source.byteLength / blockBytes;
    const spared = Math.floor(this.#random() * blockCount);
    for (let block = 0; block < blockCount; block++) {
      if (block === spared || this.#random() < 0.5) continue;
      const at = block * blockBytes;
      await this.#inner.write(offsetBytes + at, source.slice(at, blockBytes), false);
    }
    if (rule.silent !== true) {
      throw new BackendError(rule.fault ?? BackendFault.Write, `write at ${offsetBytes} is torn by rule`);
    }
  }
}
