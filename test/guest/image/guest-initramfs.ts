/** The initial RAM disk of the guest under test: busybox, the Hyper-V modules, and one shell script per job. */
import { chmodSync, copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packCpio } from './cpio.ts';
import { copyModules } from './modules.ts';
import type { KernelPackage } from './packages.ts';

/** In the order in which they are loaded. */
const MODULES = [
  'hv_vmbus',
  'scsi_common',
  'scsi_mod',
  'scsi_transport_fc',
  'sd_mod',
  'hv_storvsc',
  'uio',
  'uio_hv_generic',
];

export interface GuestInitramfs {
  readonly kernel: KernelPackage;
  /** A static busybox. */
  readonly busybox: string;
  /** Programs to put beside it: name and path. */
  readonly programs: Readonly<Record<string, string>>;
  /** Folder with `init` and `jobs/`. */
  readonly scripts: string;
}

/** Builds it below `work` and writes the archive to `target`. */
export function buildGuestInitramfs(parts: GuestInitramfs, work: string, target: string): void {
  const root = join(work, 'guest-root');
  rmSync(root, { recursive: true, force: true });
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'mods', 'mnt', 'tmp'])
    mkdirSync(join(root, folder), { recursive: true });
  copyFileSync(parts.busybox, join(root, 'bin/busybox'));
  for (const [name, path] of Object.entries(parts.programs)) copyFileSync(path, join(root, 'bin', name));
  copyModules(parts.kernel.modules, MODULES, join(root, 'mods'));
  copyFileSync(join(parts.scripts, 'init.sh'), join(root, 'init'));
  chmodSync(join(root, 'init'), 0o755);
  cpSync(join(parts.scripts, 'jobs'), join(root, 'jobs'), { recursive: true });
  writeFileSync(target, packCpio(root));
}
