/** A host's end of the bus, for one guest. */
import { type HostEnvironment, HostVmbus, type HostVmbusOptions } from '../../channel/index.ts';
import { SystemError } from '../../errors.ts';
import type { GuestMemory } from '../../memory/index.ts';
import { HostChannel, type OfferOptions, shutDownHostChannel } from '../channel/host-channel.ts';
import { checkMayWait } from '../waiting.ts';

export type HostOptions = HostVmbusOptions;

export class HostEnd implements AsyncDisposable {
  /**
   * The core underneath, for KMCL devices on the same bus (`createDeviceObject({ vmbus: bus.vmbus })`) and for what is
   * rare: `vmbus.bus` is the control plane.
   */
  readonly vmbus: HostVmbus;

  readonly #channels = new Set<HostChannel>();
  #lostBy: string | undefined;

  /** Use `Bus.host`. */
  constructor(env: HostEnvironment, options: HostOptions) {
    const { events = {} } = options;
    this.vmbus = new HostVmbus(env, {
      ...options,
      events: {
        lost: (reason) => {
          this.#lost(reason);
          events.lost?.(reason);
        },
        ...(events.connected
          ? { connected: (version: number, features: number) => events.connected?.(version, features) }
          : {}),
        ...(events.disconnected ? { disconnected: () => events.disconnected?.() } : {}),
        ...(events.dropped ? { dropped: (reason: string, bytes: Uint8Array) => events.dropped?.(reason, bytes) } : {}),
        ...(events.message
          ? { message: (way: 'sent' | 'received', bytes: Uint8Array) => events.message?.(way, bytes) }
          : {}),
      },
    });
  }

  /** The agreed `VmbusVersion`; 0 while no guest is connected. */
  get version(): number {
    return this.vmbus.bus.version;
  }

  /** The agreed `FeatureFlag` bits. */
  get features(): number {
    return this.vmbus.bus.features;
  }

  /** The guest's memory as the host sees it. */
  get memory(): GuestMemory {
    return this.vmbus.memory;
  }

  /**
   * Offers a channel, to the guest that is there or to the next. It runs as soon as the guest opens it.
   * @throws UsageError `ERR_ARGUMENT` for options that make no sense, `ERR_STATE` for an identity that is offered
   *   already; SystemError `ERR_TRANSPORT` if the guest is gone for good
   */
  offer(options: OfferOptions): HostChannel {
    if (this.#lostBy !== undefined) throw new SystemError('ERR_TRANSPORT', `the guest is gone: ${this.#lostBy}`);
    const channel = new HostChannel(this.vmbus, options);
    this.#channels.add(channel);
    void channel.closed.then(() => this.#channels.delete(channel));
    return channel;
  }

  /** The channels offered here. */
  get channels(): readonly HostChannel[] {
    return [...this.#channels];
  }

  /** Takes all offers made here back. Resolves when their devices are through. */
  async close(): Promise<void> {
    checkMayWait('close');
    await Promise.all(this.channels.map((channel) => channel.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The state of this end as a tree of plain values, for people and tools. */
  inspect(): object {
    return this.vmbus.inspect();
  }

  /** No guest will ever open anything here. */
  #lost(reason: string): void {
    this.#lostBy = reason;
    for (const channel of this.#channels) void shutDownHostChannel(channel);
  }
}
