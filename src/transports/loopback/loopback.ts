/**
 * Host and guest on one event loop and one memory: for tests, simulation and learning.
 *
 * The two ends still meet only as they would across a partition border: control messages are copied, events are edges
 * that merge, and nothing that one end calls runs the other end's code before it returns.
 */

import { MAX_MESSAGE_BYTES, MessageConnection, PostStatus } from '../../bus/control-port.ts';
import type { GuestEnvironment, HostEnvironment } from '../../channel/environment.ts';
import type { Scheduler } from '../../channel/scheduler.ts';
import { UsageError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { EventLoopScheduler } from '../event-loop-scheduler.ts';
import { verifierMaker } from '../verifier-maker.ts';
import { EventLatch } from './event-latch.ts';

export interface LoopbackOptions {
  /** The guest's memory; by default 4096 pages (16 MiB) of a plain ArrayBuffer. */
  readonly memory?: GuestMemory;
  /** When things run; by default the event loop. A test or a simulation gives its own. */
  readonly scheduler?: Scheduler;
  /** False for a host older than protocol 5.0: it has no message connection 4. Default true. */
  readonly hasMulticlientPort?: boolean;
}

export interface Loopback {
  readonly guest: GuestEnvironment;
  readonly host: HostEnvironment;
  /** The guest vanishes without a word, as when its process dies: the host is told, and nothing flows any more. */
  loseGuest(reason: string): void;
  /** The host vanishes without a word. */
  loseHost(reason: string): void;
}

/** Connects a guest end to a host end inside this event loop. */
export function createLoopback(options: LoopbackOptions = {}): Loopback {
  const memory = options.memory ?? GuestMemory.allocate(4096);
  const scheduler = options.scheduler ?? new EventLoopScheduler();
  const hasMulticlientPort = options.hasMulticlientPort ?? true;

  let isConnected = true;
  let guestMessageSink: ((message: Uint8Array) => void) | undefined;
  let hostMessageSink: ((message: Uint8Array, connectionId: number) => void) | undefined;
  let guestLostSink: ((reason: string) => void) | undefined;
  let hostLostSink: ((reason: string) => void) | undefined;
  const verifier = verifierMaker(scheduler);
  const toGuest = new EventLatch(scheduler);
  const toHost = new EventLatch(scheduler);

  const copyOf = (message: Uint8Array): Uint8Array => {
    if (message.length > MAX_MESSAGE_BYTES) {
      throw new UsageError(
        'ERR_ARGUMENT',
        `a control message of ${message.length} bytes is longer than ${MAX_MESSAGE_BYTES}; send less in one message`,
      );
    }
    return message.slice();
  };

  const disconnect = (): void => {
    isConnected = false;
    toGuest.close();
    toHost.close();
  };

  return {
    guest: {
      memory,
      scheduler,
      verifier,
      control: {
        post(connectionId, message) {
          const copy = copyOf(message);
          if (connectionId === MessageConnection.Multiclient && !hasMulticlientPort) {
            return PostStatus.InvalidConnectionId;
          }
          scheduler.dispatch(() => {
            if (isConnected) hostMessageSink?.(copy, connectionId);
          });
          return PostStatus.Success;
        },
      },
      signal: (connectionId) => {
        if (isConnected) toHost.raise(connectionId);
      },
      onMessage: (sink) => {
        guestMessageSink = sink;
      },
      onInterrupt: (sink) => {
        toGuest.sink = sink;
      },
      onLost: (sink) => {
        guestLostSink = sink;
      },
    },
    host: {
      memory,
      scheduler,
      verifier,
      control: {
        post(_connectionId, message) {
          const copy = copyOf(message);
          scheduler.dispatch(() => {
            if (isConnected) guestMessageSink?.(copy);
          });
          return PostStatus.Success;
        },
      },
      signal: (eventFlag) => {
        if (isConnected) toGuest.raise(eventFlag);
      },
      onMessage: (sink) => {
        hostMessageSink = sink;
      },
      onSignal: (sink) => {
        toHost.sink = sink;
      },
      onLost: (sink) => {
        hostLostSink = sink;
      },
    },
    loseGuest(reason) {
      if (!isConnected) return;
      disconnect();
      scheduler.dispatch(() => hostLostSink?.(reason));
    },
    loseHost(reason) {
      if (!isConnected) return;
      disconnect();
      scheduler.dispatch(() => guestLostSink?.(reason));
    },
  };
}
