/**
 * The folder that the machine under test runs from: the packed package installed as a user would, the scenarios
 * compiled against it, the guest's kernel and RAM disk, and the plan.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformWithEsbuild } from 'vite';
import type { Plan } from '../scenarios/plan.ts';
import { run } from './packages.ts';

export interface Payload {
  /** The repository's root, where `npm pack` runs. */
  readonly repository: string;
  /** Folder of the scenarios' sources. */
  readonly scenarios: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly diskImage: string;
  readonly plan: Omit<Plan, 'kernel' | 'initrd' | 'diskImage'>;
}

/** @param mountedAt where the machine under test finds `folder` */
export async function buildPayload(payload: Payload, folder: string, mountedAt: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  installPackage(payload.repository, folder);
  await compileScenarios(payload.scenarios, join(folder, 'scenarios'));
  const files = { kernel: 'vmlinuz', initrd: 'guest.cpio', diskImage: 'disk.img' } as const;
  const mounted = (name: string) => join(mountedAt, name);
  for (const key of ['kernel', 'initrd', 'diskImage'] as const) copyFileSync(payload[key], join(folder, files[key]));
  const plan: Plan = {
    ...payload.plan,
    kernel: mounted(files.kernel),
    initrd: mounted(files.initrd),
    diskImage: mounted(files.diskImage),
  };
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan, undefined, 2));
}

function installPackage(repository: string, folder: string): void {
  const archive = run('npm', ['pack', '--silent', '--pack-destination', folder], repository).trim().split('\n').at(-1);
  if (archive === undefined) throw new Error('npm pack named no archive');
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', join(folder, archive)], folder);
  rmSync(join(folder, archive));
}

/** Sources import the repository's folders, so that they are type-checked; what runs imports the package. */
async function compileScenarios(source: string, target: string): Promise<void> {
  for (const name of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const compiled = await transformWithEsbuild(readFileSync(join(source, name), 'utf8'), name, { target: 'es2022' });
    const code = compiled.code
      .replaceAll(/(['"])(?:\.\.\/)+src\/(.+?)(?:\/index)?\.ts\1/g, '$1vmbus/$2$1')
      .replaceAll(/(from ['"]\.[^'"]*)\.ts(['"])/g, '$1.js$2');
    const file = join(target, name.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, code);
  }
}
