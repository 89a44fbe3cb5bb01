/**
 * Who has reserved a store: persistent reservations by key, and the older RESERVE and RELEASE.
 *
 * One object for all units over one store, so that guests that share a disk see each other. It does not outlive the
 * process: "persist through power loss" is not offered. Source: SPC-4 sections 5.13, 6.15, 6.16; SPC-2 section 5.5.
 */
import type { Access } from './command-table.ts';
import { SENSE, type Sense } from './sense.ts';

/** Source: SPC-4 table 60, persistent reservation types. */
export const ReservationType = {
  WriteExclusive: 1,
  ExclusiveAccess: 3,
  WriteExclusiveRegistrantsOnly: 5,
  ExclusiveAccessRegistrantsOnly: 6,
  WriteExclusiveAllRegistrants: 7,
  ExclusiveAccessAllRegistrants: 8,
} as const;

const TYPES: ReadonlySet<number> = new Set(Object.values(ReservationType));

export function isReservationType(type: number): boolean {
  return TYPES.has(type);
}

/** Registrations of one store; more are refused. Ours: the list of keys fits any buffer that a guest reads it with. */
export const MAX_REGISTRATIONS = 256;

/** The key of nobody. */
export const NO_KEY = '0000000000000000';

/** One initiator as the reservations know it. */
export interface Registrant {
  /** Names the initiator; the same after it has come back. */
  readonly initiator: string;
  /** To be reported with the initiator's next command. */
  postAttention(sense: Sense): void;
}

interface Registration {
  readonly key: string;
  readonly who: Registrant;
}

interface Reservation {
  /** The holder; `undefined` for the types that all registrants hold. */
  readonly initiator: string | undefined;
  readonly key: string;
  readonly type: number;
}

/** How a PERSISTENT RESERVE OUT ended. */
export type ReserveOutcome = 'good' | 'conflict' | Sense;

export class Reservations {
  /** Counts changes of the registrations; wraps at 32 bits. */
  generation = 0;
  readonly #registrations = new Map<string, Registration>();
  #reservation: Reservation | undefined;
  /** Who holds the unit by RESERVE. */
  #reserved: string | undefined;

  /** Nobody has registered or reserved: no command need be checked. */
  get isQuiet(): boolean {
    return this.#reserved === undefined && this.#reservation === undefined;
  }

