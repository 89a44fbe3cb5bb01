/**
 * The host end's world when the guest is a virtual machine: messages go into its message slot, events become its
 * interrupts, its hypercalls come back as calls of the sinks.
 */
import type { ControlPort, PostStatus } from '../../bus/control-port.ts';
import type { HostEnvironment } from '../../channel/environment.ts';
import type { VerifierMaker } from '../../channel/index.ts';
import type { Scheduler } from '../../channel/scheduler.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { verifierMaker } from '../verifier-maker.ts';
import type { MailboxSink } from './machine/exit-mailbox.ts';
import type { Synic } from './machine/synic.ts';

export interface KvmHostEnvironmentOptions {
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  readonly synic: Synic;
  /** Virtual processor whose message slot gets the control messages: the one that the guest named at contact. */
  readonly messageVp: () => number;
}

export class KvmHostEnvironment implements HostEnvironment, MailboxSink {
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  readonly verifier: VerifierMaker;
  readonly control: ControlPort;
  readonly #synic: Synic;
  #messageSink: ((message: Uint8Array, connectionId: number) => void) | undefined;
  #signalSink: ((connectionId: number) => void) | undefined;
  #lostSink: ((reason: string) => void) | undefined;
  #isLost = false;

  constructor(options: KvmHostEnvironmentOptions) {
    this.memory = options.memory;
    this.scheduler = options.scheduler;
    this.verifier = verifierMaker(options.scheduler);
    this.#synic = options.synic;
    this.control = { post: (_connectionId, message): PostStatus => this.#synic.post(options.messageVp(), message) };
  }

  signal(eventFlag: number, targetVp: number): void {
    this.#synic.signal(targetVp, eventFlag);
  }

  onMessage(sink: (message: Uint8Array, connectionId: number) => void): void {
    this.#messageSink = sink;
  }

  onSignal(sink: (connectionId: number) => void): void {
    this.#signalSink = sink;
  }

  onLost(sink: (reason: string) => void): void {
    this.#lostSink = sink;
  }

  /** From the machine, in a turn of the event loop of its own: the guest posted a message. */
  message(connectionId: number, message: Uint8Array): void {
    this.#messageSink?.(message, connectionId);
  }

  /** From the machine: the guest signalled an event. */
  signalled(connectionId: number): void {
    this.#signalSink?.(connectionId);
  }

  /** From the machine: it will not run again. */
  lost(reason: string): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#lostSink?.(reason);
  }
}
