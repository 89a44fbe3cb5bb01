/** From test results to one verdict for each rule. */
import { NOT_APPLICABLE, type Rule, rulesNamedBy } from './rules.ts';

export type Verdict = 'pass' | 'fail' | 'not applicable' | 'untested';

export interface TestResult {
  readonly name: string;
  readonly passed: boolean;
}

export interface RuleVerdict extends Rule {
  readonly verdict: Verdict;
  /** The tests that carry the rule's number, or the reason why none does. */
  readonly tests: readonly string[];
  readonly reason?: string;
}

/** A rule passes when at least one test carries its number and all that do passed. */
export function judge(rules: readonly Rule[], results: readonly TestResult[]): RuleVerdict[] {
  const byRule = new Map<string, TestResult[]>();
  for (const result of results) {
    for (const id of rulesNamedBy(result.name)) byRule.set(id, [...(byRule.get(id) ?? []), result]);
  }
  return rules.map((rule) => {
    const named = byRule.get(rule.id) ?? [];
    const tests = named.map((result) => result.name);
    const reason = NOT_APPLICABLE[rule.id];
    if (named.some((result) => !result.passed)) return { ...rule, verdict: 'fail', tests };
    if (named.length > 0) return { ...rule, verdict: 'pass', tests };
    return reason === undefined
      ? { ...rule, verdict: 'untested', tests }
      : { ...rule, verdict: 'not applicable', tests, reason };
  });
}

export function countVerdicts(verdicts: readonly RuleVerdict[]): Record<Verdict, number> {
  const counts: Record<Verdict, number> = { pass: 0, fail: 0, 'not applicable': 0, untested: 0 };
  for (const { verdict } of verdicts) counts[verdict]++;
  return counts;
}