  get keys(): string[] {
    return [...this.#registrations.values()].map(({ key }) => key);
  }

  get reservation(): { readonly key: string; readonly type: number } | undefined {
    return this.#reservation;
  }

  /** True if the initiator may not run a command of that kind now. */
  conflicts(initiator: string, access: Access): boolean {
    if (access === 'free') return false;
    if (this.#reserved !== undefined) return this.#reserved !== initiator;
    const held = this.#reservation;
    if (held === undefined || access === 'reservation') return false;
    const { type } = held;
    if (held.initiator === initiator) return false;
    const isForRegistrants = type >= ReservationType.WriteExclusiveRegistrantsOnly;
    if (isForRegistrants && this.#registrations.has(initiator)) return false;
    return access === 'write' || isExclusiveAccess(type);
  }

  // --- RESERVE and RELEASE

  /** @returns false on conflict */
  reserveUnit(initiator: string): boolean {
    if (this.#registrations.size > 0) return false;
    if (this.#reserved !== undefined && this.#reserved !== initiator) return false;
    this.#reserved = initiator;
    return true;
  }

  /** Releasing what somebody else holds is no error and does nothing. @returns false on conflict */
  releaseUnit(initiator: string): boolean {
    if (this.#registrations.size > 0) return false;
    if (this.#reserved === initiator) this.#reserved = undefined;
    return true;
  }

  /** A reset, or the initiator is gone: RESERVE ends, persistent reservations stay. */
  forget(initiator?: string): void {
    if (initiator === undefined || this.#reserved === initiator) this.#reserved = undefined;
  }

  // --- PERSISTENT RESERVE OUT

  /** REGISTER, and REGISTER AND IGNORE EXISTING KEY, which does not look at `key`. */
  register(who: Registrant, key: string, newKey: string, ignoresKey: boolean): ReserveOutcome {
    const known = this.#registrations.get(who.initiator);
    if (!ignoresKey && key !== (known?.key ?? NO_KEY)) return 'conflict';
    if (newKey === NO_KEY) {
      if (known !== undefined) this.#unregister(who);
    } else {
      if (known === undefined && this.#registrations.size >= MAX_REGISTRATIONS) return NO_ROOM;
      this.#registrations.set(who.initiator, { key: newKey, who });
      if (this.#reservation?.initiator === who.initiator) this.#reservation = { ...this.#reservation, key: newKey };
    }
    this.#changed();
    return 'good';
  }

  reserve(who: Registrant, key: string, type: number): ReserveOutcome {
    if (!this.#isRegistered(who, key)) return 'conflict';
    const held = this.#reservation;
    if (held === undefined) {
      this.#hold(who, key, type);
      return 'good';
    }
    const isHolder = held.initiator === undefined || held.initiator === who.initiator;
    return isHolder && held.type === type ? 'good' : 'conflict';
  }

  release(who: Registrant, key: string, type: number): ReserveOutcome {
    if (!this.#isRegistered(who, key)) return 'conflict';
    const held = this.#reservation;
    if (held === undefined || (held.initiator !== undefined && held.initiator !== who.initiator)) return 'good';
    if (held.type !== type) return SENSE.InvalidRelease;
    this.#releaseHeld(who.initiator);
    return 'good';
  }

  clear(who: Registrant, key: string): ReserveOutcome {
    if (!this.#isRegistered(who, key)) return 'conflict';
    this.#tellOthers(who.initiator, SENSE.ReservationsPreempted);
    this.#registrations.clear();
    this.#reservation = undefined;
    this.#changed();
    return 'good';
  }

  preempt(who: Registrant, key: string, victimKey: string, type: number): ReserveOutcome {
    if (!this.#isRegistered(who, key)) return 'conflict';
    const held = this.#reservation;
    const isHeldByAll = held !== undefined && held.initiator === undefined;
    if (victimKey === NO_KEY && !isHeldByAll) return SENSE.InvalidFieldInParameterList;
    const takesOver = isHeldByAll ? victimKey === NO_KEY : held !== undefined && held.key === victimKey;
    const victims = [...this.#registrations.values()].filter(
      (each) => (victimKey === NO_KEY || each.key === victimKey) && each.who.initiator !== who.initiator,
    );
    const isOwnKey = victimKey === key;
    if (victims.length === 0 && !takesOver && !isOwnKey) return 'conflict';
    for (const victim of victims) {
      this.#registrations.delete(victim.who.initiator);
      victim.who.postAttention(SENSE.RegistrationsPreempted);
    }
    if (takesOver) {
      if (held !== undefined && held.type !== type) this.#tellOthers(who.initiator, SENSE.ReservationsReleased);
      this.#hold(who, key, type);
    } else if (isOwnKey) {
      // By its own key a registrant that does not hold the reservation removes itself, too.
      this.#unregister(who);
    }
    this.#changed();
    return 'good';
  }

  inspect(): Record<string, unknown> {
    return {
      generation: this.generation,
      registrations: [...this.#registrations].map(([initiator, { key }]) => ({ initiator, key })),
      reservation: this.#reservation ?? null,
      reservedBy: this.#reserved ?? null,
    };
  }

  #isRegistered(who: Registrant, key: string): boolean {
    return this.#registrations.get(who.initiator)?.key === key;
  }

  #hold(who: Registrant, key: string, type: number): void {
    const isForAll = type >= ReservationType.WriteExclusiveAllRegistrants;
    this.#reservation = isForAll
      ? { initiator: undefined, key: NO_KEY, type }
      : { initiator: who.initiator, key, type };
  }

  #unregister(who: Registrant): void {
    this.#registrations.delete(who.initiator);
    const held = this.#reservation;
    if (held === undefined) return;
    const isLastOfAll = held.initiator === undefined && this.#registrations.size === 0;
    if (isLastOfAll || held.initiator === who.initiator) this.#releaseHeld(who.initiator);
  }

  /** The others learn of it if being registered gave them rights. */
  #releaseHeld(initiator: string): void {
    const type = this.#reservation?.type ?? 0;
    this.#reservation = undefined;
    if (type >= ReservationType.WriteExclusiveRegistrantsOnly) {
      this.#tellOthers(initiator, SENSE.ReservationsReleased);
    }
  }

  #tellOthers(initiator: string, sense: Sense): void {
    for (const { who } of this.#registrations.values()) {
      if (who.initiator !== initiator) who.postAttention(sense);
    }
  }

  #changed(): void {
    this.generation = (this.generation + 1) >>> 0;
  }
}

/** Insufficient registration resources. Source: SPC-4 annex D. */
const NO_ROOM: Sense = { key: 0x05, asc: 0x55, ascq: 0x04 };

function isExclusiveAccess(type: number): boolean {
  return (
    type === ReservationType.ExclusiveAccess ||
    type === ReservationType.ExclusiveAccessRegistrantsOnly ||
    type === ReservationType.ExclusiveAccessAllRegistrants
  );
}
