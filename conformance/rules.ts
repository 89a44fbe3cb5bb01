/**
 * The 285 statements about KMCL that the tests are named after.
 *
 * Where a statement comes from is its `evidence`: D a Microsoft DDI page of `vmbuskernelmodeclientlibapi.h` (`source`
 * names it), H the public WDK header's comments and annotations, G general Windows driver documentation, W the wire as
 * open sources have it, I an inference, C a choice of ours where nothing is public. The first letter covers the rule, the
 * next the exact status or the extension.
 */
import { readFileSync } from 'node:fs';

export interface Rule {
  /** `K-001` to `K-285`. */
  readonly id: string;
  readonly theme: string;
  readonly statement: string;
  readonly source: string;
  readonly evidence: string;
}

/** Rules that cannot be tested here, each with a reason that a reviewer would accept. */
export const NOT_APPLICABLE: Readonly<Record<string, string>> = {};

export function loadRules(root: URL): readonly Rule[] {
  return JSON.parse(readFileSync(new URL('conformance/rules.json', root), 'utf8')) as Rule[];
}

/** Rule numbers in a test's name: `K-026, K-039 …` names two. */
export function rulesNamedBy(testName: string): string[] {
  return [...new Set(testName.match(/\bK-\d{3}\b/g) ?? [])];
}
