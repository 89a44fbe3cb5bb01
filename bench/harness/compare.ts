/** What changed between two reports, row by row. */
import type { Report, Row } from './report.ts';

export function compareReports(before: Report, after: Report): string {
  const old = new Map(before.rows.map((row) => [key(row), row]));
  const lines = after.rows.flatMap((row) => {
    const then = old.get(key(row));
    if (then === undefined) return [`${key(row)}: new, ${row.median} ${row.unit}`];
    const change = ((row.median / then.median - 1) * 100).toFixed(1);
    return [`${key(row)}: ${then.median} -> ${row.median} ${row.unit} (${change} %)`];
  });
  const { machine: a } = before;
  const { machine: b } = after;
  const head = `${a.commit} (${a.cpu}, Node ${a.node}) -> ${b.commit} (${b.cpu}, Node ${b.node})`;
  return [head, ...lines].join('\n');
}

function key(row: Row): string {
  return `${row.suite} / ${row.contest} / ${row.way}`;
}
