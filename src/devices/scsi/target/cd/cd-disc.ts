/** What is on the disc: one session with one data track. Source: MMC-6 sections 6.26 (READ TOC), 6.21, 6.27. */
import { putU16be, putU32be, u16be, u32be } from '../big-endian.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { respond } from '../respond.ts';
import { SENSE } from '../sense.ts';
import type { CdUnit } from './cd-unit.ts';

const TocFormat = { Tracks: 0, Sessions: 1, Raw: 2 } as const;
/** ADR 1 (position), CONTROL 4 (data track). */
const DATA_TRACK = 0x14;
const TRACK = 1;
const LEAD_OUT = 0xaa;
/** READ TOC, CDB byte 1: addresses as minutes, seconds, frames. */
const MSF = 0x02;
/** Block 0 is two seconds behind the start of the program area. */
const PREGAP_BLOCKS = 150;
const BLOCKS_PER_SECOND = 75;

export function readToc(cd: CdUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const isMsf = ((cdb[1] as number) & MSF) !== 0;
  const from = cdb[6] as number;
  let answer: Uint8Array | undefined;
  switch ((cdb[2] as number) & 0xf) {
    case TocFormat.Tracks:
      answer = trackList(cd, from, isMsf);
      break;
    case TocFormat.Sessions:
      answer = listOf(TRACK, TRACK, [trackEntry(TRACK, 0, isMsf)]);
      break;
    case TocFormat.Raw:
      answer = from <= TRACK ? rawList(cd) : undefined;
      break;
  }
  return answer === undefined ? command.refuse(SENSE.InvalidFieldInCdb) : respond(command, answer, u16be(cdb, 7));
}

/** The track and the lead-out, from a track number on; `undefined` if there is none from there on. */
function trackList(cd: CdUnit, from: number, isMsf: boolean): Uint8Array | undefined {
  const leadOut = trackEntry(LEAD_OUT, cd.blockCount, isMsf);
  if (from <= TRACK) return listOf(TRACK, TRACK, [trackEntry(TRACK, 0, isMsf), leadOut]);
  return from === LEAD_OUT ? listOf(TRACK, TRACK, [leadOut]) : undefined;
}

/** As in the lead-in: first track, last track, lead-out, track 1. */
function rawList(cd: CdUnit): Uint8Array {
  const raw = (point: number, m: number, s: number, f: number): Uint8Array =>
    Uint8Array.of(1, DATA_TRACK, 0, point, 0, 0, 0, 0, m, s, f);
  const [m, s, f] = minutesSecondsFrames(cd.blockCount);
  return listOf(1, 1, [raw(0xa0, TRACK, 0, 0), raw(0xa1, TRACK, 0, 0), raw(0xa2, m, s, f), raw(TRACK, 0, 2, 0)]);
}

function listOf(first: number, last: number, entries: readonly Uint8Array[]): Uint8Array {
  const body = entries.flatMap((entry) => [...entry]);
  const answer = Uint8Array.of(0, 0, first, last, ...body);
  putU16be(answer, 0, answer.length - 2);
  return answer;
}

function trackEntry(track: number, lba: number, isMsf: boolean): Uint8Array {
  const entry = Uint8Array.of(0, DATA_TRACK, track, 0, 0, 0, 0, 0);
  if (isMsf) entry.set(minutesSecondsFrames(lba), 5);
  else putU32be(entry, 4, lba);
  return entry;
}

/** A DVD is longer than this way of counting; its end is the last that can be said. */
function minutesSecondsFrames(lba: number): [number, number, number] {
  const frames = lba + PREGAP_BLOCKS;
  const minutes = Math.floor(frames / (60 * BLOCKS_PER_SECOND));
  if (minutes > 255) return [255, 59, 74];
  return [minutes, Math.floor(frames / BLOCKS_PER_SECOND) % 60, frames % BLOCKS_PER_SECOND];
}

/** READ DISC INFORMATION: a finalized disc with one complete session. */
export function readDiscInformation(_cd: CdUnit, command: ScsiCommand): Answered {
  if (((command.cdb[1] as number) & 7) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  const answer = new Uint8Array(34);
  putU16be(answer, 0, answer.length - 2);
  answer[2] = 0x0e; // Last session complete, disc finalized.
  answer.set([TRACK, 1, TRACK, TRACK], 3); // First track; sessions; first and last track of the last session.
  answer[7] = 0x20; // Unrestricted use.
  putU32be(answer, 16, 0xffff_ffff); // No next lead-in,
  putU32be(answer, 20, 0xffff_ffff); // and no place for it: nothing more can be recorded.
  return respond(command, answer, u16be(command.cdb, 7));
}

const AddressType = { Lba: 0, Track: 1, Session: 2 } as const;

/** READ TRACK INFORMATION of the one track, however it is addressed. */
export function readTrackInformation(cd: CdUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const type = (cdb[1] as number) & 3;
  const address = u32be(cdb, 2);
  const isThere =
    type === AddressType.Lba
      ? address < cd.blockCount
      : (type === AddressType.Track || type === AddressType.Session) && address === TRACK;
  if (!isThere) return command.refuse(SENSE.InvalidFieldInCdb);
  const answer = new Uint8Array(36);
  putU16be(answer, 0, answer.length - 2);
  answer[2] = TRACK;
  answer[3] = 1; // Session.
  answer[5] = DATA_TRACK & 0xf; // Track mode: data.
  answer[6] = 0x01; // Data mode 1.
  putU32be(answer, 24, cd.blockCount);
  return respond(command, answer, u16be(cdb, 7));
}
