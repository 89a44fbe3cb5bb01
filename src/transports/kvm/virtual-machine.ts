/**
 * A virtual machine on /dev/kvm: a stock Linux kernel that finds Hyper-V, with our host end of VMBus behind it.
 *
 * Processors run in threads of their own; everything else (devices, bus, console) runs in the thread that called
 * `bootVirtualMachine`. RAM is one mapping that all of them see.
 */
import { readFileSync } from 'node:fs';
import type { HostEnvironment } from '../../channel/environment.ts';
import { UsageError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { EventLoopScheduler } from '../event-loop-scheduler.ts';
import { Libc, type NativeMapping } from '../native/index.ts';
import { KvmHostEnvironment } from './host-environment.ts';
import { SharedBell } from './machine/bell.ts';
import { type BootImage, loadKernel } from './machine/boot-loader.ts';
import { parseBzImage } from './machine/bzimage.ts';
import { ExitMailbox } from './machine/exit-mailbox.ts';
import { GuestRam } from './machine/guest-ram.ts';
import { HypervRegisters } from './machine/hyperv-registers.ts';
import { MachineRun, type ProcessorReport } from './machine/machine-run.ts';
import { checkMemoryBytes } from './machine/memory-layout.ts';
import { Synic } from './machine/synic.ts';
import { UART_IRQ, Uart } from './machine/uart.ts';
import type { MachineEnd } from './machine/vcpu-exits.ts';
import { openKvm } from './open-kvm.ts';
import { PanicWatch } from './panic-watch.ts';
import { type ReleasableBus, releaseGuest } from './release-guest.ts';

const MIB = 1024 * 1024;
export const MAX_CPUS = 4;

export interface BootOptions {
  /** A bzImage, or the path of one. */
  readonly kernel: string | Uint8Array;
  /** The initial RAM disk, or its path. */
  readonly initrd?: string | Uint8Array | undefined;
  /** Kernel command line; `console=ttyS0` sends the log to the console. */
  readonly append?: string | undefined;
  /** Virtual processors, 1 (the default) to 4. */
  readonly cpus?: number | undefined;
  /** 32 MiB to 3 GiB in whole pages; 256 MiB unless given. */
  readonly memoryBytes?: number | undefined;
  /** What the guest writes to its console. */
  readonly console?: ((bytes: Uint8Array) => void) | undefined;
  /** End the machine after so many milliseconds; never unless given. */
  readonly timeoutMs?: number | undefined;
  /** What a guest that resets itself gets: the end (the default) or another boot over the same devices. */
  readonly onReset?: 'exit' | 'restart' | undefined;
  /**
   * Called once before the guest runs: put a host end on the environment and offer devices.
   * @returns the host end, to be told when the guest was reset and waited for until its devices let go of the guest;
   *   `undefined` if nothing on it ever touches guest memory
   */
  readonly attach?: ((environment: HostEnvironment) => VirtualMachineClient | undefined) | undefined;
}

/** What a virtual machine asks of the host end that was attached to it; a `HostVmbus` has it. */
export interface VirtualMachineClient {
  readonly bus: ReleasableBus & {
    /** Virtual processor on which the guest wants its control messages. */
    readonly targetMessageVp: number;
  };
}

export interface VirtualMachineExit {
  readonly reason: 'power-off' | 'reset' | 'panic' | 'triple-fault' | 'timeout' | 'stopped' | 'fault';
  /** What is known beyond the reason: the panic's text, the processor's state. */
  readonly detail: string | undefined;
  /** Boots, 1 or more. */
  readonly boots: number;
  /** Each processor in the last boot: its exits to the host, and where it was at the end. */
  readonly processors: readonly ProcessorReport[];
}

/** How long a guest may go on after its panic, to finish its report or to reset itself. */
const PANIC_GRACE_MS = 3000;
/** How long devices may take to finish what the guest had asked for, once the machine has ended. */
const LET_GO_MS = 10_000;
/** Console output is handed over at most so often: one byte per exit would be one call per byte. */
const CONSOLE_DELAY_MS = 4;

/**
 * Boots a virtual machine.
 * @returns the running machine; `exited` tells how it ended
 * @throws UsageError `ERR_ARGUMENT` for what cannot be booted
 * @throws SystemError `ERR_TRANSPORT` without koffi, /dev/kvm or a capability of it
 */
export async function bootVirtualMachine(options: BootOptions): Promise<VirtualMachine> {
  const image = readImage(options);
  const cpus = options.cpus ?? 1;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) {
    throw new UsageError('ERR_ARGUMENT', `a machine has 1 to ${MAX_CPUS} processors, got ${cpus}`);
  }
  const memoryBytes = options.memoryBytes ?? 256 * MIB;
  checkMemoryBytes(memoryBytes);
  parseBzImage(image.kernel);
  const libc = await Libc.load();
  const kvmFd = openKvm(libc);
  const ram = libc.mapAnonymous(memoryBytes);
  try {
    return new VirtualMachine(libc, kvmFd, ram, cpus, image, options);
  } catch (error) {
    ram.release();
    libc.close(kvmFd);
    throw error;
  }
}

