/**
 * Which packet a completion belongs to.
 *
 * An id is two words: the slot in this table plus one, so that it is never 0 (Hyper-V does not answer id 0, says Linux
 * `drivers/hv/channel.c`, `vmbus_next_request_id`), and how often that slot was used. A slot is taken until its
 * completion came, so no id is used twice while in flight, and a second completion for an old id finds another use.
 */
import { OutgoingPacket } from './outgoing-packet.ts';

/** Stands in a slot whose owner gave up: the peer's completion is still to come, and is then ignored. */
const abandoned = new OutgoingPacket();

/** A table never had more transactions than a ring has room for; saved state that says so is not believed. */
const MAX_RESTORED_SLOTS = 2 ** 20;

/** What `take` found. */
export type Taken = OutgoingPacket | 'abandoned' | 'unknown';

export class TransactionTable {
  #packets: (OutgoingPacket | null)[] = [];
  #uses = new Int32Array(0);
  /** A stack of free slots. */
  #free = new Int32Array(0);
  #freeCount = 0;

  /** @param capacity transactions before the table has to grow */
  constructor(capacity = 64) {
    this.#growTo(capacity);
  }

  /** Transactions that wait for their completion, those given up included. */
  get count(): number {
    return this.#packets.length - this.#freeCount;
  }

  /** Gives the packet an id. */
  begin(packet: OutgoingPacket): void {
    if (this.#freeCount === 0) this.#growTo(this.#packets.length * 2);
    const slot = this.#free[--this.#freeCount] as number;
    this.#packets[slot] = packet;
    packet.idLo = slot + 1;
    packet.idHi = this.#uses[slot] as number;
  }

  /** Ends the transaction with this id, whatever numbers the peer sent, and says whose it was. */
  take(idLo: number, idHi: number): Taken {
    const slot = idLo - 1;
    // A slot beyond the table, or a negative one, has no packet.
    const packet = this.#packets[slot];
    if (packet === undefined || packet === null || this.#uses[slot] !== idHi) return 'unknown';
    this.#release(slot);
    return packet === abandoned ? 'abandoned' : packet;
  }

  /** Forgets the packet but keeps its id taken until the completion comes. */
  abandon(packet: OutgoingPacket): void {
    this.#packets[packet.idLo - 1] = abandoned;
  }

  /** Ends a transaction whose id the peer cannot answer: it never left, or there is no ring any more. */
  cancel(packet: OutgoingPacket): void {
    this.#release(packet.idLo - 1);
  }

  /** The packets that wait for their completion. */
  owned(): OutgoingPacket[] {
    return this.#packets.filter((packet) => packet !== null && packet !== abandoned) as OutgoingPacket[];
  }

  /** Frees the ids of packets given up: no completion can come any more. */
  forgetAbandoned(): void {
    this.#packets.forEach((packet, slot) => {
      if (packet === abandoned) this.#release(slot);
    });
  }

  /** Ids of packets given up, whose completions are still to come: pairs of words. */
  abandonedIds(): { readonly idLo: number; readonly idHi: number }[] {
    return this.#packets.flatMap((packet, slot) =>
      packet === abandoned ? [{ idLo: slot + 1, idHi: this.#uses[slot] as number }] : [],
    );
  }

  /** Whether `restore` can take up a transaction under this id. */
  isFree(idLo: number): boolean {
    return idLo >= 1 && idLo <= MAX_RESTORED_SLOTS && (this.#packets[idLo - 1] ?? null) === null;
  }

  /** Takes up a transaction that was begun elsewhere; `null` for one that was given up there. `isFree` has said yes. */
  restore(packet: OutgoingPacket | null, idLo: number, idHi: number): void {
    const slot = idLo - 1;
    let capacity = this.#packets.length;
    while (slot >= capacity) capacity *= 2;
    if (capacity > this.#packets.length) this.#growTo(capacity);
    // Cold: the free slots are a stack, and this one is somewhere in it.
    const at = this.#free.subarray(0, this.#freeCount).indexOf(slot);
    this.#free.copyWithin(at, at + 1, this.#freeCount--);
    this.#packets[slot] = packet ?? abandoned;
    this.#uses[slot] = idHi;
    if (packet === null) return;
    packet.idLo = idLo;
    packet.idHi = idHi;
  }

  #release(slot: number): void {
    this.#packets[slot] = null;
    this.#uses[slot] = ((this.#uses[slot] as number) + 1) | 0;
    this.#free[this.#freeCount++] = slot;
  }

  #growTo(capacity: number): void {
    const before = this.#packets.length;
    const uses = new Int32Array(capacity);
    uses.set(this.#uses);
    this.#uses = uses;
    const free = new Int32Array(capacity);
    free.set(this.#free.subarray(0, this.#freeCount));
    this.#free = free;
    // Highest first, so that the lowest free slot is on top.
    for (let slot = capacity - 1; slot >= before; slot--) free[this.#freeCount++] = slot;
    for (let slot = before; slot < capacity; slot++) this.#packets.push(null);
  }
}
