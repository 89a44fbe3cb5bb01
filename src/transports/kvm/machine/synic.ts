/**
 * The synthetic interrupt controller, host side: puts messages into the guest's message slots and sets its event flags.
 *
 * Message slot (256 bytes at SIMP + 256 * SINT; the words are what `Atomics` works on):
 *
 *     word 0  message type   0 = free; the guest clears it when it has copied the message
 *     word 1  payload bytes (8 bits), flags (8 bits; bit 0: another message waits, so write EOM when done), 0
 *     words 2, 3  sender     0
 *     words 4..  payload, up to 240 bytes
 *
 * One message per slot at a time; the others wait here. Nothing but the type word and the event words is ever read from
 * the guest's pages, and what is read decides only whether to wait or to interrupt.
 *
 * Source: Hyper-V TLFS, "Virtual Interrupt Control" (SynIC message page, event flags page, EOM); Linux
 * `drivers/hv/hyperv_vmbus.h` `vmbus_signal_eom` for the order on the guest's side.
 */
import { MAX_MESSAGE_BYTES, PostStatus } from '../../../bus/control-port.ts';
import type { GuestRam } from './guest-ram.ts';
import { ENABLED, type HypervRegisters, SINT_MASKED, SINT_POLLING, VpRegister } from './hyperv-registers.ts';

/** The synthetic interrupt that VMBus uses, for messages and events. Source: Linux `VMBUS_MESSAGE_SINT`. */
export const VMBUS_SINT = 2;

const SLOT_BYTES = 256;
const MESSAGE_PENDING = 1 << 8;
const VMBUS_MESSAGE_TYPE = 1;
/** Event flags per SINT. */
export const EVENT_FLAG_COUNT = 2048;

/**
 * Messages that may wait for the guest before its own posts are held back. A guest that posts without ever reading
 * answers is stopped there; the answers to one post may still go beyond it (a request for offers has many).
 */
export const CONGESTED_MESSAGES = 64;

export interface InterruptSink {
  /** Raise an edge on a virtual processor's APIC. @param vector 16..255 */
  interrupt(vp: number, vector: number): void;
}

export class Synic {
  readonly #ram: GuestRam;
  readonly #registers: HypervRegisters;
  readonly #sink: InterruptSink;
  readonly #waiting: Uint8Array[][];

  constructor(ram: GuestRam, registers: HypervRegisters, sink: InterruptSink) {
    this.#ram = ram;
    this.#registers = registers;
    this.#sink = sink;
    this.#waiting = Array.from({ length: registers.vpCount }, () => []);
  }

  /** Whether so many messages wait that the guest's own posts must wait too. */
  get isCongested(): boolean {
    return this.#waiting.some((queue) => queue.length >= CONGESTED_MESSAGES);
  }

  /**
   * Queues a message for a processor's slot and delivers it when the slot is free.
   * @param message at most 240 bytes; copied
   */
  post(vp: number, message: Uint8Array): PostStatus {
    const queue = this.#waiting[vp];
    if (queue === undefined) return PostStatus.InvalidConnectionId;
    if (message.length > MAX_MESSAGE_BYTES) return PostStatus.InsufficientMemory;
    queue.push(message.slice());
    this.pump(vp);
    return PostStatus.Success;
  }

  /** Delivers to every processor that can take a message now. Call when a guest wrote EOM or moved its SynIC. */
  pumpAll(): void {
    for (let vp = 0; vp < this.#waiting.length; vp++) this.pump(vp);
  }

  /** @returns whether a message was delivered */
  pump(vp: number): boolean {
    const queue = this.#waiting[vp];
    const next = queue?.[0];
    if (queue === undefined || next === undefined) return false;
    const slotAt = this.#slotAt(vp, VpRegister.Simp);
    if (slotAt < 0) return false;
    const words = this.#ram.words;
    const typeAt = slotAt / 4;
    if (Atomics.load(words, typeAt) !== 0) {
      Atomics.or(words, typeAt + 1, MESSAGE_PENDING);
      // The guest clears the type, then looks at the flag. If the type is clear by now it may have looked too early,
      // and no EOM would come.
      if (Atomics.load(words, typeAt) !== 0) return false;
    }
    queue.shift();
    this.#fill(slotAt, next, queue.length > 0);
    this.#assert(vp);
    return true;
  }

  /**
   * Sets an event flag and interrupts, unless it was set already: the guest has not looked since the last interrupt.
   * Out of range, or with the guest's SynIC off, nothing happens.
   */
  signal(vp: number, eventFlag: number): void {
    if (vp >= this.#registers.vpCount || eventFlag >= EVENT_FLAG_COUNT) return;
    const slotAt = this.#slotAt(vp, VpRegister.Siefp);
    if (slotAt < 0) return;
    const bit = 1 << (eventFlag & 31);
    const before = Atomics.or(this.#ram.words, slotAt / 4 + (eventFlag >>> 5), bit);
    if ((before & bit) === 0) this.#assert(vp);
  }

  /** Forgets what waits: the guest it was meant for is gone. */
  reset(): void {
    for (const queue of this.#waiting) queue.length = 0;
  }

  /** Per processor: messages that wait, and whether one is in the slot that the guest has not taken. */
  inspect(): { waitingMessages: number[]; isSlotTaken: boolean[] } {
    return {
      waitingMessages: this.#waiting.map((queue) => queue.length),
      isSlotTaken: this.#waiting.map((_, vp) => {
        const slotAt = this.#slotAt(vp, VpRegister.Simp);
        return slotAt >= 0 && Atomics.load(this.#ram.words, slotAt / 4) !== 0;
      }),
    };
  }

  /** Where VMBus' slot of a SynIC page is; -1 while the SynIC or the page is off, or the page is not RAM. */
  #slotAt(vp: number, register: number): number {
    if ((this.#registers.vp(vp, VpRegister.Scontrol) & ENABLED) === 0n) return -1;
    const place = this.#registers.vp(vp, register);
    if ((place & ENABLED) === 0n) return -1;
    const page = this.#ram.pageOf(place);
    return page < 0 ? -1 : page + SLOT_BYTES * VMBUS_SINT;
  }

  #fill(slotAt: number, message: Uint8Array, moreWait: boolean): void {
    const words = this.#ram.words;
    const at = slotAt / 4;
    words[at + 2] = 0;
    words[at + 3] = 0;
    this.#ram.bytes.set(message, slotAt + 16);
    Atomics.store(words, at + 1, message.length | (moreWait ? MESSAGE_PENDING : 0));
    // The type last: it hands the slot to the guest, with everything above visible.
    Atomics.store(words, at, VMBUS_MESSAGE_TYPE);
  }

  #assert(vp: number): void {
    const sint = this.#registers.vp(vp, VpRegister.Sint0 + VMBUS_SINT);
    if ((sint & (SINT_MASKED | SINT_POLLING)) !== 0n) return;
    this.#sink.interrupt(vp, Number(sint & 0xffn));
  }
}
