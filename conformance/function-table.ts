/**
 * The table of `docs/kmcl.md`: one row per KMCL function, from its docstring, the interface tables and the rule list.
 * `npm run docs:kmcl` writes it; a test fails when it is out of date.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Rule } from './rules.ts';

export interface FunctionRow {
  readonly name: string;
  /** `V1` to `V5`, `server V1`, `server V5`, or `inline`. */
  readonly level: string;
  /** `documented`, or `inferred` from the name alone. */
  readonly status: string;
  readonly waits: boolean;
  /** What the docstring says under *Undocumented* and *Differs from Windows*. */
  readonly differs: string;
  readonly rules: readonly string[];
}

const FUNCTIONS = new URL('src/kmcl/functions/', rootOf());
const CALLBACKS = new URL('src/kmcl/callbacks.ts', rootOf());
const TABLES = new URL('src/kmcl/interface-tables.ts', rootOf());

/** Source files are read from the checkout, also when this file runs compiled from `build/`. */
function rootOf(): URL {
  return new URL(`file://${process.cwd()}/`);
}

/** Every documented function in the order of the interface tables, then the inline one. */
export function readFunctionTable(rules: readonly Rule[]): FunctionRow[] {
  const sources = [
    ...readdirSync(FUNCTIONS, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(new URL(name, FUNCTIONS), 'utf8')),
    readFileSync(CALLBACKS, 'utf8'),
  ];
  const docs = new Map(sources.flatMap(docstringsOf).map((found) => [found.name, found]));
  return readLevels().map(({ name, level }) => {
    const doc = docs.get(name);
    if (doc === undefined) throw new Error(`${name} has no docstring under ${FUNCTIONS.pathname}`);
    const isInferred = /^V[2-5]$|server V5/.test(level);
    return {
      name,
      level,
      status: isInferred ? 'inferred' : 'documented',
      waits: doc.waits,
      differs: [...sentencesAfter(doc.text, 'Undocumented'), ...sentencesAfter(doc.text, 'Differs from Windows')].join(
        ' ',
      ),
      rules: rules.filter((rule) => isAbout(rule, name)).map(({ id }) => id),
    };
  });
}

export function printFunctionTable(rows: readonly FunctionRow[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  return [
    '| Function | Interface | Status | Waits | Undocumented, or different from Windows | Rules |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows.map(
      ({ name, level, status, waits, differs, rules }) =>
        `| \`${name}\` | ${level} | ${status} | ${waits ? 'promise' : ''} | ${cell(differs)} | ${shortRules(rules)} |`,
    ),
  ].join('\n');
}

interface Docstring {
  readonly name: string;
  readonly text: string;
  readonly waits: boolean;
}

function docstringsOf(source: string): Docstring[] {
  const pattern = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*export (async )?function (V[A-Za-z_]+)([^{]*)\{/g;
  return [...source.matchAll(pattern)].map(([, text = '', isAsync, name = '', signature = '']) => ({
    name,
    text: text
      .split('\n')
      .map((line) => line.replace(/^\s*\* ?/, '').trim())
      .join('\n'),
    waits: isAsync !== undefined || signature.includes('Promise<'),
  }));
}

/** The sentences that a word begins, up to the next paragraph, tag or source line. */
function sentencesAfter(text: string, word: string): string[] {
  return [
    ...text.matchAll(new RegExp(`${word}:? ((?:(?!\\n\\n|\\n@|\\nSource:|\\nDiffers from Windows:)[\\s\\S])*)`, 'g')),
  ].map(([, sentence = '']) => {
    const flat = sentence.replaceAll('\n', ' ').trim();
    return /[.!]$/.test(flat) ? flat : `${flat}.`;
  });
}

/** The interface that first has each function, from the text of the tables. */
function readLevels(): { name: string; level: string }[] {
  const source = readFileSync(TABLES, 'utf8');
  const levels: { name: string; level: string }[] = [];
  for (const [, isServer, version, body = ''] of source.matchAll(
    /export const (?:client|(serverOnly))Methods(V\d)?\b[^=]*= \{([\s\S]*?)\n\} as const;/g,
  )) {
    const level = isServer === undefined ? (version ?? 'V1') : `server ${version ?? 'V1'}`;
    for (const [, name = ''] of body.matchAll(/^ {2}(Vmb\w+)[:,]/gm)) {
      if (!levels.some((known) => known.name === name)) levels.push({ name, level });
    }
  }
  return [...levels, { name: 'VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT', level: 'inline' }];
}

function isAbout(rule: Rule, name: string): boolean {
  const snake = `fn_${name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toLowerCase()}`;
  const isSource = rule.source.split(/[^a-z_]+/).includes(snake);
  const short = name.replace(/^Vmb(Channel|Packet)?/, '');
  return isSource || new RegExp(`\\b(${name}|${short})\\b`).test(rule.statement);
}

/** `K-176..K-179, K-185`. */
function shortRules(rules: readonly string[]): string {
  const numbers = rules.map((id) => Number(id.slice(2)));
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  const id = (number: number): string => `K-${String(number).padStart(3, '0')}`;
  return runs.map(([first, last]) => (first === last ? id(first) : `${id(first)}..${id(last)}`)).join(', ');
}
