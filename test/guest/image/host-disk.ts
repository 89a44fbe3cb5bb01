/**
 * The emulated machine around the guest: an initial RAM disk that loads KVM, and an ext4 disk with Node, the installed
 * package, the scenarios and the guest's kernel and RAM disk.
 */
import { chmodSync, copyFileSync, cpSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packCpio } from './cpio.ts';
import { copyModules } from './modules.ts';
import { type KernelPackage, run } from './packages.ts';

const MODULES = [
  'irqbypass',
  'kvm',
  'kvm-amd',
  'virtio',
  'virtio_ring',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'virtio_blk',
];

export interface HostImages {
  readonly kernel: KernelPackage;
  readonly busybox: string;
  readonly mke2fs: string;
  /** Folder with `init.sh` and `run.sh`. */
  readonly scripts: string;
  /** Folder that becomes `/test`: scenarios, `node_modules`, the plan, kernels. */
  readonly payload: string;
}

/** Writes `host.cpio` and `host.img` into `work`. */
export function buildHostImages(parts: HostImages, work: string): { initrd: string; disk: string } {
  const initrd = join(work, 'host.cpio');
  const disk = join(work, 'host.img');
  buildInitramfs(parts, join(work, 'host-initramfs'), initrd);
  buildDisk(parts, join(work, 'host-root'), disk);
  return { initrd, disk };
}

function buildInitramfs(parts: HostImages, root: string, target: string): void {
  freshFolders(root, ['bin', 'dev', 'proc', 'sys', 'mods', 'mnt']);
  copyFileSync(parts.busybox, join(root, 'bin/busybox'));
  copyModules(parts.kernel.modules, MODULES, join(root, 'mods'));
  copyFileSync(join(parts.scripts, 'init.sh'), join(root, 'init'));
  chmodSync(join(root, 'init'), 0o755);
  writeFileSync(target, packCpio(root));
}

function buildDisk(parts: HostImages, root: string, target: string): void {
  freshFolders(root, ['bin', 'dev', 'proc', 'sys', 'tmp', 'usr/bin']);
  copyFileSync(parts.busybox, join(root, 'bin/busybox'));
  for (const name of ['sh', 'tar', 'mkdir', 'cp']) run('ln', ['-s', 'busybox', join(root, 'bin', name)]);
  copyWithLibraries(process.execPath, join(root, 'usr/bin/node'), root);
  cpSync(parts.payload, join(root, 'test'), { recursive: true, dereference: true });
  copyFileSync(join(parts.scripts, 'run.sh'), join(root, 'test/run.sh'));
  rmSync(target, { force: true });
  writeFileSync(target, '');
  truncateSync(target, 768 * 2 ** 20);
  // No journal and no checksums: the disk is read once and thrown away.
  run(parts.mke2fs, ['-q', '-t', 'ext4', '-O', '^metadata_csum,^has_journal', '-d', root, target]);
}

/** A dynamically linked program and every library that the loader finds for it. */
function copyWithLibraries(program: string, target: string, root: string): void {
  copyFileSync(program, target);
  chmodSync(target, 0o755);
  const libraries = run('ldd', [program]).match(/\/[^ )\n]+/g) ?? [];
  for (const library of new Set(libraries)) {
    const copy = join(root, library);
    mkdirSync(dirname(copy), { recursive: true });
    copyFileSync(library, copy);
  }
}

function freshFolders(root: string, folders: readonly string[]): void {
  rmSync(root, { recursive: true, force: true });
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
}
