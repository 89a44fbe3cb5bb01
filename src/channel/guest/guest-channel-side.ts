/** A guest's channel towards the bus: finds its offer, brings the rings, opens, and takes all of it apart again. */

import type { GuestOffer } from '../../bus/guest/index.ts';
import { SystemError } from '../../errors.ts';
import { type GuestMemory, type Mdl, PAGE_BYTES } from '../../memory/index.ts';
import { RingMemory, RingReader, RingWriter } from '../../ring/index.ts';
import { type GpaRange, gpaRangeBytes } from '../../wire/gpa-range.ts';
import type { Guid } from '../../wire/guid.ts';
import { MAX_GPADL_RANGE_BYTES } from '../../wire/messages/index.ts';
import {
  STATUS_INSUFFICIENT_RESOURCES,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import type { ChannelSide, CreatedGpadl, GpadlAccess, GpadlMapping } from '../channel-side.ts';
import { markReadOnly, unmarkReadOnly } from '../gpadl-access.ts';
import type { Ending } from '../life-cycle.ts';
import type { Scheduler } from '../scheduler.ts';
import { type GuestSideAction, type GuestSideEvent, type GuestSideState, stepGuestSide } from './guest-side-moves.ts';
import type { GuestVmbus, OfferTarget } from './guest-vmbus.ts';
import type { MmioRange } from './mmio-space.ts';
import { pagesForLargestPacket } from './ring-sizes.ts';

/** Pages that the guest donates for both rings, guest to host first. */
interface RingPages {
  readonly pfns: readonly number[];
  /** Where the ring from the host begins. */
  readonly downstreamPage: number;
  gpadlId: number;
}

export class GuestChannelSide implements ChannelSide {
  readonly target: OfferTarget;
  readonly #vmbus: GuestVmbus;
  readonly #endpoint: ChannelEndpoint;
  #state: GuestSideState = { at: 'waiting' };
  #offer: GuestOffer | null = null;
  /** Of the last offer: a GPADL may be taken back after the offer was let go. */
  #lastRelid = 0;
  #pages: RingPages | null = null;
  #mmio: MmioRange | null = null;
  #ended: (() => void) | null = null;

  constructor(vmbus: GuestVmbus, endpoint: ChannelEndpoint, target: OfferTarget) {
    this.#vmbus = vmbus;
    this.#endpoint = endpoint;
    this.target = target;
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

  get instanceId(): Guid | null {
    return this.#offer?.instanceId ?? null;
  }

  get mmioSpace(): MmioRange | null {
    return this.#mmio;
  }

  get isWaiting(): boolean {
    return this.#state.at === 'waiting';
  }

  begin(): void {
    this.#vmbus.lookFor(this);
  }

  /** The bus found an offer that suits. */
  offered(offer: GuestOffer): void {
    this.#offer = offer;
    this.#lastRelid = offer.relid;
    this.#step({ is: 'offered' });
  }

  /** The offer is gone, or the transport: an open channel ends; requests under way end by themselves. */
  rescinded(isLost: boolean): void {
    if (this.#state.at === 'open') this.#endpoint.ended(isLost ? 'lost' : 'rescinded', 'disabled');
  }

  /** The bus has nobody to tell; a failed Opened ends the channel, which closes it. */
  openAnswered(_ok: boolean): void {}

  end(_ending: Ending, done: () => void): void {
    this.#ended = done;
    this.#step({ is: 'end' });
  }

  createGpadl(ranges: readonly GpaRange[], access: GpadlAccess): Promise<CreatedGpadl> {
    const wireBytes = ranges.reduce((sum, range) => sum + gpaRangeBytes(range.pfns.length), 0);
    if (wireBytes > MAX_GPADL_RANGE_BYTES) {
      return Promise.resolve({ status: STATUS_INVALID_BUFFER_SIZE, gpadlId: 0 });
    }
    return new Promise((resolve) => {
      const { bus, memory } = this.#vmbus;
      bus.createGpadl(this.relid, ranges, (status, gpadlId) => {
        // The host may map it as soon as the driver has told it the handle, which is after this.
        if (status === STATUS_SUCCESS && access === 'read') markReadOnly(memory, gpadlId);
        resolve({ status, gpadlId });
      });
    });
  }

  deleteGpadl(gpadlId: number): Promise<void> {
    return new Promise((resolve) => {
      this.#vmbus.bus.teardownGpadl(this.#lastRelid, gpadlId, () => {
        unmarkReadOnly(this.#vmbus.memory, gpadlId);
        resolve();
      });
    });
  }

  mapGpadl(_gpadlId: number, _access: GpadlAccess): GpadlMapping {
    return { status: STATUS_INVALID_DEVICE_REQUEST, mdl: null };
  }

  unmapGpadl(_gpadlId: number): boolean {
    return false;
  }

  /** A guest's own pages are always there. */
  pin(_mdl: Mdl, _ready: () => void): boolean {
    return true;
  }

  unpin(_mdl: Mdl): void {}

  inspect(): object {
    return {
      state: this.#state.at,
      target: this.target,
      offer: this.#offer === null ? null : { relid: this.#offer.relid, instanceId: this.#offer.instanceId },
      ringPages: this.#pages?.pfns.length ?? 0,
      ringGpadlId: this.#pages?.gpadlId ?? 0,
      mmioSpace: this.#mmio,
    };
  }

  #step(event: GuestSideEvent): void {
    const { next, actions } = stepGuestSide(this.#state, event);
    this.#state = next;
    for (const action of actions) this.#do(action);
  }

  #do(action: GuestSideAction): void {
    switch (action.do) {
      case 'makeRings':
        this.#makeRings();
        return;
      case 'openChannel':
        this.#openChannel();
        return;
      case 'tellOpened':
        this.#endpoint.peerOpened();
        return;
      case 'closeChannel':
        this.#endpoint.detach();
        this.#vmbus.bus.close(this.relid);
        return;
      case 'tearDown':
        this.#endpoint.detach();
        this.#vmbus.bus.teardownGpadl(this.relid, this.#pages?.gpadlId ?? 0, () => this.#step({ is: 'tornDown' }));
        return;
      case 'giveBack':
        this.#giveBack();
        return;
      case 'tell':
        if (action.verdict === 'ended') this.#ended?.();
        else this.#endpoint.openFailed(action.verdict.failedWith);
        return;
    }
  }

  #makeRings(): void {
    try {
      this.#mmio = this.#reserveMmio();
      this.#pages = this.#allocatePages();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#step({ is: 'noRoom', status: STATUS_INSUFFICIENT_RESOURCES });
      return;
    }
    const { pfns } = this.#pages;
    const range = { byteCount: pfns.length * PAGE_BYTES, byteOffset: 0, pfns };
    this.#pages.gpadlId = this.#vmbus.bus.createGpadl(this.relid, [range], (status) =>
      this.#step({ is: 'described', status }),
    );
  }

  #reserveMmio(): MmioRange | null {
    const { mmioMegabytes = 0, mmioMegabytesOptional = 0 } = this.#offer ?? {};
    if (mmioMegabytes === 0 && mmioMegabytesOptional === 0) return null;
    const all = this.#vmbus.mmio.allocate(mmioMegabytes + mmioMegabytesOptional);
    if (all !== null || mmioMegabytes === 0) return all;
    const needed = this.#vmbus.mmio.allocate(mmioMegabytes);
    if (needed === null) throw new SystemError('ERR_RESOURCES', `no ${mmioMegabytes} MB of MMIO space are free`);
    return needed;
  }

  /** Zeroed: a ring starts with both indexes at 0, and pages may hold what their last user left. */
  #allocatePages(): RingPages {
    const { settings } = this.#endpoint;
    const outgoing = settings.outgoingRingPages || pagesForLargestPacket(settings, true);
    const incoming = settings.incomingRingPages || pagesForLargestPacket(settings, false);
    const pfns = this.#vmbus.pages.allocate(outgoing + incoming + 2);
    for (const pfn of pfns) this.#vmbus.memory.page(pfn).fill(0);
    return { pfns, downstreamPage: outgoing + 1, gpadlId: 0 };
  }

  #openChannel(): void {
    const pages = this.#pages;
    const offer = this.#offer;
    if (pages === null || offer === null) return;
    const { memory, bus } = this.#vmbus;
    const { connectionId, relid } = offer;
    if (offer.state === 'abandoned') {
      // The host let go of the last rings and still owes the answer about them: it cannot be asked again before.
      this.#step({ is: 'openResult', status: STATUS_INVALID_DEVICE_STATE });
      return;
    }
    const upstream = RingMemory.overPages(memory, pages.pfns.slice(0, pages.downstreamPage));
    const downstream = RingMemory.overPages(memory, pages.pfns.slice(pages.downstreamPage));
    const writer = new RingWriter(upstream, { where: `channel ${relid}, guest to host` });
    const reader = new RingReader(downstream, { where: `channel ${relid}, host to guest`, passUnknownTypes: true });
    // Before the host is asked: it may signal before we have read its answer.
    this.#endpoint.attach(reader, writer, () => this.#vmbus.signal(connectionId));
    const request = {
      ringGpadlId: pages.gpadlId,
      downstreamPageOffset: pages.downstreamPage,
      targetVp: this.#endpoint.settings.targetVp,
    };
    bus.open(relid, request, (status) => this.#step({ is: 'openResult', status }));
  }

  #giveBack(): void {
    if (this.#pages !== null) this.#vmbus.pages.free(this.#pages.pfns);
    if (this.#mmio !== null) this.#vmbus.mmio.free(this.#mmio);
    this.#pages = null;
    this.#mmio = null;
    const offer = this.#offer;
    this.#offer = null;
    this.#vmbus.letGo(this, offer);
  }
}
