/** Every example runs as it stands, is short, and says what it is said to say. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, expect, test, vi } from 'vitest';

const FOLDER = new URL('../../examples/', import.meta.url);
const MAX_LINES = 60;

/** What each example prints. */
const PRINTS: Record<string, readonly string[]> = {
  'echo-channel.ts': [
    'host: ERR_STATE',
    'guest: 1 2 3 4 5 6 7 8, hello world!, then 0 bytes',
    'host: the guest is gone (closedByPeer)',
  ],
  'hello-channel.ts': ['completed: hello, guest'],
  'hello-kmcl.ts': ['STATUS_SUCCESS: hello, guest'],
  'save-restore.ts': ['new host: answer 7 to request 42'],
  'verifier.ts': ['thrown: K-221', 'delivered, completed', 'first in answer, then in onTimeOut'],
};

const examples = readdirSync(FOLDER).filter((name) => name.endsWith('.ts'));

afterEach(() => vi.restoreAllMocks());

test('each example is listed here', () => {
  expect(examples.sort()).toEqual(Object.keys(PRINTS).sort());
});

test.each(examples)('%s runs and prints what its reader expects', async (name) => {
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => lines.push(line));

  await import(new URL(name, FOLDER).href);

  expect(lines).toEqual(PRINTS[name]);
});

test.each(examples)(`%s has at most ${MAX_LINES} lines and imports nothing but the package`, (name) => {
  const source = readFileSync(new URL(name, FOLDER), 'utf8');

  expect(source.trimEnd().split('\n').length).toBeLessThanOrEqual(MAX_LINES);
  for (const [, specifier] of source.matchAll(/from '([^']+)'/g)) expect(specifier).toMatch(/^(vmbus|node:)/);
});
