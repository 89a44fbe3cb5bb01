/** A host's channel towards the bus: offers itself, takes up the rings that the guest brings, and lets go of them. */
import type { HostDevice, HostOffer, HostOpenRequest } from '../../bus/host/index.ts';
import { PeerError } from '../../errors.ts';
import type { GuestMemory, Mdl } from '../../memory/index.ts';
import { RingMemory, RingReader, RingWriter } from '../../ring/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import type { Guid } from '../../wire/guid.ts';
import {
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_2,
  STATUS_IO_DEVICE_ERROR,
  STATUS_NOT_FOUND,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import type { ChannelSide, CreatedGpadl, GpadlAccess, GpadlMapping } from '../channel-side.ts';
import { isReadOnly } from '../gpadl-access.ts';
import type { Ending } from '../life-cycle.ts';
import { chainOf } from '../packets/external-data.ts';
import type { Scheduler } from '../scheduler.ts';
import type { ChannelOffer, HostVmbus } from './host-vmbus.ts';

export class HostChannelSide implements ChannelSide, HostDevice {
  /** A host reserves no memory-mapped I/O space; its guest does. */
  readonly mmioSpace = null;
  readonly params: ChannelOffer;
  readonly #vmbus: HostVmbus;
  readonly #endpoint: ChannelEndpoint;
  readonly #mapped = new Map<number, Mdl>();
  #offer: HostOffer | null = null;
  /** What the guest signals while the channel is open; 0 otherwise. */
  #signalledOn = 0;
  /** The bus waits for `opened`. */
  #isAnswerOwed = false;
  /** The bus waits for `closed`. */
  #isCloseOwed = false;
  /** The channel's end waits for the guest to close. */
  #ended: (() => void) | null = null;
  #isOpenInBus = false;
  /** Which virtual processor to interrupt. */
  #targetVp = 0;

  constructor(vmbus: HostVmbus, endpoint: ChannelEndpoint, params: ChannelOffer) {
    this.#vmbus = vmbus;
    this.#endpoint = endpoint;
    this.params = params;
  }

  get endpoint(): ChannelEndpoint {
    return this.#endpoint;
  }

  get scheduler(): Scheduler {
    return this.#vmbus.scheduler;
  }

  get memory(): GuestMemory {
    return this.#vmbus.memory;
  }

  get relid(): number {
    return this.#offer?.relid ?? 0;
  }

  get instanceId(): Guid {
    return this.params.instanceId;
  }

  begin(): void {
    this.#offer = this.#vmbus.offer(this);
    const open = this.#offer?.resume();
    if (open !== undefined) this.#takeUp(open);
  }

  /** The channel was open when the guest was saved, and still is: the guest is told nothing. */
  #takeUp(open: HostOpenRequest): void {
    this.#isOpenInBus = true;
    try {
      this.#takeRings(open);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#endpoint.retire(STATUS_IO_DEVICE_ERROR);
      // As with any fault of the guest's: offered again once the guest has closed it.
      this.#ended = () => {};
      return;
    }
    this.#endpoint.peerOpened();
    // A signal of the old host's may be lost on the way; one too many harms nobody.
    this.#vmbus.signal(open.eventFlag ?? this.relid, this.#targetVp);
  }

  openAnswered(ok: boolean): void {
    if (!this.#isAnswerOwed) return;
    this.#isAnswerOwed = false;
    this.#isOpenInBus = ok;
    this.#offer?.opened(ok);
  }

  end(ending: Ending, done: () => void): void {
    this.#unmapAll();
    this.#vmbus.unroute(this.#signalledOn);
    this.#signalledOn = 0;
    if (ending.endsAs === 'disabled') {
      this.#letGo();
      done();
    } else if (this.#isOpenInBus && !this.#isCloseOwed) {
      // We closed it for a fault of the guest's. The wire has no word for that: it is offered again when the guest closes.
      this.#ended = done;
    } else {
      this.#closeIn(done);
    }
  }

  // --- what the bus asks

  openRequested(open: HostOpenRequest): void {
    this.#isAnswerOwed = true;
    try {
      this.#takeRings(open);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.openAnswered(false);
      return;
    }
    this.#endpoint.peerOpened();
  }

  closeRequested(): void {
    this.#isCloseOwed = true;
    const ended = this.#ended;
    this.#ended = null;
    if (ended === null) this.#endpoint.ended('closedByPeer', 'enabled');
    else this.#closeIn(ended);
  }

  /** Pages that do not exist are refused now rather than when somebody uses them. */
  gpadlCreated(_gpadlId: number, ranges: readonly GpaRange[]): boolean {
    const { memory } = this.#vmbus;
    return ranges.every(({ pfns }) => Array.from(pfns).every((pfn) => memory.hasPage(pfn)));
  }

  /** A mapping is the device's to end; whoever waits for it may be told why it waits. */
  gpadlTornDown(gpadlId: number): void {
    if (this.#mapped.has(gpadlId)) this.#endpoint.watch?.gpadlTornDown(this.#endpoint, gpadlId);
  }

  // --- what the driver asks

  mapGpadl(gpadlId: number, access: GpadlAccess): GpadlMapping {
    if (this.#mapped.has(gpadlId)) return { status: STATUS_INVALID_DEVICE_STATE, mdl: null };
    const { memory } = this.#vmbus;
    if (this.#offer?.gpadl(gpadlId) === undefined) return { status: STATUS_NOT_FOUND, mdl: null };
    if (access === 'write' && isReadOnly(memory, gpadlId)) return { status: STATUS_INVALID_PARAMETER_2, mdl: null };
    const gpadl = this.#offer.mapGpadl(gpadlId);
    if (gpadl === undefined) return { status: STATUS_NOT_FOUND, mdl: null };
    const mdl = chainOf(memory, gpadl.ranges);
    this.#mapped.set(gpadlId, mdl);
    return { status: STATUS_SUCCESS, mdl };
  }

  unmapGpadl(gpadlId: number): boolean {
    const mdl = this.#mapped.get(gpadlId);
    if (mdl === undefined) return false;
    this.#mapped.delete(gpadlId);
    mdl.invalidate(`GPADL ${gpadlId} was unmapped`);
    this.#offer?.unmapGpadl(gpadlId);
    return true;
  }

  createGpadl(): Promise<CreatedGpadl> {
    return Promise.resolve({ status: STATUS_INVALID_DEVICE_REQUEST, gpadlId: 0 });
  }

  deleteGpadl(): Promise<void> {
    return Promise.resolve();
  }

  pin(mdl: Mdl, ready: () => void): boolean {
    return this.#vmbus.pin(mdl, ready);
  }

  unpin(mdl: Mdl): void {
    this.#vmbus.unpin(mdl);
  }

  inspect(): object {
    return {
      offer: this.#offer?.inspect() ?? null,
      isCloseOwed: this.#isCloseOwed,
      mappedGpadls: [...this.#mapped.keys()],
    };
  }

  /** @throws PeerError for pages that make no rings */
  #takeRings(open: HostOpenRequest): void {
    const offer = this.#offer;
    // The bus has checked that it is one range of whole pages, and where the second ring begins.
    const pfns = Array.from(offer?.gpadl(open.ringGpadlId)?.ranges[0]?.pfns ?? []);
    const relid = offer?.relid ?? 0;
    const upstream = RingMemory.overPages(this.#vmbus.memory, pfns.slice(0, open.downstreamPageOffset));
    const downstream = RingMemory.overPages(this.#vmbus.memory, pfns.slice(open.downstreamPageOffset));
    const reader = new RingReader(upstream, { where: `channel ${relid}, guest to host` });
    const writer = new RingWriter(downstream, { where: `channel ${relid}, host to guest` });
    const eventFlag = open.eventFlag ?? relid;
    const { targetVp } = open;
    this.#targetVp = targetVp;
    this.#endpoint.attach(reader, writer, () => this.#vmbus.signal(eventFlag, this.#targetVp));
    this.#signalledOn = open.connectionId ?? offer?.connectionId ?? 0;
    this.#vmbus.route(this.#signalledOn, this);
  }

  targetVpChanged(targetVp: number): boolean {
    this.#targetVp = targetVp;
    return true;
  }

  #closeIn(done: () => void): void {
    const isCloseOwed = this.#isCloseOwed;
    this.#isCloseOwed = false;
    this.#isOpenInBus = false;
    // First, as the guest may have asked to open it again already, which the bus passes on at once.
    done();
    if (this.#isAnswerOwed) this.openAnswered(false);
    if (isCloseOwed) this.#offer?.closed();
  }

  #letGo(): void {
    this.#ended = null;
    if (this.#isAnswerOwed) this.openAnswered(false);
    if (this.#isCloseOwed) this.#offer?.closed();
    this.#isCloseOwed = false;
    this.#isOpenInBus = false;
    this.#offer?.revoke();
    this.#vmbus.letGo(this);
  }

  #unmapAll(): void {
    for (const gpadlId of [...this.#mapped.keys()]) this.unmapGpadl(gpadlId);
  }
}
