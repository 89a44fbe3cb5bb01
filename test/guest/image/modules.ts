/** Copies kernel modules out of a kernel package, decompressed. */

import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param modules the package's module tree
 * @param names without `.ko`; one that is built into this kernel is skipped
 */
export function copyModules(modules: string, names: readonly string[], target: string): void {
  const files = readdirSync(modules, { recursive: true, encoding: 'utf8' });
  for (const name of names) {
    const found = files.find((file) => new RegExp(`(^|/)${name}\\.ko(\\.xz)?$`).test(file));
    if (found === undefined) continue;
    const source = join(modules, found);
    const copy = join(target, `${name}.ko`);
    if (found.endsWith('.xz')) writeFileSync(copy, execFileSync('xz', ['-dc', source], { maxBuffer: 2 ** 27 }));
    else copyFileSync(source, copy);
  }
}
