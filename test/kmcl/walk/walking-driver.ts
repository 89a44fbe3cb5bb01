/**
 * A driver at one end that calls whatever comes to its mind, and keeps an account of what must come of it.
 *
 * Each method is one call, legal or not. It knows beforehand what the rule says: a bug check with this number, a
 * refusal, or neither; anything else is thrown and fails the walk.
 */
import { currentIrql, Irql } from '../../../src/channel/index.ts';
import {
  BugCheck,
  endpointOf,
  type Mdl,
  MmGetSystemAddressForMdlSafe,
  out,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_SUCCESS,
  STATUS_UNSUCCESSFUL,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  type VmbChannel,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketDeferToPassive,
  VmbChannelPacketFail,
  VmbChannelPacketGetExternalData,
  VmbChannelPause,
  VmbChannelSendSynchronousRequest,
  VmbChannelSetIncomingProcessingAtPassive,
  VmbChannelSetInterruptLatency,
  VmbChannelSetTransactionQuota,
  VmbChannelStart,
  type VmbClientChannel,
  type VmbPacket,
  VmbPacketAllocate,
  type VmbPacketCompletion,
  VmbPacketFree,
  VmbPacketInitialize,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
  VmbPacketSetCompletionRoutine,
} from '../../../src/kmcl/index.ts';
import { type Callback, CallbackOrder } from './callback-order.ts';
import type { Random } from './random.ts';

const WAIT = 1;
const MAX_BYTES = 1024;
/** Packets that it has at most, so that it uses them again. */
const MOST_PACKETS = 24;

interface Owned {
  state: 'idle' | 'underWay' | 'freed';
  readonly isInitialised: boolean;
}

/** What the walk around it provides. */
export interface Surroundings {
  readonly random: Random;
  /** Follows a promise to its end; it may reject with a bug check of one of these rules only. */
  follow(name: string, promise: Promise<unknown>, ...rules: string[]): void;
  /** A callback waits until the walk lets it go on. */
  gate(): Promise<void>;
  readonly isEnding: boolean;
}

export class WalkingDriver {
  readonly name: 'client' | 'server';
  readonly channel: VmbChannel;
  readonly order: CallbackOrder;
  /** Sends accepted, and routines run for them. */
  sent = 0;
  completed = 0;
  protected readonly around: Surroundings;
  readonly #packets = new Map<VmbPacket, Owned>();
  #held: VmbPacketCompletion[] = [];
  readonly #done = new Set<VmbPacketCompletion>();
  #requiresPassive = false;

  constructor(name: 'client' | 'server', channel: VmbChannel, around: Surroundings) {
    this.name = name;
    this.channel = channel;
    this.around = around;
    this.order = new CallbackOrder(name);
    VmbChannelInitSetMaximumPacketSize(channel, MAX_BYTES);
    VmbChannelInitSetProcessPacketCallbacks(
      channel,
      (_channel, packet, _buffer, _length, flags) => this.#got(packet, flags),
      () => this.#expect(currentIrql() <= Irql.Dispatch, 'ProcessingComplete above DISPATCH'),
    );
    const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
    callbacks.EvtChannelOpened = () => this.#opened();
    callbacks.EvtChannelStarted = () => this.#callback('Started');
    callbacks.EvtChannelPostStarted = () => this.#callback('PostStarted');
    callbacks.EvtChannelSuspend = () => this.#callback('Suspend');
    callbacks.EvtChannelClosed = () => this.#closed();
    VmbChannelInitSetStateChangeCallbacks(channel, callbacks);
  }

  get isDisabled(): boolean {
    return endpointOf(this.channel).isDisabled;
  }

  // --- its life

  enable(): void {
    const wasDisabled = this.isDisabled;
    const status = VmbChannelEnable(this.channel);
    this.#expect(wasDisabled ? status === STATUS_SUCCESS : status === STATUS_INVALID_DEVICE_STATE, `Enable: ${status}`);
  }

  disable(): void {
    this.around.follow('Disable', VmbChannelDisable(this.channel));
  }

  start(): void {
    VmbChannelStart(this.channel);
  }

  pause(): void {
    this.around.follow('Pause', VmbChannelPause(this.channel));
  }

  configure(): void {
    const wasDisabled = this.isDisabled;
    const status = VmbChannelInitSetMaximumPacketSize(this.channel, MAX_BYTES);
    this.#expect(status === (wasDisabled ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER_1), `InitSet: ${status}`);
  }

