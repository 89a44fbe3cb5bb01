/**
 * Runs the host image in QEMU's pure software emulation, with AMD's virtualisation extension emulated too, so that it
 * has a working /dev/kvm whatever this machine has.
 */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';

export interface EmulatedHost {
  readonly qemu: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
  /** File that becomes the second disk, for the results. */
  readonly results: string;
  /** File for the serial console. */
  readonly console: string;
  readonly timeoutMs: number;
}

/** @returns once it has turned itself off @throws Error when it did not in time */
export async function runEmulatedHost(host: EmulatedHost): Promise<void> {
  const drive = (file: string, extra: string) => ['-drive', `file=${file},if=virtio,format=raw${extra}`];
  const child = spawn(
    host.qemu,
    [
      ...['-machine', 'q35', '-accel', 'tcg,thread=multi,tb-size=1024'],
      ...['-cpu', 'qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt'],
      ...['-smp', '2', '-m', '3072', '-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none'],
      ...['-no-reboot', '-serial', 'stdio', '-kernel', host.kernel, '-initrd', host.initrd],
      ...drive(host.disk, ',snapshot=on'),
      ...drive(host.results, ''),
      ...['-append', 'console=ttyS0 quiet panic=1 mitigations=off random.trust_cpu=on'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const log = createWriteStream(host.console);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const timer = setTimeout(kill, host.timeoutMs);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
    if (code !== 0)
      throw new Error(`QEMU ended with ${code ?? 'a signal (time-out?)'}; its console is in ${host.console}`);
  } finally {
    clearTimeout(timer);
    process.off('exit', kill);
    log.end();
  }
}
