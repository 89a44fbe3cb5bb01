/**
 * A 16450 serial port, the guest's console: registers shared by all vCPU threads, bytes to and from the device thread.
 *
 * The transmitter is always empty again at once. The interrupt line is edge-triggered: it pulses when a reason to
 * interrupt appears, and the guest reads the identification register until no reason is left.
 *
 * Source: National Semiconductor data sheet NS16450, "Registers"; Linux `drivers/tty/serial/8250/8250_port.c`.
 */
import { ByteQueue } from './byte-queue.ts';
import { SharedLock } from './shared-lock.ts';

export const UART_PORT = 0x3f8;
export const UART_PORTS = 8;
export const UART_IRQ = 4;

const Register = {
  Data: 0,
  InterruptEnable: 1,
  InterruptId: 2,
  LineControl: 3,
  ModemControl: 4,
  LineStatus: 5,
  ModemStatus: 6,
  Scratch: 7,
} as const;

/** Interrupt enable register. */
const DATA_AVAILABLE = 1;
const TRANSMITTER_EMPTY = 2;
/** Interrupt identification register. */
const ID_NONE = 1;
const ID_TRANSMITTER_EMPTY = 2;
const ID_DATA_AVAILABLE = 4;
/** Line control register: registers 0 and 1 are the divisor. */
const DIVISOR_LATCH = 0x80;
/** Modem control register: outputs are wired to inputs. */
const LOOP = 0x10;
/** Line status register: data ready; transmitter holding and shift registers empty. */
const DATA_READY = 1;
const TRANSMITTER_IDLE = 0x60;
/** Modem status with nothing looped: carrier, data set ready, clear to send. */
const MODEM_READY = 0xb0;

/** Words of the shared state. */
const Word = {
  Lock: 0,
  Ier: 1,
  Lcr: 2,
  Mcr: 3,
  Scratch: 4,
  DivisorLow: 5,
  DivisorHigh: 6,
  TransmitPending: 7,
  LoopByte: 8,
};
const STATE_WORDS = 9;
const NO_BYTE = -1;

const OUTPUT_BYTES = 64 * 1024;
const INPUT_BYTES = 4096;

/** The memory that all threads build their `Uart` over. */
export interface UartMemory {
  readonly state: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
  readonly input: SharedArrayBuffer;
}

/** What the port asks of the thread that runs it. */
export interface UartHost {
  /** Pulse the interrupt line. */
  interrupt(): void;
  /** The device thread should take output. */
  outputReady(): void;
  /** Looked at while output waits for room. */
  isStopped(): boolean;
}

export class Uart {
  readonly #state: Int32Array;
  readonly #lock: SharedLock;
  readonly #output: ByteQueue;
  readonly #input: ByteQueue;
  readonly #host: UartHost;

  constructor(memory: UartMemory, host: UartHost) {
    this.#state = new Int32Array(memory.state);
    this.#lock = new SharedLock(this.#state, Word.Lock);
    this.#output = new ByteQueue(memory.output);
    this.#input = new ByteQueue(memory.input);
    this.#host = host;
  }

  static allocate(): UartMemory {
    const state = new SharedArrayBuffer(4 * STATE_WORDS);
    new Int32Array(state)[Word.LoopByte] = NO_BYTE;
    return { state, output: ByteQueue.allocate(OUTPUT_BYTES), input: ByteQueue.allocate(INPUT_BYTES) };
  }

  /** The guest reads a register. @param register 0..7 */
  read(register: number): number {
    this.#lock.acquire();
    try {
      return this.#read(register);
    } finally {
      this.#lock.release();
    }
  }

  /** The guest writes a register. @param register 0..7 @param value 0..255 */
  write(register: number, value: number): void {
    this.#lock.acquire();
    try {
      this.#write(register, value);
    } finally {
      this.#lock.release();
    }
  }

