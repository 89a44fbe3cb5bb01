/**
 * One run of scenarios for one kernel: builds everything, runs it (on this machine's /dev/kvm if a processor is behind
 * it, else inside an emulated host), and gives back the folder of results.
 */
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { probeKvm } from '../../src/transports/kvm/doctor.ts';
import { buildDiskImage } from './image/disk-image.ts';
import { buildGuestInitramfs } from './image/guest-initramfs.ts';
import { buildHostImages } from './image/host-disk.ts';
import { CACHE_FOLDER, fetchKernel, findTools, run } from './image/packages.ts';
import { buildPayload } from './image/payload.ts';
import { runEmulatedHost } from './image/qemu.ts';
import type { ScenarioResult } from './scenarios/scenario.ts';

const HERE = import.meta.dirname;
const REPOSITORY = join(HERE, '../..');
/** No C library, no start files: see the program's first lines. */
const RING_TOOL_FLAGS = ['-O2', '-Wall', '-static', '-nostdlib', '-ffreestanding', '-fno-stack-protector'];
const RESULT_DISK_BYTES = 2 ** 30;

export interface GuestRunOptions {
  /** Kernel series, `6.1` or `6.12`. */
  readonly series: string;
  readonly scenarios: readonly string[];
  /** Longest time for one boot of the guest. */
  readonly timeoutMs: number;
}

export interface GuestRun {
  /** How the guest's host was run. */
  readonly host: 'this machine' | 'emulated';
  readonly kernel: string;
  /** Folder with one folder per scenario. */
  readonly results: string;
  /** A text file that a scenario left. */
  file(scenario: string, name: string): string;
  console(scenario: string): string;
  result(scenario: string): ScenarioResult;
}

export async function runGuests(options: GuestRunOptions): Promise<GuestRun> {
  const tools = findTools(['qemu-system-x86_64', 'busybox', 'mke2fs', 'xz', 'gcc']);
  const kernel = fetchKernel(options.series);
  const work = join(CACHE_FOLDER, `run-${options.series}`);
  const results = join(work, 'results');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(results, { recursive: true });

  const guestInitrd = join(work, 'guest.cpio');
  const ringTool = join(work, 'ring-tool');
  run(tools.gcc, [...RING_TOOL_FLAGS, '-o', ringTool, join(HERE, 'l2/ring-tool.c')]);
  const programs = { 'ring-tool': ringTool };
  buildGuestInitramfs({ kernel, busybox: tools.busybox, programs, scripts: join(HERE, 'l2') }, work, guestInitrd);
  const diskImage = join(work, 'disk.img');
  buildDiskImage(tools.mke2fs, work, diskImage);
  const isDirect = (await probeKvm()).state === 'usable';
  const payload = join(work, 'payload');
  await buildPayload(
    {
      repository: REPOSITORY,
      scenarios: join(HERE, 'scenarios'),
      kernel: kernel.vmlinuz,
      initrd: guestInitrd,
      diskImage,
      plan: { scenarios: options.scenarios, timeoutMs: options.timeoutMs },
    },
    payload,
    isDirect ? payload : '/test',
  );
  if (isDirect) {
    const main = join(payload, 'scenarios/main.js');
    await promisify(execFile)(process.execPath, [main, join(payload, 'plan.json'), results], { maxBuffer: 2 ** 26 });
  } else {
    await runEmulated(options, work, payload, results, tools);
  }
  const file = (scenario: string, name: string) => readFileSync(join(results, scenario, name), 'utf8');
  return {
    host: isDirect ? 'this machine' : 'emulated',
    kernel: kernel.name,
    results,
    file,
    console: (scenario) => file(scenario, 'console.log'),
    result: (scenario) => JSON.parse(file(scenario, 'result.json')) as ScenarioResult,
  };
}

async function runEmulated(
  options: GuestRunOptions,
  work: string,
  payload: string,
  results: string,
  tools: Record<'qemu-system-x86_64' | 'busybox' | 'mke2fs', string>,
): Promise<void> {
  // The emulated host's own kernel stays the same, whatever guest it runs.
  const hostKernel = fetchKernel('6.1');
  const images = buildHostImages(
    { kernel: hostKernel, busybox: tools.busybox, mke2fs: tools.mke2fs, scripts: join(HERE, 'l1'), payload },
    work,
  );
  const console = join(work, 'host-console.log');
  const archive = join(work, 'results.img');
  const fd = openSync(archive, 'w');
  ftruncateSync(fd, RESULT_DISK_BYTES);
  closeSync(fd);
  await runEmulatedHost({
    qemu: tools['qemu-system-x86_64'],
    kernel: hostKernel.vmlinuz,
    ...images,
    results: archive,
    console,
    timeoutMs: 60_000 + options.timeoutMs * options.scenarios.length,
  });
  const said = readFileSync(console, 'utf8');
  if (!said.includes('HOST: scenarios ended with status 0')) {
    throw new Error(`the scenarios failed in the emulated host; the end of ${console}:\n${said.slice(-3000)}`);
  }
  run('tar', ['-xf', archive, '-C', results]);
}
