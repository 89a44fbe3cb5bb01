/** `npm run docs:kmcl`: puts the function table into `docs/kmcl.md`, between its two marks. */
import { readFileSync, writeFileSync } from 'node:fs';
import { printFunctionTable, readFunctionTable } from './function-table.ts';
import { loadRules } from './rules.ts';

const BEGIN = '<!-- functions: written by npm run docs:kmcl -->';
const END = '<!-- end of functions -->';

/** @returns the document with the table as it should be */
export function withFunctionTable(document: string, root: URL): string {
  const from = document.indexOf(BEGIN);
  const to = document.indexOf(END);
  if (from < 0 || to < from) throw new Error('docs/kmcl.md has lost its marks');
  const table = printFunctionTable(readFunctionTable(loadRules(root)));
  return `${document.slice(0, from + BEGIN.length)}\n${table}\n${document.slice(to)}`;
}

if (process.argv[1]?.endsWith('write-kmcl-doc.js')) {
  const root = new URL(`file://${process.cwd()}/`);
  const path = new URL('docs/kmcl.md', root);
  writeFileSync(path, withFunctionTable(readFileSync(path, 'utf8'), root));
}