  /** Device thread: bytes typed at the console. @returns how many were taken; the guest must read before more fit */
  receive(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length && this.#input.put(bytes[taken] ?? 0)) taken++;
    if (taken > 0 && (Atomics.load(this.#state, Word.Ier) & DATA_AVAILABLE) !== 0) this.#host.interrupt();
    return taken;
  }

  /** Device thread: whether the guest has written anything since `takeOutput`. */
  get hasOutput(): boolean {
    return !this.#output.isEmpty;
  }

  /** Device thread: what the guest has written since the last call. Look at `hasOutput` afterwards. */
  takeOutput(): Uint8Array {
    return this.#output.take();
  }

  inspect(): Record<string, number | boolean> {
    return {
      interruptEnable: this.#get(Word.Ier),
      lineControl: this.#get(Word.Lcr),
      modemControl: this.#get(Word.Mcr),
      isTransmitPending: this.#get(Word.TransmitPending) !== 0,
      hasInput: !this.#input.isEmpty,
      hasOutput: this.hasOutput,
    };
  }

  /** Device thread, while no vCPU runs: as after power-on. Bytes on their way stay. */
  reset(): void {
    this.#state.fill(0);
    this.#state[Word.LoopByte] = NO_BYTE;
  }

  #read(register: number): number {
    switch (register) {
      case Register.Data:
        if (this.#isDivisorLatched) return this.#get(Word.DivisorLow);
        return Math.max(0, this.#isLooped ? this.#takeLoopByte() : this.#input.takeByte());
      case Register.InterruptEnable:
        return this.#get(this.#isDivisorLatched ? Word.DivisorHigh : Word.Ier);
      case Register.InterruptId:
        return this.#identify();
      case Register.LineControl:
        return this.#get(Word.Lcr);
      case Register.ModemControl:
        return this.#get(Word.Mcr);
      case Register.LineStatus:
        return TRANSMITTER_IDLE | (this.#hasData ? DATA_READY : 0);
      case Register.ModemStatus:
        return this.#modemStatus();
      default:
        return this.#get(Word.Scratch);
    }
  }

  #write(register: number, value: number): void {
    switch (register) {
      case Register.Data:
        if (this.#isDivisorLatched) this.#set(Word.DivisorLow, value);
        else this.#transmit(value);
        return;
      case Register.InterruptEnable:
        if (this.#isDivisorLatched) this.#set(Word.DivisorHigh, value);
        else this.#enableInterrupts(value & 0x0f);
        return;
      case Register.LineControl:
        this.#set(Word.Lcr, value);
        return;
      case Register.ModemControl:
        this.#set(Word.Mcr, value & 0x1f);
        return;
      case Register.Scratch:
        this.#set(Word.Scratch, value);
        return;
      default:
        // Line and modem status are read-only; a 16450 has no FIFO control register behind number 2.
        return;
    }
  }

  #transmit(byte: number): void {
    if (this.#isLooped) {
      this.#set(Word.LoopByte, byte);
    } else {
      while (!this.#output.put(byte)) {
        if (this.#host.isStopped()) return;
        this.#host.outputReady();
        this.#output.awaitRoom(50);
      }
      if (this.#output.isFirst) this.#host.outputReady();
    }
    this.#set(Word.TransmitPending, 1);
    if ((this.#get(Word.Ier) & TRANSMITTER_EMPTY) !== 0) this.#host.interrupt();
  }

  #enableInterrupts(enabled: number): void {
    const added = enabled & ~this.#get(Word.Ier);
    this.#set(Word.Ier, enabled);
    if ((added & TRANSMITTER_EMPTY) !== 0) this.#set(Word.TransmitPending, 1);
    const hasReason = (added & TRANSMITTER_EMPTY) !== 0 || ((added & DATA_AVAILABLE) !== 0 && this.#hasData);
    if (hasReason) this.#host.interrupt();
  }

  #identify(): number {
    const enabled = this.#get(Word.Ier);
    if ((enabled & DATA_AVAILABLE) !== 0 && this.#hasData) return ID_DATA_AVAILABLE;
    if ((enabled & TRANSMITTER_EMPTY) !== 0 && this.#get(Word.TransmitPending) !== 0) {
      this.#set(Word.TransmitPending, 0);
      return ID_TRANSMITTER_EMPTY;
    }
    return ID_NONE;
  }

  /** In loop mode DTR, RTS, OUT1 and OUT2 come back as DSR, CTS, RI and DCD. */
  #modemStatus(): number {
    if (!this.#isLooped) return MODEM_READY;
    const control = this.#get(Word.Mcr);
    return ((control & 1) << 5) | ((control & 2) << 3) | ((control & 4) << 4) | ((control & 8) << 4);
  }

  #takeLoopByte(): number {
    const byte = this.#get(Word.LoopByte);
    this.#set(Word.LoopByte, NO_BYTE);
    return byte;
  }

  get #hasData(): boolean {
    return this.#isLooped ? this.#get(Word.LoopByte) !== NO_BYTE : !this.#input.isEmpty;
  }

  get #isDivisorLatched(): boolean {
    return (this.#get(Word.Lcr) & DIVISOR_LATCH) !== 0;
  }

  get #isLooped(): boolean {
    return (this.#get(Word.Mcr) & LOOP) !== 0;
  }

  #get(word: number): number {
    return Atomics.load(this.#state, word);
  }

  #set(word: number, value: number): void {
    Atomics.store(this.#state, word, value);
  }
}
