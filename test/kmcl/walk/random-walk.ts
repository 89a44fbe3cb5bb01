/**
 * A walk: both ends of a channel, a scheduler that steps, and a seed that decides what happens next.
 *
 * Three kinds. `calls`: both drivers call what they like, legal or not. `scribbles`: besides, words of the rings change.
 * `messages`: besides, either end is sent control messages that the other never wrote, and in the end the transport is
 * lost.
 */
import { type GuestEnvironment, GuestVmbus, type HostEnvironment, HostVmbus } from '../../../src/channel/index.ts';
import {
  BugCheck,
  createDeviceObject,
  VmbChannelCleanup,
  VmbChannelInitSetMaximumExternalData,
  VmbClientChannelInitSetRingBufferPageCount,
} from '../../../src/kmcl/index.ts';
import { GuestMemory } from '../../../src/memory/index.ts';
import { createLoopback } from '../../../src/transports/loopback/index.ts';
import { StepScheduler } from '../../peers/step-scheduler.ts';
import { someClient, someServer } from '../two-endpoints.ts';
import { WalkingClient, WalkingServer } from './gpadl-drivers.ts';
import { Random } from './random.ts';
import type { Surroundings, WalkingDriver } from './walking-driver.ts';

export type WalkKind = 'calls' | 'scribbles' | 'messages';

const MEMORY_PAGES = 256;
const STEPS_REMEMBERED = 12;
/** Both rings, with two data pages each, lie somewhere in here. */
const RING_PAGES = 12;
const GUEST_ENDS_AFTER = 300;

type Message = { readonly bytes: Uint8Array; readonly connectionId: number };

export class RandomWalk implements Surroundings {
  readonly random: Random;
  isEnding = false;
  readonly #kind: WalkKind;
  readonly #scheduler = new StepScheduler();
  readonly #memory = GuestMemory.allocate(MEMORY_PAGES);
  readonly #guest: GuestVmbus;
  readonly #host: HostVmbus;
  readonly #client: WalkingClient;
  readonly #server: WalkingServer;
  readonly #gates: (() => void)[] = [];
  readonly #messages: Record<'toGuest' | 'toHost', Message[]> = { toGuest: [], toHost: [] };
  #deliverToGuest: (message: Uint8Array) => void = () => {};
  #deliverToHost: (message: Uint8Array, connectionId: number) => void = () => {};
  #loseHost: (reason: string) => void = () => {};
  #loseGuest: (reason: string) => void = () => {};
  readonly #following = new Map<number, string>();
  #nextFollowed = 1;
  #fault: unknown;
  readonly #latest: string[] = [];

