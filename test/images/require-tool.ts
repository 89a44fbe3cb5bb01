/**
 * Real tools that some tests need. Where CI runs they must be there; elsewhere a test that lacks one says so.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';

const { CI, PATH } = process.env;

function isInstalled(tool: string): boolean {
  return (PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Call it first in a test.
 * @throws Error in CI if the tool is missing; elsewhere the test is skipped, with the reason in the report
 */
export function requireTool(context: TestContext, ...tools: string[]): void {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return;
  const why = `not installed: ${missing.join(', ')}`;
  if (CI !== undefined) throw new Error(`${why}; CI installs qemu-utils, libnbd-bin, fio, e2fsprogs and sg3-utils`);
  context.skip(why);
}
