/** Both ends of a bus through the idiomatic face, moved by the test. */

import type { OpenOptions } from '../../src/api/index.ts';
import {
  Bus,
  type GuestChannel,
  type GuestEnd,
  type HostChannel,
  type HostEnd,
  type OfferOptions,
} from '../../src/api/index.ts';
import type { HostVmbusOptions } from '../../src/channel/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback, type Loopback } from '../../src/transports/loopback/index.ts';
import { StepScheduler } from '../peers/step-scheduler.ts';

export const INTERFACE_ID = '3f2c1b0a-9e8d-4c7b-8a69-5f4e3d2c1b0a';
export const INSTANCE_ID = '11111111-2222-4333-8444-555555555555';

export interface TwoBuses {
  readonly scheduler: StepScheduler;
  readonly loopback: Loopback;
  readonly host: HostEnd;
  readonly guest: GuestEnd;
  /** Runs everything, promises included. */
  settle(): Promise<void>;
}

export async function twoBuses(hostOptions: HostVmbusOptions = {}): Promise<TwoBuses> {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ memory: GuestMemory.allocate(1024), scheduler });
  const host = Bus.host(loopback.host, hostOptions);
  const guest = await settled(scheduler, Bus.guest(loopback.guest));
  await scheduler.settle();
  return { scheduler, loopback, host, guest, settle: () => scheduler.settle() };
}

export interface ChannelSetup {
  readonly offer?: Partial<OfferOptions>;
  readonly open?: OpenOptions;
  readonly host?: HostVmbusOptions;
}

export interface TwoEnds extends TwoBuses {
  readonly server: HostChannel;
  readonly client: GuestChannel;
}

/** A channel that runs, with room for 64 KiB of external data. */
export async function twoEnds(setup: ChannelSetup = {}): Promise<TwoEnds> {
  const buses = await twoBuses(setup.host);
  const server = someOffer(buses.host, setup.offer);
  await buses.settle();
  const client = await settled(buses.scheduler, openFirst(buses.guest, setup.open));
  await buses.settle();
  return { ...buses, server, client };
}

export function someOffer(host: HostEnd, options: Partial<OfferOptions> = {}): HostChannel {
  return host.offer({
    interfaceId: INTERFACE_ID,
    instanceId: INSTANCE_ID,
    name: 'server',
    maxExternalBytes: 65536,
    ...options,
  });
}

export async function openFirst(guest: GuestEnd, options: OpenOptions = {}): Promise<GuestChannel> {
  const offer = await guest.findOffer({ interfaceId: INTERFACE_ID });
  return await offer.open({ name: 'client', maxExternalBytes: 65536, ...options });
}

/** The outcome of a promise that needs the scheduler to move. */
export async function settled<T>(scheduler: StepScheduler, promise: Promise<T>): Promise<T> {
  // It may reject while the scheduler runs, before anybody waits for it.
  promise.catch(() => {});
  await scheduler.settle();
  return await promise;
}

/** What became of a promise by now. */
export interface Watched<T> {
  state: 'pending' | 'resolved' | 'rejected';
  value?: T;
  error?: unknown;
}

export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { state: 'pending' };
  promise.then(
    (value) => Object.assign(watched, { state: 'resolved', value }),
    (error: unknown) => Object.assign(watched, { state: 'rejected', error }),
  );
  return watched;
}

/** Eight bytes, so that the ring changes nothing about their length. */
export function eight(...bytes: number[]): Uint8Array {
  const eightBytes = new Uint8Array(8);
  eightBytes.set(bytes);
  return eightBytes;
}
