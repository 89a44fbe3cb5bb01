/**
 * Doorbells in shared memory: one direction between two ends that see the same words.
 *
 * A doorbell is an id of 32 bits (an event connection, an event flag). The sender gives each id that it uses a slot and
 * writes the id into the slot's word; ringing sets the slot's bit, and a bit in the summary over the bits. So any number
 * of rings before the receiver looks is one delivery, the receiver looks at four words however many channels there are,
 * and only ids that were ever used are looked at further.
 *
 * The receiver says in one word whether it is awake. While it is, a ring costs no call into the system.
 *
 * Every word may hold anything: the other end is not trusted. A bit that nobody set is a ring that nobody meant, which
 * every sink of rings must stand anyway.
 */

/** Distinct ids that one direction can carry: a guest has at most 2047 channels, and a few ids besides. */
export const SLOT_COUNT = 4096;

const BITS_WORDS = SLOT_COUNT / 32;
const SUMMARY_WORDS = BITS_WORDS / 32;

// The awake word, the summary and the bits are on cache lines of their own (16 words): they change for different reasons.
const AWAKE = 0;
const SUMMARY = 16;
const BITS = 32;
const IDS = BITS + BITS_WORDS;

/** Size of one direction, in 32-bit words. */
export const EVENT_WORDS = IDS + SLOT_COUNT;

/** Spread of ids over the sender's table: 2^32 divided by the golden ratio. */
const GOLDEN = 0x9e3779b1;
const TABLE_BITS = 13;
const TABLE_MASK = 2 ** TABLE_BITS - 1;

/** The end that rings. One per direction: slots are its own to give. */
export class EventSender {
  readonly #words: Int32Array;
  readonly #wake: () => void;
  // Which slot an id has, as an open table in private memory: what the peer writes into the shared words cannot mislead it.
  readonly #tableIds = new Int32Array(TABLE_MASK + 1);
  readonly #tableSlotsPlus1 = new Uint16Array(TABLE_MASK + 1);
  #slotCount = 0;

  /**
   * @param words the direction's `EVENT_WORDS` words, zero when new
   * @param wake ends the receiver's sleep; called at most once per sleep
   */
  constructor(words: Int32Array, wake: () => void) {
    this.#words = words;
    this.#wake = wake;
  }

  /**
   * Rings doorbell `id` (u32). Allocates nothing.
   * @returns false if 4096 other ids were used before; nothing was rung
   */
  raise(id: number): boolean {
    const slot = this.#slotOf(id | 0);
    if (slot < 0) return false;
    const words = this.#words;
    const bit = 1 << (slot & 31);
    // Pairs with the exchanges in EventReceiver.take: what we stored before (a ring index) is visible to whoever takes the bit.
    if ((Atomics.or(words, BITS + (slot >>> 5), bit) & bit) !== 0) return true; // The earlier ring was not taken yet.
    Atomics.or(words, SUMMARY + (slot >>> 10), 1 << ((slot >>> 5) & 31));
    this.nudge();
    return true;
  }

  /** Wakes the receiver if it sleeps. Call after storing whatever it should find. */
  nudge(): void {
    // Pairs with the store and the look in EventReceiver.sleep. The exchange makes one wake call per sleep.
    if (Atomics.load(this.#words, AWAKE) !== 0) return;
    if (Atomics.exchange(this.#words, AWAKE, 1) === 0) this.#wake();
  }

  #slotOf(id: number): number {
    let at = Math.imul(id, GOLDEN) >>> (32 - TABLE_BITS);
    // The table is at most half full, so there is always an empty entry to end at.
    for (;;) {
      const slotPlus1 = this.#tableSlotsPlus1[at] as number;
      if (slotPlus1 === 0) return this.#assign(at, id);
      if (this.#tableIds[at] === id) return slotPlus1 - 1;
      at = (at + 1) & TABLE_MASK;
    }
  }

  #assign(at: number, id: number): number {
    if (this.#slotCount === SLOT_COUNT) return -1;
    const slot = this.#slotCount++;
    this.#tableIds[at] = id;
    this.#tableSlotsPlus1[at] = slot + 1;
    // Stored before the slot's first bit is set, so the receiver never meets a bit without its id.
    Atomics.store(this.#words, IDS + slot, id);
    return slot;
  }
}

/** The end that is rung. */
export class EventReceiver {
  readonly #words: Int32Array;

  constructor(words: Int32Array) {
    this.#words = words;
    Atomics.store(words, AWAKE, 1);
  }

  /** Where the awake word is, for a sleep by `Atomics.wait`: the sleeper waits for it to leave 0. */
  static readonly AWAKE_WORD = AWAKE;

  /** True if some doorbell rang since the last `take`. Four loads. */
  get isPending(): boolean {
    const words = this.#words;
    for (let index = SUMMARY; index < SUMMARY + SUMMARY_WORDS; index++) {
      if (Atomics.load(words, index) !== 0) return true;
    }
    return false;
  }

  /**
   * Hands every doorbell that rang to `sink`, once each. At most 4096 calls, whatever the words hold.
   * @returns how many there were
   */
  take(sink: (id: number) => void): number {
    const words = this.#words;
    let count = 0;
    for (let index = 0; index < SUMMARY_WORDS; index++) {
      if (Atomics.load(words, SUMMARY + index) === 0) continue;
      // The summary goes before the bits: a ring that comes in between sets both again and is at worst an empty look.
      let groups = Atomics.exchange(words, SUMMARY + index, 0);
      try {
        while (groups !== 0) {
          const group = index * 32 + 31 - Math.clz32(groups & -groups);
          groups &= groups - 1;
          count += this.#takeGroup(group, sink);
        }
      } finally {
        // Only after a sink threw: its fault must not swallow the rings of other channels.
        if (groups !== 0) Atomics.or(words, SUMMARY + index, groups);
      }
    }
    return count;
  }

  /**
   * Says that we sleep. Look before you leap: a ring that came meanwhile is found here, a later one wakes us.
   * @returns false if there is something to take (or `hasMore` says so); we stay awake
   */
  sleep(hasMore: () => boolean): boolean {
    // Pairs with EventSender.nudge: either it sees our 0 and wakes us, or we see its bit.
    Atomics.store(this.#words, AWAKE, 0);
    if (!this.isPending && !hasMore()) return true;
    Atomics.store(this.#words, AWAKE, 1);
    return false;
  }

  /** Says that we are awake: rings cost the other end no wake call from here on. */
  wakeUp(): void {
    Atomics.store(this.#words, AWAKE, 1);
  }

  #takeGroup(group: number, sink: (id: number) => void): number {
    const words = this.#words;
    let bits = Atomics.exchange(words, BITS + group, 0);
    let count = 0;
    try {
      while (bits !== 0) {
        const slot = group * 32 + 31 - Math.clz32(bits & -bits);
        bits &= bits - 1;
        count++;
        sink(Atomics.load(words, IDS + slot) >>> 0);
      }
    } finally {
      if (bits !== 0) {
        Atomics.or(words, BITS + group, bits);
        Atomics.or(words, SUMMARY + (group >>> 5), 1 << (group & 31));
      }
    }
    return count;
  }
}
