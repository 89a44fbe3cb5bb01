/**
 * What the core asks of the world: a transport hands one of these to each side of the bus.
 *
 * Nothing above a transport knows about threads, files, sockets or the clock. Every call here is asynchronous towards
 * the peer: `post` and the two `signal`s never run the other side's code before they return, and what a sink is called
 * with is called from a fresh turn of the transport's scheduler.
 */
import type { ControlPort } from '../bus/control-port.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Scheduler } from './scheduler.ts';
import type { VerifierMaker } from './watch.ts';

/** What a transport gives the guest end (it owns the memory). */
export interface GuestEnvironment {
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  /** How to watch over the channels of this end; without it `verifier: true` is refused. */
  readonly verifier?: VerifierMaker;
  /** Guest to host control messages. */
  readonly control: ControlPort;
  /** Raise the host's event for a channel: `HvSignalEvent` on the connection id that came with the offer. */
  signal(connectionId: number): void;
  /** Control messages from the host, in order. `message` is valid during the call only. */
  onMessage(sink: (message: Uint8Array) => void): void;
  /** The host raised event flag `eventFlag` (the relid, unless the guest chose another). Edges merge. */
  onInterrupt(sink: (eventFlag: number) => void): void;
  /** The host is gone (process died, socket closed). Nothing arrives any more. */
  onLost(sink: (reason: string) => void): void;
}

/** What a transport gives the host end, one per guest. */
export interface HostEnvironment {
  /** The guest's memory as the host sees it. */
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  /** As the guest's. */
  readonly verifier?: VerifierMaker;
  /** Host to guest control messages; the connection id is ignored (there is one message slot per guest). */
  readonly control: ControlPort;
  /** Interrupt the guest: set `eventFlag` for virtual processor `targetVp`. */
  signal(eventFlag: number, targetVp: number): void;
  /** Control messages from the guest, with the message connection that they were posted to. */
  onMessage(sink: (message: Uint8Array, connectionId: number) => void): void;
  /** The guest signalled the event connection `connectionId`. Edges merge. */
  onSignal(sink: (connectionId: number) => void): void;
  onLost(sink: (reason: string) => void): void;
}
