/**
 * `npm run bench -- [FILTER] [--quick] [--json FILE] [--list]`
 *
 * Prints one table. FILTER is part of a suite's or contest's name; `--quick` only shows that everything runs. The
 * figures are kept with the processor, the Node version, the commit and the date, in `bench/results/local/` unless
 * `--json` says otherwise. `npm run bench -- compare OLD.json NEW.json` prints what changed.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { compareReports } from './harness/compare.ts';
import { describeMachine, projectDirectory } from './harness/machine.ts';
import { formatTable, type Report, type Row } from './harness/report.ts';
import { loadSuites } from './suites/index.ts';

const USAGE = 'usage: npm run bench -- [FILTER] [--quick] [--json FILE] [--list] | compare OLD.json NEW.json';

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      quick: { type: 'boolean' },
      list: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return console.log(USAGE);
  if (values.list === true)
    return console.log((await loadSuites('')).map(({ name, title }) => `${name}  ${title}`).join('\n'));
  if (positionals[0] === 'compare') {
    const [, before, after] = positionals;
    if (before === undefined || after === undefined || positionals.length > 3)
      throw new TypeError('compare takes two files');
    return console.log(compareReports(readReport(before), readReport(after)));
  }
  if (positionals.length > 1) throw new TypeError('one filter at most');
  const report = await runSuites(positionals[0] ?? '', values.quick === true);
  if (report.rows.length === 0) {
    console.error(`nothing is called ${positionals[0]}`);
    process.exitCode = 1;
    return;
  }
  console.log(formatTable(report.rows));
  console.log(`\n${report.notes.map((note) => `- ${note}`).join('\n')}`);
  const { cpu, cores, node, commit, date } = report.machine;
  console.log(`\n${cpu}, ${cores} cores, Node ${node}, commit ${commit}, ${date}`);
  const file = values.json ?? defaultFile(report);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
  console.error(`kept in ${relative('', file)}`);
}

async function runSuites(filter: string, isQuick: boolean): Promise<Report> {
  const rows: Row[] = [];
  const notes: string[] = [];
  for (const suite of await loadSuites(filter)) {
    const isWhole = suite.name.includes(filter);
    const suiteRows = await suite.run({
      wants: (contest) => isWhole || contest.includes(filter),
      isQuick,
      progress: (text) => console.error(`${suite.name}: ${text}`),
      note: (text) => {
        const note = `${suite.name}: ${text}`;
        if (!notes.includes(note)) notes.push(note);
      },
    });
    rows.push(...suiteRows);
  }
  return { version: 1, machine: describeMachine(), notes, rows };
}

/** Not under version control: what is worth keeping is named with `--json`. */
function defaultFile({ machine }: Report): string {
  return join(projectDirectory(), 'bench/results/local', `${machine.date.replace(/[:.]/g, '-')}.json`);
}

function readReport(file: string): Report {
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  if (report.version !== 1) throw new TypeError(`${file} is not a report of version 1`);
  return report;
}

try {
  await main();
} catch (error) {
  // Wrong usage and a file that is not there are a line; anything else is a bug in a benchmark and shows its stack.
  const isFileError = error instanceof Error && 'syscall' in error;
  if (!isFileError && !(error instanceof TypeError)) throw error;
  console.error(isFileError ? error.message : `${error.message}\n${USAGE}`);
  process.exitCode = isFileError ? 1 : 2;
}
