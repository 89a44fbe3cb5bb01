/** PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE. Source: SPC-4 sections 6.15 and 6.16, SPC-2 sections 7.17, 7.21. */
import { putU16be, putU32be, u16be, u32be } from './big-endian.ts';
import type { BlockUnit } from './block-unit.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { fromHex, toHex } from './hex-text.ts';
import { parameterList } from './parameter-list.ts';
import { isReservationType, NO_KEY, ReservationType, type ReserveOutcome } from './reservations.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

export const PersistentReserveIn = { ReadKeys: 0, ReadReservation: 1, ReportCapabilities: 2 } as const;
export const PersistentReserveOut = {
  Register: 0,
  Reserve: 1,
  Release: 2,
  Clear: 3,
  Preempt: 4,
  PreemptAndAbort: 5,
  RegisterAndIgnoreExistingKey: 6,
} as const;

const KEY_BYTES = 8;
/** Parameter list of every service action that we have. */
const OUT_PARAMETER_BYTES = 24;
/** Byte 20 of it: SPEC_I_PT, ALL_TG_PT, APTPL. All need what a guest's disk does not have. */
const OUT_FLAGS = 0x0d;
const SCOPE_LOGICAL_UNIT = 0;

/** Byte 3 of REPORT CAPABILITIES: the type mask below says something. */
const TYPE_MASK_VALID = 0x80;

export function readKeys(unit: BlockUnit, command: ScsiCommand): Answered {
  const { keys, generation } = unit.share.reservations;
  const answer = new Uint8Array(8 + KEY_BYTES * keys.length);
  putU32be(answer, 0, generation);
  putU32be(answer, 4, KEY_BYTES * keys.length);
  keys.forEach((key, index) => {
    answer.set(fromHex(key), 8 + KEY_BYTES * index);
  });
  return respond(command, answer, u16be(command.cdb, 7));
}

export function readReservation(unit: BlockUnit, command: ScsiCommand): Answered {
  const { reservation, generation } = unit.share.reservations;
  const answer = new Uint8Array(reservation === undefined ? 8 : 24);
  putU32be(answer, 0, generation);
  if (reservation !== undefined) {
    putU32be(answer, 4, 16);
    answer.set(fromHex(reservation.key), 8);
    answer[21] = (SCOPE_LOGICAL_UNIT << 4) | reservation.type;
  }
  return respond(command, answer, u16be(command.cdb, 7));
}

export function reportCapabilities(_unit: BlockUnit, command: ScsiCommand): Answered {
  const answer = new Uint8Array(8);
  putU16be(answer, 0, answer.length);
  answer[3] = TYPE_MASK_VALID;
  // Bits 1..7 of byte 4 are types 1..7, bit 0 of byte 5 is type 8.
  for (const type of Object.values(ReservationType)) {
    if (type < 8) answer[4] = (answer[4] as number) | (1 << type);
    else answer[5] = 1;
  }
  return respond(command, answer, u16be(command.cdb, 7));
}

/** All service actions of PERSISTENT RESERVE OUT that we have. */
export function persistentReserveOut(unit: BlockUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const action = (cdb[1] as number) & 0x1f;
  const scope = (cdb[2] as number) >>> 4;
  const type = (cdb[2] as number) & 0xf;
  if (u32be(cdb, 5) !== OUT_PARAMETER_BYTES) return command.refuse(SENSE.ParameterListLength);
  const list = parameterList(command, OUT_PARAMETER_BYTES);
  if (list === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  if (((list[20] as number) & OUT_FLAGS) !== 0) return command.refuse(SENSE.InvalidFieldInParameterList);
  const hasType =
    action === PersistentReserveOut.Reserve ||
    action === PersistentReserveOut.Release ||
    action === PersistentReserveOut.Preempt ||
    action === PersistentReserveOut.PreemptAndAbort;
  if (hasType && (scope !== SCOPE_LOGICAL_UNIT || !isReservationType(type))) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  const key = keyAt(list, 0);
  const otherKey = keyAt(list, KEY_BYTES);
  if (action === PersistentReserveOut.PreemptAndAbort) {
    return command.awaitWork(preemptAndAbort(unit, command, key, otherKey, type));
  }
  return answerOutcome(command, runAction(unit, action, key, otherKey, type));
}

function runAction(unit: BlockUnit, action: number, key: string, otherKey: string, type: number): ReserveOutcome {
  const { reservations } = unit.share;
  switch (action) {
    case PersistentReserveOut.Register:
      return reservations.register(unit, key, otherKey, false);
    case PersistentReserveOut.RegisterAndIgnoreExistingKey:
      return reservations.register(unit, NO_KEY, otherKey, true);
    case PersistentReserveOut.Reserve:
      return reservations.reserve(unit, key, type);
    case PersistentReserveOut.Release:
      return reservations.release(unit, key, type);
    case PersistentReserveOut.Clear:
      return reservations.clear(unit, key);
    case PersistentReserveOut.Preempt:
      return reservations.preempt(unit, key, otherKey, type);
    default:
      return SENSE.InvalidFieldInCdb;
  }
}

/**
 * What a store is doing cannot be called back, so "abort" is: nothing new begins, and the answer comes when every write
 * that was under way has ended. After it, no write of a preempted guest reaches the store.
 */
async function preemptAndAbort(
  unit: BlockUnit,
  command: ScsiCommand,
  key: string,
  otherKey: string,
  type: number,
): Promise<Answered> {
  const { reservations, gate } = unit.share;
  const outcome = reservations.preempt(unit, key, otherKey, type);
  if (outcome === 'good') {
    await gate.enterAlone();
    gate.leaveAlone();
  }
  return answerOutcome(command, outcome);
}

function answerOutcome(command: ScsiCommand, outcome: ReserveOutcome): Answered {
  if (outcome === 'good') return command.good(OUT_PARAMETER_BYTES);
  return outcome === 'conflict' ? command.conflict() : command.refuse(outcome);
}

/** RESERVE(6) and (10) of the whole unit for the initiator itself: third parties and extents are obsolete. */
export function reserveUnit(unit: BlockUnit, command: ScsiCommand): Answered {
  if (((command.cdb[1] as number) & 0x1f) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  return unit.share.reservations.reserveUnit(unit.initiator) ? command.good(0) : command.conflict();
}

export function releaseUnit(unit: BlockUnit, command: ScsiCommand): Answered {
  if (((command.cdb[1] as number) & 0x1f) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  return unit.share.reservations.releaseUnit(unit.initiator) ? command.good(0) : command.conflict();
}

function keyAt(list: Uint8Array, at: number): string {
  return toHex(list.subarray(at, at + KEY_BYTES));
}