  tune(): void {
    const { random } = this.around;
    VmbChannelSetTransactionQuota(this.channel, random.pick([0, 1, 2, 8, 0xffff_ffff]));
    this.#requiresPassive = random.chance(20);
    VmbChannelSetIncomingProcessingAtPassive(this.channel, this.#requiresPassive);
    VmbChannelSetInterruptLatency(this.channel, random.below(100_000), out<number>());
  }

  // --- packets out

  takePacket(): void {
    const { random } = this.around;
    const live = [...this.#packets.values()].filter(({ state }) => state !== 'freed').length;
    if (live >= MOST_PACKETS) return;
    if (random.chance(70)) {
      const packet = VmbPacketAllocate(this.channel);
      this.#expect(packet !== null, 'no packet');
      this.#adopt(packet as VmbPacket, false);
      return;
    }
    const packet = out<VmbPacket>();
    const status = VmbPacketInitialize(this.channel, packet, random.pick([16, MAX_BYTES + 8, 65_536]));
    if (status === STATUS_SUCCESS) this.#adopt(packet.value, true);
  }

  /** Some packet, in whatever state it is. */
  send(): void {
    const packet = this.#somePacket();
    if (packet === undefined) return;
    const { random } = this.around;
    const owned = this.#packets.get(packet) as Owned;
    const bytes = random.pick([0, 1, 100, MAX_BYTES, MAX_BYTES + 1]);
    const flags = random.pick([0, WAIT, WAIT, WAIT, 2, 8]);
    const hasPages = this.name === 'client' && random.chance(40);
    const pages = random.pick([1, 1, 4, 300]);
    const payload = new Uint8Array(bytes);
    const isLegal =
      bytes <= MAX_BYTES && (hasPages ? flags === WAIT && pages <= 16 : flags <= WAIT) && !this.isDisabled;
    const before = owned.state;
    // The routine may run before the send returns.
    if (before === 'idle') owned.state = 'underWay';
    this.sent++;
    let status = -1;
    const rule = before === 'underWay' ? 'K-154' : before === 'freed' ? 'K-132' : null;
    this.#bugCheck(rule, 'send', () => {
      const pfns = new Float64Array(pages).fill(200);
      status = hasPages
        ? VmbPacketSendWithExternalPfns(packet, payload, bytes, pfns, pages, flags)
        : VmbPacketSend(packet, payload, bytes, null, flags);
    });
    if (status === STATUS_SUCCESS) {
      this.#expect(isLegal, `an illegal send was accepted (${bytes} bytes, flags ${flags}, ${pages} pages)`);
      return;
    }
    this.sent--;
    owned.state = before;
    this.#expect(rule !== null || !isLegal, `a legal send was refused: ${status.toString(16)}`);
  }

  free(): void {
    const packet = this.#somePacket();
    if (packet === undefined) return;
    const owned = this.#packets.get(packet) as Owned;
    const rule =
      owned.state === 'freed' ? 'K-132' : owned.isInitialised ? 'K-136' : owned.state === 'underWay' ? 'K-135' : null;
    this.#bugCheck(rule, 'free', () => VmbPacketFree(packet));
    if (rule === null) owned.state = 'freed';
    else if (owned.state === 'freed' && this.around.random.chance(50)) this.#packets.delete(packet);
  }

  request(): void {
    const { random } = this.around;
    const timeout = this.name === 'server' ? 0 : random.pick([0, -10_000, -1_000_000, null]);
    const flags = this.name === 'server' ? 0 : random.pick([0, WAIT]);
    const outcome = VmbChannelSendSynchronousRequest(this.channel, null, 0, null, flags, null, null, timeout);
    if (typeof outcome !== 'number') this.around.follow('request', outcome);
  }

  // --- packets in

  complete(): void {
    const packet = this.#take();
    if (packet === undefined) return;
    VmbChannelPacketComplete(packet, new Uint8Array(40), this.around.random.pick([0, 8, 40]));
  }

  completeAll(): void {
    while (this.#held.length > 0) this.complete();
  }

  /** What is illegal on a packet that is done, or held outside of its callback. */
  misusePacket(): void {
    const { random } = this.around;
    const [done] = this.#done;
    if (done !== undefined) {
      this.#bugCheck('K-221', 'complete again', () => VmbChannelPacketComplete(done, null, 0));
      this.#bugCheck('K-221', 'fail a completed one', () => VmbChannelPacketFail(done));
      this.#bugCheck('K-221', 'its data', () => VmbChannelPacketGetExternalData(done, 0, out<Mdl>()));
    }
    const held = this.#held[0];
    if (held === undefined) return;
    this.#bugCheck('K-233', 'defer outside', () => VmbChannelPacketDeferToPassive(held));
    this.#bugCheck('K-028', 'an answer that is not there', () => VmbChannelPacketComplete(held, null, 8));
    if (random.chance(5)) {
      this.#take(0);
      VmbChannelPacketFail(held);
    }
  }

  /** Nothing of this driver is left anywhere. */
  checkAtRest(): void {
    this.order.checkAtRest();
    this.#expect(this.sent === this.completed, `${this.sent} sends, ${this.completed} completions`);
    const endpoint = endpointOf(this.channel);
    this.#expect(endpoint.isDisabled, `is ${endpoint.stage}`);
    const tree = JSON.stringify(endpoint.inspect());
    for (const part of ['"queued":0,"inFlight":0', '"outstanding":0']) {
      this.#expect(tree.includes(part), `no ${part} in ${tree}`);
    }
    for (const [, { state }] of this.#packets) this.#expect(state !== 'underWay', 'a packet is still under way');
  }

  // --- for those who know what they are

  protected closing(): Promise<void> | void {}

  #opened(): number | Promise<number> {
    this.order.begin('Opened');
    const isAccepted = this.around.isEnding || !this.around.random.chance(10);
    const end = (): number => {
      this.order.end(isAccepted);
      return isAccepted ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
    };
    return this.#passTime(end);
  }

  #callback(callback: Callback): void | Promise<void> {
    this.order.begin(callback);
    return this.#passTime(() => this.order.end(true));
  }

