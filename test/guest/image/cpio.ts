/**
 * Writes an initial RAM disk: a cpio archive in the "new ASCII" format, without needing the cpio program.
 *
 * Source: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly data: Uint8Array;
}

const TRAILER: Entry = { path: 'TRAILER!!!', mode: 0, data: new Uint8Array() };

/** Everything below `folder`, owned by root. */
export function packCpio(folder: string): Buffer {
  const entries = [...walk(folder, ''), TRAILER];
  return Buffer.concat(entries.map((entry, index) => encode(entry, index + 1)));
}

function* walk(folder: string, path: string): Generator<Entry> {
  for (const name of readdirSync(join(folder, path)).sort()) {
    const entryPath = path === '' ? name : `${path}/${name}`;
    const full = join(folder, entryPath);
    const stat = lstatSync(full);
    if (stat.isDirectory()) {
      yield { path: entryPath, mode: stat.mode, data: new Uint8Array() };
      yield* walk(folder, entryPath);
    } else if (stat.isSymbolicLink()) {
      yield { path: entryPath, mode: stat.mode, data: Buffer.from(readlinkSync(full)) };
    } else {
      yield { path: entryPath, mode: stat.mode, data: readFileSync(full) };
    }
  }
}

function encode(entry: Entry, inode: number): Buffer {
  const name = Buffer.from(`${entry.path}\0`);
  const links = 1;
  const words = [inode, entry.mode, 0, 0, links, 0, entry.data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${words.map((word) => word.toString(16).padStart(8, '0')).join('')}`);
  return Buffer.concat([pad(Buffer.concat([header, name])), pad(entry.data)]);
}

/** To a multiple of 4. */
function pad(bytes: Uint8Array): Uint8Array {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}
