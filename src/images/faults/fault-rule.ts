/** When a store is to fail, and how. */
import { BackendFault } from '../../devices/scsi/block-backend.ts';
import { UsageError } from '../../errors.ts';

export type FaultyCall = 'read' | 'write' | 'flush' | 'discard';

export interface FaultRule {
  /** Which calls; writing zeros counts as a write. Default: all. */
  readonly on?: FaultyCall;
  /**
   * `error`: the call does nothing and fails. `torn`: a write stores some of its blocks, never all, and fails (or says
   * that it went well, see `silent`). `delay`: the call waits first.
   */
  readonly what: 'error' | 'torn' | 'delay';
  /** Only every n-th call that the rest of the rule is about; 1 or more. Default 1. */
  readonly every?: number;
  /** Only so often, 0..1; drawn for each call. Default 1. */
  readonly probability?: number;
  /** At most so many times, 1 or more. Default: no limit. */
  readonly times?: number;
  /** Only calls that touch bytes from here .. */
  readonly fromBytes?: number;
  /** .. to here, this one not included. A flush touches all. */
  readonly toBytes?: number;
  /** What an `error` says. Default: that of the call. */
  readonly fault?: BackendFault;
  /** How long a `delay` is, milliseconds. Default 100. */
  readonly delayMs?: number;
  /** A `torn` write says that it went well. Default false. */
  readonly silent?: boolean;
}

const CALLS: readonly string[] = ['read', 'write', 'flush', 'discard'];
const WHATS: readonly string[] = ['error', 'torn', 'delay'];
const FAULTS: readonly string[] = Object.values(BackendFault);

/**
 * A rule as people write it: `error:on=read,every=100`, `torn:probability=0.01,silent`, `error:on=write,fault=no space`.
 * @throws UsageError `ERR_ARGUMENT`
 */
export function parseFaultRule(text: string): FaultRule {
  const [what = '', list = ''] = text.split(/:(.*)/s);
  if (!WHATS.includes(what)) throw wrong(text, `it begins with none of ${WHATS.join(', ')}`);
  const rule: Record<string, unknown> = { what };
  for (const part of list.split(',').filter((one) => one !== '')) {
    const [name = '', value = ''] = part.split(/=(.*)/s);
    if (name === 'silent' && !part.includes('=')) rule[name] = true;
    else if (name === 'on' || name === 'fault') rule[name] = value;
    else if (NUMBERS.has(name) && value.trim() !== '') rule[name] = Number(value);
    else throw wrong(text, `${part} is no part of a rule`);
  }
  checkFaultRule(rule as unknown as FaultRule, text);
  return rule as unknown as FaultRule;
}

const NUMBERS: ReadonlySet<string> = new Set(['every', 'probability', 'times', 'fromBytes', 'toBytes', 'delayMs']);

/** @throws UsageError `ERR_ARGUMENT` for a rule that makes no sense */
export function checkFaultRule(rule: FaultRule, name = JSON.stringify(rule)): void {
  const isCount = (value: number | undefined, least: number): boolean =>
    value === undefined || (Number.isSafeInteger(value) && value >= least);
  const { every, probability, times, fromBytes, toBytes, delayMs } = rule;
  if (!WHATS.includes(rule.what)) throw wrong(name, `${rule.what} is none of ${WHATS.join(', ')}`);
  if (rule.on !== undefined && !CALLS.includes(rule.on)) throw wrong(name, `${rule.on} is none of ${CALLS.join(', ')}`);
  if (rule.fault !== undefined && !FAULTS.includes(rule.fault)) {
    throw wrong(name, `${rule.fault} is none of ${FAULTS.join(', ')}`);
  }
  if (!isCount(every, 1) || !isCount(times, 1)) throw wrong(name, 'every and times are whole numbers from 1');
  if (!isCount(fromBytes, 0) || !isCount(toBytes, 0)) throw wrong(name, 'fromBytes and toBytes are whole numbers');
  if (probability !== undefined && !(probability >= 0 && probability <= 1)) throw wrong(name, 'probability is 0 to 1');
  if (delayMs !== undefined && !(delayMs >= 0 && delayMs <= 3_600_000)) throw wrong(name, 'delayMs is 0 to an hour');
  if (rule.what === 'torn' && rule.on !== undefined && rule.on !== 'write') {
    throw wrong(name, 'only a write can be torn');
  }
}

function wrong(name: string, why: string): UsageError {
  return new UsageError('ERR_ARGUMENT', `fault rule ${name}: ${why}`);
}
