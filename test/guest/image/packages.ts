/**
 * Gets what the guest test needs from Debian: tools on this machine, and kernel packages unpacked into a cache folder
 * (`VMBUS_GUEST_CACHE`, by default below the temporary folder).
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const { CI, PATH = '', VMBUS_GUEST_CACHE } = process.env;

export const CACHE_FOLDER = VMBUS_GUEST_CACHE ?? join(tmpdir(), 'vmbus-guest-cache');

/** Program and the Debian package that has it. */
const TOOLS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  xz: 'xz-utils',
  gcc: 'gcc',
} as const;
export type Tool = keyof typeof TOOLS;

/**
 * Paths of the tools; missing ones are installed in CI and asked for elsewhere.
 * @throws Error that names the command to run
 */
export function findTools<Name extends Tool>(names: readonly Name[]): Record<Name, string> {
  const missing = names.filter((name) => which(name) === undefined).map((name) => TOOLS[name]);
  if (missing.length > 0) installPackages([...new Set(missing)]);
  return Object.fromEntries(names.map((name) => [name, which(name) ?? name])) as Record<Name, string>;
}

/** A kernel package's contents: `boot/vmlinuz-…` and `lib/modules/…`. */
export interface KernelPackage {
  readonly name: string;
  readonly vmlinuz: string;
  readonly modules: string;
}

/** The newest cloud kernel of a series such as `6.1`, from the archives that this machine's apt knows. */
export function fetchKernel(series: string): KernelPackage {
  const name = newestKernel(series) ?? newestKernelAfterUpdate(series);
  if (name === undefined) {
    throw new Error(
      `apt knows no linux-image-${series}.*-cloud-amd64; add bookworm (6.1) or bookworm-backports (6.12) to its sources`,
    );
  }
  const folder = join(CACHE_FOLDER, name);
  if (!existsSync(folder)) unpack(name, folder);
  const boot = join(folder, 'boot');
  const vmlinuz = readdirSync(boot).find((file) => file.startsWith('vmlinuz-'));
  const release = readdirSync(join(folder, 'lib/modules'))[0];
  if (vmlinuz === undefined || release === undefined) throw new Error(`${name} holds no kernel`);
  return { name, vmlinuz: join(boot, vmlinuz), modules: join(folder, 'lib/modules', release, 'kernel') };
}

function newestKernelAfterUpdate(series: string): string | undefined {
  aptUpdate();
  return newestKernel(series);
}

function newestKernel(series: string): string | undefined {
  const pattern = `^linux-image-${series.replace('.', '\\.')}\\.[0-9].*-cloud-amd64$`;
  const names = run('apt-cache', ['search', '--names-only', pattern])
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '' && !name.includes('rt-'));
  return names.sort(byVersion).at(-1);
}

/** `6.12.100+deb12` after `6.12.9`: by the numbers in the name. */
function byVersion(a: string, b: string): number {
  const numbers = (name: string) => (name.match(/\d+/g) ?? []).map(Number);
  const left = numbers(a);
  const right = numbers(b);
  const at = left.findIndex((value, index) => value !== right[index]);
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}

function unpack(name: string, folder: string): void {
  mkdirSync(CACHE_FOLDER, { recursive: true });
  const scratch = `${folder}.new`;
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch);
  run('apt-get', ['download', '-q', name], scratch);
  const archive = readdirSync(scratch).find((file) => file.endsWith('.deb'));
  if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
  run('dpkg', ['-x', archive, '.'], scratch);
  rmSync(join(scratch, archive));
  // Whole or not at all: a run that was interrupted leaves no half cache.
  renameSync(scratch, folder);
}

function installPackages(packages: readonly string[]): void {
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (CI === undefined) throw new Error(`the guest test needs more tools; as root: ${command}`);
  aptUpdate();
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages]);
}

function aptUpdate(): void {
  run('apt-get', ['update', '-q']);
}

function which(name: string): string | undefined {
  const folders = [...PATH.split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @returns its standard output */
export function run(program: string, args: readonly string[], cwd?: string): string {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return execFileSync(program, args, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  });
}
