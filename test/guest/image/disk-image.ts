/** The disk that the guest mounts: ext4 with a text, 64 MiB of random bytes, and their checksum. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findTools, run } from './packages.ts';

/** Size of `random.bin`. */
const RANDOM_MIB = 64;
const DISK_MIB = 96;

/** Writes the image to `target`, with its contents prepared below `work`. */
export function buildDiskImage(mke2fs: string, work: string, target: string): void {
  const content = join(work, 'disk-content');
  rmSync(content, { recursive: true, force: true });
  mkdirSync(content);
  const random = randomBytes(RANDOM_MIB * 2 ** 20);
  writeFileSync(join(content, 'hello.txt'), 'hello from the host\n');
  writeFileSync(join(content, 'random.bin'), random);
  writeFileSync(join(content, 'sums.txt'), `${createHash('sha256').update(random).digest('hex')}  random.bin\n`);
  writeFileSync(target, '');
  truncateSync(target, DISK_MIB * 2 ** 20);
  run(mke2fs, ['-q', '-t', 'ext4', '-d', content, target]);
}

/** What became of a disk, seen from outside: read with e2fsprogs, without mounting it. */
export class DiskInspection {
  readonly #image: string;
  readonly #tools: Record<'debugfs' | 'e2fsck', string>;

  constructor(image: string) {
    this.#image = image;
    this.#tools = findTools(['debugfs', 'e2fsck']);
  }

  /** @returns what the check says; it throws if the file system is not whole */
  check(): string {
    return run(this.#tools.e2fsck, ['-f', '-n', this.#image]);
  }

  /** Contents of a file in the root folder. */
  read(name: string): Buffer {
    const target = `${this.#image}.${name}`;
    run(this.#tools.debugfs, ['-R', `dump /${name} ${target}`, this.#image]);
    return readFileSync(target);
  }
}