  constructor(seed: number, kind: WalkKind, hasVerifier: boolean) {
    this.random = new Random(seed);
    this.#kind = kind;
    const scheduler = this.#scheduler;
    const loopback = createLoopback({ memory: this.#memory, scheduler });
    const record = (way: 'toGuest' | 'toHost', connectionId: number, message: Uint8Array): void => {
      const kept = this.#messages[way];
      if (kept.length < 64) kept.push({ bytes: message.slice(), connectionId });
    };
    const guestEnd: GuestEnvironment = {
      ...loopback.guest,
      control: {
        post: (connectionId, message) => {
          record('toHost', connectionId, message);
          return loopback.guest.control.post(connectionId, message);
        },
      },
      onMessage: (sink) => {
        this.#deliverToGuest = sink;
        loopback.guest.onMessage(sink);
      },
      onLost: (sink) => {
        this.#loseHost = sink;
      },
    };
    const hostEnd: HostEnvironment = {
      ...loopback.host,
      control: {
        post: (connectionId, message) => {
          record('toGuest', connectionId, message);
          return loopback.host.control.post(connectionId, message);
        },
      },
      onMessage: (sink) => {
        this.#deliverToHost = sink;
        loopback.host.onMessage(sink);
      },
      onLost: (sink) => {
        this.#loseGuest = sink;
      },
    };
    this.#guest = new GuestVmbus(guestEnd, { verifier: hasVerifier });
    this.#host = new HostVmbus(hostEnd, { verifier: hasVerifier });
    const client = someClient(createDeviceObject({ vmbus: this.#guest, name: 'guest device' }));
    const server = someServer(createDeviceObject({ vmbus: this.#host, name: 'host device' }));
    for (const channel of [client, server]) VmbChannelInitSetMaximumExternalData(channel, 65_536, 4);
    // Small rings, so that they are full more often than not.
    VmbClientChannelInitSetRingBufferPageCount(client, 2, 2);
    this.#client = new WalkingClient(client, this.#memory, this);
    this.#server = new WalkingServer(server, this);
    this.follow(
      'connect',
      this.#guest.connect().catch(() => undefined),
    );
    scheduler.run();
    this.#server.enable();
    this.#server.start();
    this.#client.enable();
  }

  /** The last things that it did, for whoever looks for the fault. */
  get latest(): readonly string[] {
    return this.#latest;
  }

  follow(name: string, promise: Promise<unknown>, ...rules: string[]): void {
    const id = this.#nextFollowed++;
    this.#following.set(id, name);
    promise.then(
      () => {
        this.#following.delete(id);
        if (rules.length > 0) this.#fault ??= new Error(`${name}: no bug check ${rules.join(' or ')}`);
      },
      (error: unknown) => {
        this.#following.delete(id);
        if (!(error instanceof BugCheck && rules.includes(error.rule))) this.#fault ??= error;
      },
    );
  }

  gate(): Promise<void> {
    return new Promise((resolve) => this.#gates.push(resolve));
  }

  /** One thing after the other; throws what went wrong. */
  async walk(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const [name, act] = this.#choose();
      this.#latest.push(name);
      if (this.#latest.length > STEPS_REMEMBERED) this.#latest.shift();
      act();
      await microtasks();
      this.#check();
    }
    await this.#finish();
  }

  #choose(): [string, () => void] {
    const { random } = this;
    const weight = random.below(100);
    const driver: WalkingDriver = random.chance(50) ? this.#client : this.#server;
    const { name } = driver;
    if (weight < 30) return ['scheduler', () => this.#steps(random.below(12))];
    if (weight < 48) return [`${name} send`, () => driver.send()];
    if (weight < 54) return [`${name} take packet`, () => driver.takePacket()];
    if (weight < 58) return [`${name} free`, () => driver.free()];
    if (weight < 68) return [`${name} complete`, () => driver.complete()];
    if (weight < 70) return [`${name} misuse packet`, () => driver.misusePacket()];
    if (weight < 73) return [`${name} request`, () => driver.request()];
    if (weight < 76) return ['let a callback go on', () => this.#gates.shift()?.()];
    if (weight < 78) return ['time', () => this.#scheduler.advance(random.pick([1, 20, 200]))];
    if (weight < 80) return [`${name} tune`, () => driver.tune()];
    if (weight < 81) return [`${name} configure`, () => driver.configure()];
    if (weight < 83) return ['client create GPADL', () => this.#client.createGpadl()];
    if (weight < 84) return ['client delete GPADL', () => this.#client.deleteGpadl()];
    if (weight < 85) return ['server map', () => this.#server.map(this.#client.gpadls)];
    if (weight < 87) return ['server unmap', () => this.#server.unmapAll()];
    if (weight < 90) return [`${name} enable`, () => driver.enable()];
    if (weight < 92) return [`${name} start`, () => driver.start()];
    if (weight < 94) return [`${name} pause`, () => driver.pause()];
    if (weight < 95) return [`${name} disable`, () => driver.disable()];
    if (this.#kind === 'scribbles' && weight < 97) return ['scribble', () => this.#scribble()];
    if (this.#kind === 'messages' && weight < 97) return ['hostile message', () => this.#hostileMessage()];
    return ['scheduler, all', () => this.#steps(200)];
  }

  #steps(count: number): void {
    for (let left = count; left > 0 && this.#scheduler.step(); left--);
  }

  #scribble(): void {
    const { random } = this;
    const page = this.#memory.page(random.below(RING_PAGES));
    const words = new Int32Array(page.buffer, page.byteOffset, 1024);
    const word = random.chance(60) ? random.pick([0, 1, 2, 3, 16]) : random.below(1024);
    words[word] = random.chance(60)
      ? random.pick([0, 1, 8, 16, 24, 0x40, 0x1000, 0x1ff8, 0x2000, -1])
      : random.below(0xffff_ffff);
  }

  /** One that was sent before, whole or with some bytes changed, cut or not; or nothing but noise. */
  #hostileMessage(): void {
    const { random } = this;
    const way = random.pick(['toGuest', 'toHost'] as const);
    const kept = this.#messages[way];
    const { bytes, connectionId } =
      kept.length > 0 && random.chance(80) ? random.pick(kept) : { bytes: this.#noise(), connectionId: 1 };
    const copy = bytes.slice(0, random.chance(80) ? bytes.length : random.below(bytes.length + 1));
    for (let changes = random.pick([0, 0, 1, 2, 8]); changes > 0 && copy.length > 0; changes--) {
      copy[random.below(copy.length)] = random.pick([0, 1, 2, 8, 0xff, random.below(256)]);
    }
    if (way === 'toGuest') this.#deliverToGuest(copy);
    else this.#deliverToHost(copy, connectionId);
  }

  #noise(): Uint8Array {
    const bytes = new Uint8Array(8 + this.random.below(232));
    for (let index = 8; index < bytes.length; index++) bytes[index] = this.random.below(256);
    bytes[0] = this.random.below(28);
    return bytes;
  }

  #check(): void {
    if (this.#fault !== undefined) throw this.#fault;
    for (const driver of [this.#client, this.#server]) {
      if (driver.completed > driver.sent) throw new Error(`${driver.name}: more completions than sends`);
    }
  }

  /** Brings all to an end and looks for what is left. */
  async #finish(): Promise<void> {
    this.isEnding = true;
    for (const driver of [this.#client, this.#server]) driver.disable();
    for (let round = 0; round < GUEST_ENDS_AFTER; round++) {
      for (const go of this.#gates.splice(0)) go();
      for (const driver of [this.#client, this.#server]) driver.completeAll();
      this.#server.unmapAll();
      this.#scheduler.run();
      await microtasks();
      this.#check();
      if (round === 20 && this.#kind === 'messages') {
        // Whoever believed what was not true waits for what will not come; a peer that is gone ends that.
        this.#loseHost('the walk is over');
        this.#loseGuest('the walk is over');
      }
      if (this.#following.size === 0 && this.#scheduler.ready === 0 && round > 25) break;
    }
    this.#checkAtRest();
  }

  #checkAtRest(): void {
    const stuck = [...this.#following.values()];
    if (stuck.length > 0) throw new Error(`never settled: ${stuck.join(', ')}`);
    for (const driver of [this.#client, this.#server]) driver.checkAtRest();
    const left = {
      timers: this.#scheduler.timers,
      pages: MEMORY_PAGES - this.#guest.pages.freePages,
      guestGpadls: this.#guest.bus.inspect().gpadlCount,
      hostGpadls: this.#host.bus.inspect().gpadls.count,
      guestChannels: this.#guest.channels.length,
      hostChannels: this.#host.channels.length,
    };
    const isClean = Object.values(left).every((count) => count === 0);
    if (!isClean) throw new Error(`left behind: ${JSON.stringify(left)}`);
    for (const driver of [this.#client, this.#server]) VmbChannelCleanup(driver.channel);
  }
}

/** Enough turns for a chain of awaits inside one call. */
async function microtasks(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await undefined;
}