export class VirtualMachine {
  /** How the machine ended. Settles once nothing of it is left: no thread, no descriptor. */
  readonly exited: Promise<VirtualMachineExit>;
  /** The guest as the host end sees it. */
  readonly environment: HostEnvironment;
  readonly #libc: Libc;
  readonly #kvmFd: number;
  readonly #ramMapping: NativeMapping;
  readonly #ram: GuestRam;
  readonly #image: BootImage;
  readonly #options: BootOptions;
  readonly #registers: HypervRegisters;
  readonly #synic: Synic;
  readonly #mailboxes: readonly { buffer: SharedArrayBuffer; queue: ExitMailbox }[];
  readonly #uartMemory = Uart.allocate();
  readonly #uart: Uart;
  readonly #bellBuffer = new SharedArrayBuffer(4);
  readonly #bell = new SharedBell(this.#bellBuffer, () => {});
  readonly #host: KvmHostEnvironment;
  #client: VirtualMachineClient | undefined;
  #panic = new PanicWatch();
  #run: MachineRun | undefined;
  #boots = 0;
  #consoleTimer: NodeJS.Timeout | undefined;
  #panicTimer: NodeJS.Timeout | undefined;
  #isDrainArmed = false;
  /** Why we ended it, if we did. */
  #decided: Pick<VirtualMachineExit, 'reason' | 'detail'> | undefined;
  #processors: readonly ProcessorReport[] = [];