  #closed(): void | Promise<void> {
    this.order.begin('Closed');
    const gone = this.closing();
    const end = (): void => this.order.end(true);
    return gone === undefined ? this.#passTime(end) : gone.then(end);
  }

  /** Does what a callback may and may not, and returns at once or later. */
  #passTime<T>(end: () => T): T | Promise<T> {
    const { random, isEnding } = this.around;
    if (!isEnding && random.chance(40)) {
      this.#bugCheck('K-097', 'Start in a callback', () => VmbChannelStart(this.channel));
      this.around.follow('Pause in a callback', VmbChannelPause(this.channel), 'K-097');
      this.around.follow('Disable in a callback', VmbChannelDisable(this.channel), 'K-097');
      this.takePacket();
      this.send();
      this.request();
    }
    if (isEnding || !random.chance(30)) return end();
    return this.around.gate().then(end);
  }

  #got(packet: VmbPacketCompletion, flags: number): void {
    const { random, isEnding } = this.around;
    this.order.packet(this.#requiresPassive);
    this.#expect(!this.#held.includes(packet), 'a packet is delivered while it is held');
    this.#done.delete(packet);
    const isAtDispatch = currentIrql() === Irql.Dispatch;
    if (isAtDispatch && random.chance(5)) {
      this.around.follow('Pause at DISPATCH', VmbChannelPause(this.channel), 'K-018');
      this.#bugCheck('K-211', 'a wait at DISPATCH', () =>
        VmbChannelSendSynchronousRequest(this.channel, null, 0, null, WAIT, null, null, null),
      );
    }
    if (flags !== 0) this.#lookAt(packet);
    if (isAtDispatch && !isEnding && random.chance(15)) {
      VmbChannelPacketDeferToPassive(packet);
      return;
    }
    this.#held.push(packet);
    if (random.chance(30)) this.complete();
  }

  #lookAt(packet: VmbPacketCompletion): void {
    const mdl = out<Mdl>();
    if (VmbChannelPacketGetExternalData(packet, 0, mdl) !== STATUS_SUCCESS) return;
    MmGetSystemAddressForMdlSafe(mdl.value).write(0, Uint8Array.of(1, 2, 3));
  }

  #adopt(packet: VmbPacket, isInitialised: boolean): void {
    const before = this.#packets.get(packet);
    this.#expect(before === undefined || before.state === 'freed', 'a packet in use was allocated');
    const owned: Owned = { state: 'idle', isInitialised };
    this.#packets.set(packet, owned);
    VmbPacketSetCompletionRoutine(packet, (own, status, buffer) => {
      this.completed++;
      this.#expect(own === packet, 'the routine of another packet');
      this.#expect(owned.state === 'underWay', `a completion for a packet that is ${owned.state}`);
      this.#expect(status === STATUS_SUCCESS || buffer === null, 'a failure with bytes');
      owned.state = 'idle';
      const { random, isEnding } = this.around;
      if (isEnding || random.chance(60)) return;
      if (random.chance(50)) this.send();
      else this.free();
    });
  }

  #somePacket(): VmbPacket | undefined {
    const packets = [...this.#packets.keys()];
    return packets.length === 0 ? undefined : this.around.random.pick(packets);
  }

  /** A held packet leaves our hands. */
  #take(index = this.around.random.below(Math.max(this.#held.length, 1))): VmbPacketCompletion | undefined {
    const [packet] = this.#held.splice(index, 1);
    if (packet === undefined) return undefined;
    this.#done.add(packet);
    if (this.#done.size > 8) this.#done.delete([...this.#done][0] as VmbPacketCompletion);
    return packet;
  }

  /** @param rule the bug check that has to come, `null` for none */
  #bugCheck(rule: string | null, name: string, call: () => unknown): void {
    try {
      call();
    } catch (error) {
      if (error instanceof BugCheck && error.rule === rule) return;
      throw error;
    }
    this.#expect(rule === null, `${name}: no bug check ${rule}`);
  }

  #expect(isTrue: boolean, what: string): void {
    if (!isTrue) throw new Error(`${this.name}: ${what}`);
  }
}

export function asClient(channel: VmbChannel): VmbClientChannel {
  return channel as VmbClientChannel;
}
