/**
 * Load for the kill tests: both ends of one channel keep transactions under way in both directions, and count how each
 * of them ends. Whatever happens to the other end, every transaction must end exactly once.
 */
import {
  type GuestEnvironment,
  GuestVmbus,
  type HostEnvironment,
  HostVmbus,
  type Scheduler,
} from '../../src/channel/index.ts';
import {
  createDeviceObject,
  type DeviceObject,
  MmGetSystemAddressForMdlSafe,
  out,
  STATUS_SUCCESS,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  type VmbChannel,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketGetExternalData,
  VmbChannelStart,
  type VmbClientChannel,
  VmbClientChannelInitSetTargetPnp,
  type VmbPacket,
  VmbPacketAllocate,
  type VmbPacketCompletion,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
  VmbPacketSetCompletionRoutine,
  type VmbServerChannel,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../src/kmcl/index.ts';
import type { Mdl } from '../../src/memory/index.ts';

const INTERFACE_ID = '3f2c1b0a-9d8e-4f7a-8b6c-5d4e3f2a1b0c';
const INSTANCE_ID = '77777777-6666-4555-8444-333333333333';
/** Transactions that each end keeps under way. */
const OUTSTANDING = 32;
/** The server keeps this many packets back, to have some in its hands whenever the end comes. */
const HELD = 8;

/** How the transactions of one end ended. */
export class Ledger {
  started = 0;
  succeeded = 0;
  /** Ended with a status that says why no completion came. */
  failed = 0;
  /** Completion routines that ran for a transaction that was not under way. */
  doubled = 0;

  get underWay(): number {
    return this.started - this.succeeded - this.failed;
  }
}

export interface LoadOptions {
  /** Called for each packet that came and each transaction that ended. */
  readonly onProgress?: () => void;
  /** Time between the end of a transaction and the next one in its place, milliseconds; 0 for as fast as it goes. */
  readonly pauseMs?: number;
}

/** One end under load. */
export interface Load {
  readonly ledger: Ledger;
  /** Packets of the other end that came here. */
  readonly received: number;
  /** Resolves with the reason when the other end is lost. */
  readonly lost: Promise<string>;
  /** Ends the load from this side, or clears up after a loss; then nothing is under way. */
  stop(): Promise<void>;
}

/** The guest's end: connects, opens the channel, sends pages by number. */
export async function startGuestLoad(environment: GuestEnvironment, options: LoadOptions = {}): Promise<Load> {
  const lost = someday();
  const vmbus = new GuestVmbus(environment, { events: { lost: (reason) => lost.resolve(reason) } });
  await vmbus.connect();
  const channel = out<VmbClientChannel>();
  VmbChannelAllocate(createDeviceObject({ vmbus, name: 'load client' }), false, channel);
  VmbClientChannelInitSetTargetPnp(channel.value, INTERFACE_ID, INSTANCE_ID, null);
  const pfns = vmbus.pages.allocate(OUTSTANDING);
  const inline = new Uint8Array(16);
  const flags = VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION;
  return startLoad(channel.value, lost.promise, environment.scheduler, options, (packet, slot) =>
    VmbPacketSendWithExternalPfns(packet, inline, inline.length, pfns.slice(slot, slot + 1), 1, flags),
  );
}

/** The host's end: offers the channel, writes into the pages it is given, sends packets of its own. */
export function startHostLoad(environment: HostEnvironment, options: LoadOptions = {}): Load {
  const lost = someday();
  const vmbus = new HostVmbus(environment, { events: { lost: (reason) => lost.resolve(reason) } });
  const channel = out<VmbServerChannel>();
  const device: DeviceObject = createDeviceObject({ vmbus, name: 'load server' });
  VmbChannelAllocate(device, true, channel);
  VmbServerChannelInitSetTargetInterfaceId(channel.value, INTERFACE_ID, INSTANCE_ID);
  const inline = new Uint8Array(24);
  const load = startLoad(channel.value, lost.promise, environment.scheduler, options, (packet) =>
    VmbPacketSend(packet, inline, inline.length, null, VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION),
  );
  VmbChannelStart(channel.value);
  return load;
}

/** A promise and what resolves it. */
function someday(): { promise: Promise<string>; resolve: (reason: string) => void } {
  let resolve: (reason: string) => void = () => {};
  const promise = new Promise<string>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function startLoad(
  channel: VmbChannel,
  lost: Promise<string>,
  scheduler: Scheduler,
  { onProgress = () => {}, pauseMs = 0 }: LoadOptions,
  send: (packet: VmbPacket, slot: number) => number,
): Load {
  const ledger = new Ledger();
  const held: VmbPacketCompletion[] = [];
  let received = 0;
  let isRunning = false;
  const complete = (packet: VmbPacketCompletion): void => {
    const mdl = out<Mdl>();
    if (VmbChannelPacketGetExternalData(packet, 0, mdl) === STATUS_SUCCESS) {
      MmGetSystemAddressForMdlSafe(mdl.value).fill(received & 0xff);
    }
    VmbChannelPacketComplete(packet, Uint8Array.of(0, 0, 0, 0), 4);
  };
  VmbChannelInitSetMaximumExternalData(channel, 4096, 1);
  VmbChannelInitSetProcessPacketCallbacks(
    channel,
    (_channel, packet) => {
      received++;
      held.push(packet);
      if (held.length > HELD) complete(held.shift() as VmbPacketCompletion);
      onProgress();
    },
    null,
  );

  const slots = Array.from({ length: OUTSTANDING }, (_, slot) => ({ slot, isUnderWay: false }));
  const start = (packet: VmbPacket, state: { slot: number; isUnderWay: boolean }): void => {
    ledger.started++;
    state.isUnderWay = true;
    const status = send(packet, state.slot);
    if (status === STATUS_SUCCESS) return;
    // Not sent, so no routine will run: that is an end too.
    state.isUnderWay = false;
    ledger.failed++;
  };
  const again = (packet: VmbPacket, state: { slot: number; isUnderWay: boolean }): void => {
    const next = (): void => {
      if (isRunning) start(packet, state);
    };
    if (pauseMs > 0) scheduler.timer(pauseMs, next);
    else next();
  };
  const packets = slots.map((state) => {
    const packet = VmbPacketAllocate(channel);
    if (packet === null) throw new Error('no packet for the load');
    VmbPacketSetCompletionRoutine(packet, (_packet, status) => {
      if (!state.isUnderWay) ledger.doubled++;
      state.isUnderWay = false;
      if (status === STATUS_SUCCESS) ledger.succeeded++;
      else ledger.failed++;
      onProgress();
      if (status === STATUS_SUCCESS) again(packet, state);
    });
    return { packet, state };
  });

  const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
  callbacks.EvtChannelPostStarted = () => {
    isRunning = true;
    for (const { packet, state } of packets) start(packet, state);
  };
  callbacks.EvtChannelSuspend = () => {
    isRunning = false;
    while (held.length > 0) complete(held.shift() as VmbPacketCompletion);
  };
  VmbChannelInitSetStateChangeCallbacks(channel, callbacks);
  const enabled = VmbChannelEnable(channel);
  if (enabled !== STATUS_SUCCESS) throw new Error(`the load's channel: status 0x${enabled.toString(16)}`);
  return {
    ledger,
    get received() {
      return received;
    },
    lost,
    async stop() {
      await VmbChannelDisable(channel);
      VmbChannelCleanup(channel);
    },
  };
}
