import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readFunctionTable } from '../../conformance/function-table.ts';
import { loadRules } from '../../conformance/rules.ts';
import { withFunctionTable } from '../../conformance/write-kmcl-doc.ts';

const root = new URL('../../', import.meta.url);

test('docs/kmcl.md has one row for each of the 72 functions and the inline one', () => {
  const rows = readFunctionTable(loadRules(root));

  expect(rows.filter(({ level }) => level === 'V1')).toHaveLength(41);
  expect(rows.filter(({ level }) => level === 'server V1')).toHaveLength(14);
  expect(rows).toHaveLength(73);
  expect(rows.find(({ name }) => name === 'VmbPacketSendWithExternalPfns')?.rules).toContain('K-178');
});

test('docs/kmcl.md is what npm run docs:kmcl writes', () => {
  const document = readFileSync(new URL('docs/kmcl.md', root), 'utf8');

  expect(withFunctionTable(document, root)).toBe(document);
});
