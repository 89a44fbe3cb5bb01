/**
 * `npm run conformance [-- --json] [-- --all]`: runs the tests that carry rule numbers and prints one line per rule.
 *
 * Exit code 0 if every rule passes or is not applicable with a reason, 1 otherwise.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { loadRules } from './rules.ts';
import { countVerdicts, judge, type RuleVerdict, type TestResult } from './verdicts.ts';

interface VitestReport {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

const root = pathToFileURL(`${process.cwd()}/`);

/** Runs every test whose name carries a rule number. */
function runTests(): TestResult[] {
  const scratch = mkdtempSync(join(tmpdir(), 'vmbus-conformance-'));
  const output = join(scratch, 'report.json');
  try {
    const vitest = fileURLToPath(new URL('node_modules/vitest/vitest.mjs', root));
    const args = [vitest, 'run', '--reporter=json', `--outputFile=${output}`, '--testNamePattern=\\bK-\\d{3}\\b'];
    const run = spawnSync(process.execPath, args, { cwd: fileURLToPath(root), stdio: ['ignore', 'ignore', 'inherit'] });
    if (run.error !== undefined) throw run.error;
    const report = JSON.parse(readFileSync(output, 'utf8')) as VitestReport;
    return report.testResults.flatMap(({ message, assertionResults }) => {
      // A file that does not load has no assertions, and its rules would look merely untested.
      if (assertionResults.length === 0 && message !== '') throw new Error(message);
      return assertionResults
        .filter(({ status }) => status === 'passed' || status === 'failed')
        .map(({ title, status }) => ({ name: title, passed: status === 'passed' }));
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function printTable(verdicts: readonly RuleVerdict[], showsAll: boolean): void {
  const table = new Table({
    head: ['rule', 'verdict', 'tests', 'statement', 'source', 'evidence'],
    colWidths: [7, 16, 7, 70, 34, 10],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  for (const { id, verdict, tests, statement, source, evidence, reason } of verdicts) {
    if (!showsAll && verdict === 'pass') continue;
    const text = reason === undefined ? statement : `${statement}\nWhy: ${reason}`;
    table.push([id, verdict, tests.length, text, source, evidence]);
  }
  if (table.length > 0) process.stdout.write(`${table.toString()}\n`);
  const counts = countVerdicts(verdicts);
  process.stdout.write(
    `${counts.pass} pass, ${counts.fail} fail, ${counts['not applicable']} not applicable, ${counts.untested} untested, ` +
      `${verdicts.length} in all\n`,
  );
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    /** The table shows what does not pass unless this is set. */
    all: { type: 'boolean', default: false },
  },
});

const verdicts = judge(loadRules(root), runTests());
const counts = countVerdicts(verdicts);
if (values.json) {
  process.stdout.write(`${JSON.stringify({ schema: 'vmbus.conformance/1', counts, rules: verdicts }, undefined, 2)}\n`);
} else {
  printTable(verdicts, values.all);
}
process.exitCode = counts.fail + counts.untested === 0 ? 0 : 1;
