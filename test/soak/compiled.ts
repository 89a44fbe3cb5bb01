/**
 * Node runs threads and processes from JavaScript only: this compiles the peers that tests start, and all they import,
 * into a directory of this run's own under `build/`, so that runs beside each other do not meet.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const ROOT = resolve(import.meta.dirname, '../..');

export interface Compiled {
  /** Where the JavaScript of a source file is; `file` from the repository's root, as `test/soak/x.ts`. */
  pathOf(file: string): string;
  urlOf(file: string): URL;
  remove(): void;
}

/** @param files entries from the repository's root; what they import comes along */
export function compile(files: readonly string[]): Compiled {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const outDir = mkdtempSync(join(ROOT, 'build', 'test-'));
  const project = join(outDir, 'tsconfig.json');
  const compilerOptions = { outDir, rootDir: ROOT, noCheck: true, declaration: false, sourceMap: false };
  writeFileSync(
    project,
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions,
      include: [],
      files: files.map((file) => join(ROOT, file)),
    }),
  );
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const run = spawnSync(process.execPath, [tsc, '-p', project], { cwd: ROOT, encoding: 'utf8' });
  if (run.status !== 0) {
    rmSync(outDir, { recursive: true, force: true });
    throw new Error(`the peers do not compile:\n${run.stdout}${run.stderr}`);
  }
  const pathOf = (file: string): string => join(outDir, file.replace(/\.ts$/, '.js'));
  return {
    pathOf,
    urlOf: (file) => pathToFileURL(pathOf(file)),
    remove: () => rmSync(outDir, { recursive: true, force: true }),
  };
}
