import { expect, test } from 'vitest';
import { loadRules, NOT_APPLICABLE } from '../../conformance/rules.ts';
import { countVerdicts, judge } from '../../conformance/verdicts.ts';

const rules = loadRules(new URL('../../', import.meta.url));

test('the list holds 285 rules, numbered without a gap, each with a statement, a source and its evidence', () => {
  expect(rules.map(({ id }) => id)).toEqual(
    Array.from({ length: 285 }, (_, index) => `K-${String(index + 1).padStart(3, '0')}`),
  );
  for (const rule of rules) {
    expect(rule.statement.length).toBeGreaterThan(10);
    expect(rule.source).not.toBe('');
    expect(rule.evidence).toMatch(/^[DHGWIC](,[DHGWIC])*$/);
  }
});

test('a rule passes only when a test carries its number and none that does failed', () => {
  const some = rules.slice(0, 3);

  const verdicts = judge(some, [
    { name: 'K-001 one', passed: true },
    { name: 'K-001, K-002 both', passed: false },
  ]);

  expect(verdicts.map(({ verdict }) => verdict)).toEqual(['fail', 'fail', 'untested']);
  expect(countVerdicts(verdicts)).toEqual({ pass: 0, fail: 2, 'not applicable': 0, untested: 1 });
  expect(judge(some.slice(0, 1), [{ name: 'K-001 one', passed: true }])[0]?.verdict).toBe('pass');
});

test('at most five rules are not applicable, and each says why at length', () => {
  const reasons = Object.entries(NOT_APPLICABLE);

  expect(reasons.length).toBeLessThanOrEqual(5);
  for (const [id, reason] of reasons) {
    expect(rules.some((rule) => rule.id === id)).toBe(true);
    expect(reason.length).toBeGreaterThan(40);
  }
});
