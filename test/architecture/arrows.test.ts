/**
 * The arrows between the layers point one way. This reads every import under src/ and fails on one that does not.
 * The table is the architecture; docs/architecture.md explains it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { importsOf } from './imports.ts';

const SOURCE = resolve(import.meta.dirname, '../../src');

/** Layer (a folder or file under src/) and what it may import besides itself and errors.ts. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'errors.ts': [],
  wire: [],
  memory: ['wire'],
  ring: ['wire', 'memory'],
  bus: ['wire', 'memory'],
  channel: ['wire', 'memory', 'ring', 'bus'],
  kmcl: ['wire', 'memory', 'channel'],
  // Listens at the points that channel/ declares; no core layer knows of it.
  verifier: ['wire', 'memory', 'channel'],
  // The two faces of the same core; neither sits on the other.
  api: ['wire', 'memory', 'channel'],
  'index.ts': ['api'],
  devices: ['wire', 'memory', 'channel', 'kmcl'],
  // A transport implements what memory/, bus/ and channel/ declare, and brings guests that speak the wire protocol.
  transports: ['wire', 'memory', 'ring', 'bus', 'channel', 'verifier'],
  // Disk images are stores behind the SCSI device's back-end interface; the NBD server knows only its own.
  images: ['wire', 'memory', 'devices'],
  nbd: [],
  cli: ['wire', 'memory', 'ring', 'bus', 'channel', 'kmcl', 'devices', 'transports', 'images', 'nbd'],
};

/** Who may touch the world: timers, sockets, threads, the clock, files. */
const MAY_TOUCH_THE_WORLD = ['transports', 'images', 'nbd', 'cli'];

/** Files in other layers that are an edge by their nature, each with its reason. */
const EDGES: Record<string, string> = {
  'devices/scsi/file-backend.ts': 'the disk image is a file; a device takes it as an interface',
};

/** Layers that may use packages from npm; everything else has no run-time dependency. */
const MAY_USE_PACKAGES: Record<string, readonly string[]> = {
  cli: ['commander', 'cli-progress', 'cli-table3'],
  transports: ['koffi'],
};

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort();

function layerOf(file: string): string {
  return file.split('/')[0] as string;
}

function faultsOf(file: string, source: string): string[] {
  const layer = layerOf(file);
  const allowed = MAY_IMPORT[layer];
  if (allowed === undefined) return [`${file}: ${layer} is not a layer of the architecture`];
  const faults: string[] = [];
  for (const specifier of importsOf(source)) {
    if (specifier.startsWith('.')) {
      const target = relative(SOURCE, resolve(SOURCE, dirname(file), specifier));
      const targetLayer = layerOf(target);
      if (targetLayer === '..') faults.push(`${file} imports ${specifier}, which is outside src/`);
      else if (targetLayer !== layer && targetLayer !== 'errors.ts' && !allowed.includes(targetLayer)) {
        faults.push(`${file} imports ${target}: ${layer} may not know of ${targetLayer}`);
      }
    } else if (specifier.startsWith('node:') || builtinModules.includes(specifier)) {
      if (!MAY_TOUCH_THE_WORLD.includes(layer) && EDGES[file] === undefined) {
        faults.push(`${file} imports ${specifier}: only ${MAY_TOUCH_THE_WORLD.join(' and ')} touch the world`);
      }
    } else if (!(MAY_USE_PACKAGES[layer] ?? []).includes(specifier)) {
      faults.push(`${file} imports the package ${specifier}, which ${layer} may not use`);
    }
  }
  return faults;
}

const WORLD_GLOBALS =
  /\b(?:setTimeout|setInterval|setImmediate|queueMicrotask|fetch|WebSocket|MessageChannel|Date\.now|new Date|performance\.now|process\.|console\.)/;

test('every import under src/ follows the arrows', () => {
  const faults = files.flatMap((file) => faultsOf(file, readFileSync(join(SOURCE, file), 'utf8')));

  expect(faults).toEqual([]);
});

test('only the edges use timers, the clock and the process', () => {
  const faults = files
    .filter((file) => !MAY_TOUCH_THE_WORLD.includes(layerOf(file)) && EDGES[file] === undefined)
    .filter((file) => {
      const source = readFileSync(join(SOURCE, file), 'utf8');
      return WORLD_GLOBALS.test(source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, ''));
    });

  expect(faults).toEqual([]);
});

test('the check sees all layers and finds a wrong arrow', () => {
  expect(new Set(files.map(layerOf))).toEqual(new Set(Object.keys(MAY_IMPORT)));
  expect(faultsOf('ring/writer.ts', "import { HostBus } from '../bus/host/index.ts';")).toEqual([
    'ring/writer.ts imports bus/host/index.ts: ring may not know of bus',
  ]);
  expect(faultsOf('kmcl/channel.ts', "import fs from 'node:fs';")).toHaveLength(1);
  expect(faultsOf('wire/guid.ts', "import x from 'uuid';")).toHaveLength(1);
  expect(faultsOf('wire/guid.ts', "export * from '../../test/x.ts';")).toHaveLength(1);
  expect(faultsOf('kmcl/channel.ts', "const x = await import('../devices/scsi/index.ts');")).toHaveLength(1);
  expect(
    faultsOf('kmcl/channel.ts', "import type { A } from '../channel/index.ts';\nimport '../wire/guid.ts';"),
  ).toEqual([]);
});
