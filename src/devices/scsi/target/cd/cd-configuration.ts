/** GET CONFIGURATION: what the drive is and can do, by features. Source: MMC-6 sections 5 and 6.5. */
import { putU16be, putU32be, u16be } from '../big-endian.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { respond } from '../respond.ts';
import { SENSE } from '../sense.ts';
import { CD_BLOCK_BYTES, type CdUnit } from './cd-unit.ts';

const Profile = { None: 0x0000, CdRom: 0x0008, DvdRom: 0x0010 } as const;

/** Requested type: all features; those that are current; one. */
const Wanted = { All: 0, Current: 1, One: 2 } as const;

const CURRENT = 0x01;
const PERSISTENT = 0x02;
const VERSION_SHIFT = 2;

/** Removable medium: a tray, with eject and lock. */
const TRAY_EJECT_LOCK = 0x29;
const PHYSICAL_INTERFACE_SCSI = 1;

interface Feature {
  readonly code: number;
  readonly version: number;
  readonly isPersistent: boolean;
  readonly isCurrent: boolean;
  readonly data: readonly number[];
}

export function getConfiguration(cd: CdUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const wanted = (cdb[1] as number) & 3;
  const from = u16be(cdb, 2);
  if (wanted > Wanted.One) return command.refuse(SENSE.InvalidFieldInCdb);
  const features = featuresOf(cd).filter(({ code, isCurrent }) =>
    wanted === Wanted.One ? code === from : code >= from && (wanted === Wanted.All || isCurrent),
  );
  const body = features.flatMap(({ code, version, isPersistent, isCurrent, data }) => [
    code >>> 8,
    code & 0xff,
    (version << VERSION_SHIFT) | (isPersistent ? PERSISTENT : 0) | (isCurrent ? CURRENT : 0),
    data.length,
    ...data,
  ]);
  const answer = new Uint8Array(8 + body.length);
  putU32be(answer, 0, answer.length - 4);
  putU16be(answer, 6, profileOf(cd));
  answer.set(body, 8);
  return respond(command, answer, u16be(cdb, 7));
}

function profileOf(cd: CdUnit): number {
  if (!cd.hasMedium) return Profile.None;
  return cd.isDvd ? Profile.DvdRom : Profile.CdRom;
}

/** In ascending order. */
function featuresOf(cd: CdUnit): Feature[] {
  const isCd = cd.hasMedium && !cd.isDvd;
  const isDvd = cd.hasMedium && cd.isDvd;
  const always = { isPersistent: true, isCurrent: true };
  const profile = (code: number, isCurrent: boolean): number[] => [0, code, isCurrent ? 1 : 0, 0];
  return [
    {
      code: 0x0000, // Profile list.
      version: 0,
      ...always,
      data: [...profile(Profile.DvdRom, isDvd), ...profile(Profile.CdRom, isCd)],
    },
    { code: 0x0001, version: 2, ...always, data: [0, 0, 0, PHYSICAL_INTERFACE_SCSI, 0, 0, 0, 0] }, // Core.
    { code: 0x0003, version: 0, ...always, data: [TRAY_EJECT_LOCK, 0, 0, 0] }, // Removable medium.
    {
      code: 0x0010, // Random readable, with the blocks that are read together.
      version: 0,
      isPersistent: false,
      isCurrent: cd.hasMedium,
      data: [0, 0, CD_BLOCK_BYTES >>> 8, 0, 0, isDvd ? 16 : 1, 0, 0],
    },
    { code: 0x001e, version: 0, isPersistent: false, isCurrent: isCd, data: [0, 0, 0, 0] }, // CD read.
    { code: 0x001f, version: 0, isPersistent: false, isCurrent: isDvd, data: [] }, // DVD read.
    { code: 0x0100, version: 0, ...always, data: [] }, // Power management.
  ];
}
