/**
 * A guest bus and a host bus back to back, through two queues of messages, with drivers and devices that do random but
 * legal things. The seed decides who takes the next step, so every crossing can happen and every run can be replayed.
 */
import { GuestBus, type GuestBusOptions, type GuestOffer } from '../../src/bus/guest/index.ts';
import { HostBus, type HostOffer } from '../../src/bus/host/index.ts';
import type { NtStatus } from '../../src/wire/ntstatus.ts';
import { wholePages } from '../peers/scripted-guest.ts';
import { instanceNumber, SCSI_INTERFACE } from '../peers/scripted-host.ts';

/** A small generator, the same numbers for the same seed: xorshift32 (G. Marsaglia, 2003). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

interface Place {
  offer: HostOffer;
  mapped: number[];
  /** Gone for good: a reoffer may take its place. */
  isRevoked: boolean;
}

/** One callback that was handed to the guest bus. */
interface Wait {
  readonly what: string;
  ends: number;
}

export class TwoEnds {
  readonly toHost: { readonly message: Uint8Array; readonly connectionId: number }[] = [];
  readonly toGuest: Uint8Array[] = [];
  readonly waits: Wait[] = [];
  readonly guestDropped: string[] = [];
  readonly hostDropped: string[] = [];
  readonly places: Place[] = [];
  readonly host: HostBus;
  readonly guest: GuestBus;
  readonly #random: (below: number) => number;

  constructor(seed: number, deviceCount: number, options: GuestBusOptions = {}) {
    this.#random = randomFrom(seed);
    this.host = new HostBus(
      { post: (_connectionId, message) => push(this.toGuest, message.slice()) },
      { dropped: (reason) => this.hostDropped.push(reason) },
    );
    this.guest = new GuestBus(
      { post: (connectionId, message) => push(this.toHost, { connectionId, message: message.slice() }) },
      {
        connected: () => {},
        connectFailed: () => {},
        offered: () => {},
        allOffersDelivered: () => {},
        rescinded: () => {},
        disconnected: () => {},
        dropped: (reason) => this.guestDropped.push(reason),
      },
      options,
    );
    for (let n = 0; n < deviceCount; n++) this.#place(n);
  }

  /** One message, one wish of a driver, or one answer of a device. */
  step(): void {
    const turn = this.#random(10);
    if (turn < 3) this.deliverToHost();
    else if (turn < 6) this.deliverToGuest();
    else if (turn < 8) this.#drive();
    else this.#serve();
  }

  deliverToHost(): boolean {
    const next = this.toHost.shift();
    if (next !== undefined) this.host.receive(next.message, next.connectionId);
    return next !== undefined;
  }

  deliverToGuest(): boolean {
    const next = this.toGuest.shift();
    if (next !== undefined) this.guest.receive(next);
    return next !== undefined;
  }

  /** Devices answer what they were asked and unmap everything, messages arrive, until nothing is left to do. */
  settle(): void {
    let isBusy = true;
    while (isBusy) {
      isBusy = false;
      while (this.deliverToHost() || this.deliverToGuest()) isBusy = true;
      for (const place of this.places) {
        if (this.#answer(place.offer, true)) isBusy = true;
        for (const id of place.mapped.splice(0)) {
          place.offer.unmapGpadl(id);
          isBusy = true;
        }
      }
    }
  }

  // --- drivers in the guest

  #drive(): void {
    const { guest } = this;
    const { state } = guest;
    if (state === 'disconnected') {
      guest.connect();
      return;
    }
    if (this.#random(60) === 0) {
      guest.disconnect();
      return;
    }
    const offers = [...guest.offers()];
    const offer = offers[this.#random(Math.max(1, offers.length))];
    if (offer !== undefined) this.#driveChannel(offer);
  }

  #driveChannel(offer: GuestOffer): void {
    const { relid } = offer;
    const channel = this.guest.inspect().channels.find((tree) => tree.relid === relid);
    const created = channel?.gpadls.filter(({ state }) => state === 'created') ?? [];
    const one = created[this.#random(Math.max(1, created.length))];
    switch (this.#random(8)) {
      case 0:
      case 1:
        if ((channel?.gpadls.length ?? 0) < 4) {
          this.guest.createGpadl(relid, wholePages(1 + this.#random(100)), this.#wait(`create on ${relid}`));
        }
        return;
      case 2:
        if (one !== undefined) this.guest.teardownGpadl(relid, one.id, this.#wait(`teardown on ${relid}`));
        return;
      case 3:
      case 4:
        if (one !== undefined && offer.state === 'offered') {
          const request = { ringGpadlId: one.id, downstreamPageOffset: 1, targetVp: 0 };
          this.guest.open(relid, request, this.#wait(`open of ${relid}`));
        }
        return;
      case 5:
        this.guest.close(relid);
        return;
      case 6:
        if (offer.state === 'open' && channel?.isModifying === false) {
          this.guest.modifyChannel(relid, this.#random(4), this.#wait(`modify of ${relid}`));
        }
        return;
      default:
        if (offer.isRescinded) this.guest.release(relid);
    }
  }

  #wait(what: string): (status?: NtStatus) => void {
    const wait: Wait = { what, ends: 0 };
    this.waits.push(wait);
    return () => {
      wait.ends++;
    };
  }

  // --- devices on the host

  #place(n: number): void {
    const place: Place = {
      mapped: [],
      isRevoked: false,
      offer: this.host.offer(
        { interfaceId: SCSI_INTERFACE, instanceId: instanceNumber(n), monitorLatency100ns: n },
        {
          openRequested: () => {},
          closeRequested: () => {},
          gpadlCreated: () => this.#random(10) !== 0,
        },
      ),
    };
    this.places[n] = place;
  }

  #serve(): void {
    const n = this.#random(this.places.length);
    const place = this.places[n] as Place;
    const { offer, mapped } = place;
    switch (this.#random(8)) {
      case 0:
        if (this.#random(5) === 0 && !place.isRevoked) {
          // A device lets go of everything before it leaves.
          for (const id of mapped.splice(0)) offer.unmapGpadl(id);
          place.isRevoked = true;
          offer.revoke();
        }
        return;
      case 1:
        if (place.isRevoked) this.#place(n);
        return;
      case 2: {
        const gpadls = offer.inspect().gpadls;
        const id = gpadls[this.#random(Math.max(1, gpadls.length))]?.id;
        if (!place.isRevoked && id !== undefined && offer.mapGpadl(id) !== undefined) mapped.push(id);
        return;
      }
      case 3: {
        const id = mapped.pop();
        if (id !== undefined) offer.unmapGpadl(id);
        return;
      }
      default:
        this.#answer(offer, this.#random(4) !== 0);
    }
  }

  #answer(offer: HostOffer, ok: boolean): boolean {
    switch (offer.state) {
      case 'opening':
      case 'openingReleased':
        offer.opened(ok);
        return true;
      case 'closing':
      case 'reopening':
      case 'closingReleased':
        offer.closed();
        return true;
      default:
        return false;
    }
  }
}

function push<T>(queue: T[], item: T): 0 {
  queue.push(item);
  return 0;
}