  /** Use `bootVirtualMachine`. */
  constructor(libc: Libc, kvmFd: number, ram: NativeMapping, cpus: number, image: BootImage, options: BootOptions) {
    this.#libc = libc;
    this.#kvmFd = kvmFd;
    this.#ramMapping = ram;
    this.#ram = new GuestRam(ram.buffer);
    this.#image = image;
    this.#options = options;
    this.#registers = HypervRegisters.allocate(cpus);
    this.#synic = new Synic(this.#ram, this.#registers, {
      interrupt: (vp, vector) => this.#run?.interrupt(vp, vector),
    });
    this.#mailboxes = Array.from({ length: cpus }, () => {
      const buffer = ExitMailbox.allocate();
      return { buffer, queue: new ExitMailbox(buffer) };
    });
    this.#uart = new Uart(this.#uartMemory, {
      interrupt: () => this.#run?.pulseIrq(UART_IRQ),
      outputReady: () => {},
      isStopped: () => true,
    });
    this.#host = new KvmHostEnvironment({
      memory: new GuestMemory([{ firstPfn: 0, bytes: this.#ram.bytes }]),
      scheduler: new EventLoopScheduler(),
      synic: this.#synic,
      messageVp: () => this.#client?.bus.targetMessageVp ?? 0,
    });
    this.environment = this.#host;
    loadKernel(this.#ram, image, cpus);
    this.#client = options.attach?.(this.#host);
    this.exited = this.#live();
  }

  /** Ends the machine as if its power were cut. @returns when nothing of it is left */
  async stop(): Promise<VirtualMachineExit> {
    this.#decide('stopped', undefined);
    return this.exited;
  }

  /** Bytes typed at the guest's console. @returns how many fit; the guest must read before more do */
  type(bytes: Uint8Array): number {
    return this.#uart.receive(bytes);
  }

  inspect(): object {
    return {
      boots: this.#boots,
      memoryBytes: this.#ram.byteLength,
      cpus: this.#registers.vpCount,
      isRunning: this.#run !== undefined,
      panic: this.#panic.report,
      synic: this.#synic.inspect(),
      console: this.#uart.inspect(),
    };
  }

  async #live(): Promise<VirtualMachineExit> {
    const { timeoutMs } = this.#options;
    const timeout =
      timeoutMs === undefined ? undefined : setTimeout(() => this.#decide('timeout', undefined), timeoutMs);
    try {
      for (;;) {
        const end = await this.#boot();
        if (end?.reason !== 'reset' || this.#options.onReset !== 'restart' || this.#decided !== undefined) {
          return this.#exit(end);
        }
        if (this.#panic.report !== undefined) return this.#exit(end);
        if (!(await this.#letGo(() => this.#decided !== undefined))) return this.#exit(undefined);
        this.#powerOn();
      }
    } finally {
      clearTimeout(timeout);
      clearTimeout(this.#panicTimer);
      this.#libc.close(this.#kvmFd);
      this.#host.lost('the virtual machine has ended');
      const giveUpAt = performance.now() + LET_GO_MS;
      // RAM that a device still uses is left to the garbage collector.
      if (await this.#letGo(() => performance.now() > giveUpAt)) this.#ramMapping.release();
    }
  }

  /** One run of the processors, with all it said handed over by the end. */
  async #boot(): Promise<MachineEnd | undefined> {
    this.#boots++;
    const run = new MachineRun(
      {
        libc: this.#libc,
        kvmFd: this.#kvmFd,
        ram: this.#ramMapping,
        registers: this.#registers,
        mailboxes: this.#mailboxes.map((mailbox) => mailbox.buffer),
        uart: this.#uartMemory,
        bell: this.#bellBuffer,
      },
      {
        bell: () => this.#drain(),
        crashed: (parameters, message) => {
          this.#panic.registers(parameters, message);
          this.#awaitLastWords();
        },
      },
    );
    this.#run = run;
    try {
      return await run.run();
    } finally {
      this.#run = undefined;
      this.#processors = run.processors.filter((processor) => processor !== undefined);
      this.#drain();
      this.#drainConsole();
      // What is still held back would reach the host end as if the next guest had said it.
      for (const { queue } of this.#mailboxes) queue.drain({ message() {}, signalled() {} }, () => true);
    }
  }

  /** The state after power-on, over the same RAM and the same host end. */
  #powerOn(): void {
    this.#ramMapping.clear();
    this.#registers.reset();
    this.#synic.reset();
    this.#uart.reset();
    loadKernel(this.#ram, this.#image, this.#registers.vpCount);
  }

  /** @returns whether no device uses the guest's RAM any more */
  async #letGo(isGivenUp: () => boolean): Promise<boolean> {
    return this.#client === undefined || (await releaseGuest(this.#client.bus, isGivenUp));
  }

  /** A vCPU thread has something for us. */
  #drain(): void {
    this.#bell.lower();
    if (this.#uart.hasOutput) this.#awaitOutput();
    this.#synic.pumpAll();
    const mayTakeMessage = () => !this.#synic.isCongested;
    let hasMore = false;
    for (const { queue } of this.#mailboxes) {
      queue.drain(this.#host, mayTakeMessage);
      hasMore ||= !queue.isEmpty;
    }
    // What came meanwhile waits a turn, so that a guest that never stops leaves room for everybody else. If the guest
    // must read first, its EOM calls us.
    if (hasMore && mayTakeMessage() && !this.#isDrainArmed) {
      this.#isDrainArmed = true;
      setImmediate(() => {
        this.#isDrainArmed = false;
        this.#drain();
      });
    }
  }

  #drainConsole(): void {
    clearTimeout(this.#consoleTimer);
    this.#consoleTimer = undefined;
    const bytes = this.#uart.takeOutput();
    // What was written while we took the rest may have seen a reader that still had something to take.
    if (this.#uart.hasOutput) this.#awaitOutput();
    if (bytes.length === 0) return;
    if (this.#panic.console(bytes)) this.#awaitLastWords();
    this.#options.console?.(bytes);
  }

  #awaitOutput(): void {
    this.#consoleTimer ??= setTimeout(() => this.#drainConsole(), CONSOLE_DELAY_MS);
  }

  #awaitLastWords(): void {
    this.#panicTimer ??= setTimeout(() => this.#decide('panic', this.#panic.report), PANIC_GRACE_MS);
  }

  #decide(reason: 'stopped' | 'timeout' | 'panic', detail: string | undefined): void {
    this.#decided ??= { reason, detail };
    this.#run?.stop();
  }

  #exit(end: MachineEnd | undefined): VirtualMachineExit {
    const common = { boots: this.#boots, processors: this.#processors };
    // However it ended then, a panic is why.
    if (this.#panic.report !== undefined) return { reason: 'panic', detail: this.#panic.report, ...common };
    if (end !== undefined) return { reason: end.reason, detail: end.detail, ...common };
    return { reason: this.#decided?.reason ?? 'stopped', detail: this.#decided?.detail, ...common };
  }
}

function readImage(options: BootOptions): BootImage {
  return {
    kernel: readIfPath(options.kernel, 'kernel'),
    initrd: options.initrd === undefined ? undefined : readIfPath(options.initrd, 'initial RAM disk'),
    commandLine: options.append ?? 'console=ttyS0',
  };
}

function readIfPath(source: string | Uint8Array, what: string): Uint8Array {
  if (typeof source !== 'string') return source;
  try {
    return readFileSync(source);
  } catch (cause) {
    throw new UsageError('ERR_ARGUMENT', `the ${what} ${source} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}
