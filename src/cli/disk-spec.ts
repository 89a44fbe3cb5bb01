/** A disk as a command line names it: `FILE[,lun=N][,ro][,cd][,overlay=F][,format=…][,fault=RULE]`. */
import { UsageError } from '../errors.ts';
import { type FaultRule, IMAGE_FORMATS, type ImageFormat, parseFaultRule } from '../images/index.ts';
import { CommandError, ExitCode } from './exit.ts';

type NamedFormat = Exclude<ImageFormat, 'overlay'>;

export interface DiskSpec {
  readonly path: string;
  readonly readOnly: boolean;
  /** A CD or DVD drive with this ISO image in it, instead of a disk. */
  readonly isCd?: boolean;
  /** Without it the disk gets a controller of its own. */
  readonly lun?: number;
  /** Delta file that takes all writes. */
  readonly overlay?: string;
  /** Default: found out from the file. */
  readonly format?: NamedFormat;
  readonly faults?: readonly FaultRule[];
}

/** Where a guest finds a disk. */
export interface DiskPlace {
  /** Counted from 0. */
  readonly controller: number;
  readonly lun: number;
}

const FORMATS: readonly NamedFormat[] = IMAGE_FORMATS.filter((format) => format !== 'overlay');
/** What Linux and Windows look at behind one target. */
const MAX_LUN = 63;
/** Controllers of one host; ours. */
export const MAX_CONTROLLERS = 64;

/** For `--help`, of every command that takes disks. */
export const DISK_HELP = `
A disk is FILE with any of these behind it (a comma in a name is written twice):
  ,ro             read-only
  ,cd             a CD or DVD drive with this ISO image in it; read-only
  ,lun=N          LUN N (0 to ${MAX_LUN}) of the controller of the disk before it; without this word every disk
                  gets a controller of its own and is LUN 0 there
  ,overlay=F      leave FILE as it is; what is written goes to F, which is made if it is missing
  ,format=FORMAT  ${FORMATS.join(', ')}; found out from the file without it. A guest that may write a raw
                  disk can make it look like another format: name the format of disks you do not trust
  ,fault=RULE     fail by rule, for tests; must come last; more rules behind a semicolon. Examples:
                  fault=error:on=read,every=100   fault=delay:delayMs=20;torn:probability=0.01
`;

/** @throws CommandError with one line that says which word is wrong */
export function parseDiskSpec(text: string): DiskSpec {
  // A rule has commas of its own, so it takes all that follows.
  const [, list = text, rules] = /^(.*?),fault=(.*)$/s.exec(text) ?? [];
  const [path = '', ...words] = splitWords(list);
  const wrong = (why: string): CommandError => new CommandError(ExitCode.WrongUsage, `disk "${text}": ${why}`);
  if (path === '') throw wrong('it names no file');
  const spec: { -readonly [Name in keyof DiskSpec]: DiskSpec[Name] } = { path, readOnly: false };
  const seen = new Set<string>();
  for (const word of words) {
    const [name = '', value] = word.split(/=(.*)/s);
    if (seen.has(name)) throw wrong(`"${name}" is said twice`);
    seen.add(name);
    if (name === 'ro' && value === undefined) spec.readOnly = true;
    else if (name === 'cd' && value === undefined) spec.isCd = true;
    else if (name === 'lun') spec.lun = parseLun(value, wrong);
    else if (name === 'overlay') spec.overlay = value || fail(wrong('overlay= names no file'));
    else if (name === 'format') spec.format = FORMATS.find((one) => one === value) ?? fail(wrong(badFormat(value)));
    else throw wrong(`"${word}" is none of ro, cd, lun=N, overlay=F, format=FORMAT, fault=RULE`);
  }
  if (spec.isCd) {
    if (spec.overlay !== undefined || spec.format !== undefined) throw wrong('a CD has neither overlay nor format');
    spec.readOnly = true;
  }
  if (rules !== undefined) spec.faults = parseRules(rules, wrong);
  return spec;
}

/** The text that `parseDiskSpec` reads as this. Not for specs with faults. */
export function formatDiskSpec({ path, readOnly, isCd, lun, overlay, format }: DiskSpec): string {
  const words = [
    ...(readOnly ? ['ro'] : []),
    ...(isCd ? ['cd'] : []),
    ...(lun === undefined ? [] : [`lun=${lun}`]),
    ...(overlay === undefined ? [] : [`overlay=${overlay}`]),
    ...(format === undefined ? [] : [`format=${format}`]),
  ];
  return [path, ...words].map((word) => word.replaceAll(',', ',,')).join(',');
}

/** Gives every disk its place, in order. @throws CommandError if two want the same one */
export function placeDisks(specs: readonly DiskSpec[]): DiskPlace[] {
  const taken = new Map<string, DiskSpec>();
  let controller = -1;
  return specs.map((spec) => {
    if (spec.lun === undefined || controller < 0) controller++;
    if (controller >= MAX_CONTROLLERS) {
      throw new CommandError(
        ExitCode.WrongUsage,
        `more than ${MAX_CONTROLLERS} controllers: put disks together with lun=N`,
      );
    }
    const place = { controller, lun: spec.lun ?? 0 };
    const other = taken.get(formatPlace(place));
    if (other !== undefined) {
      throw new CommandError(
        ExitCode.WrongUsage,
        `${other.path} and ${spec.path} are both LUN ${place.lun} of controller ${controller}`,
      );
    }
    taken.set(formatPlace(place), spec);
    return place;
  });
}

/** `0:3`: controller and LUN, as `--disk` takes it. */
export function formatPlace({ controller, lun }: DiskPlace): string {
  return `${controller}:${lun}`;
}

/** @param text `1`, which is LUN 0 of controller 1, or `1:3` */
export function parsePlace(text: string): DiskPlace {
  const [, controller = '', lun = '0'] = /^(\d{1,3})(?::(\d{1,3}))?$/.exec(text) ?? [];
  const place = { controller: Number(controller || Number.NaN), lun: Number(lun) };
  if (place.controller < MAX_CONTROLLERS && place.lun <= MAX_LUN) return place;
  throw new CommandError(
    ExitCode.WrongUsage,
    `--disk "${text}" is no disk: say CONTROLLER or CONTROLLER:LUN, counted from 0, as 0 or 0:3`,
  );
}

/** Splits at commas; two commas are one that belongs to the word. */
function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ',') word += text[at];
    else if (text[at + 1] === ',') word += text[at++];
    else {
      words.push(word);
      word = '';
    }
  }
  return [...words, word];
}

function parseLun(value: string | undefined, wrong: (why: string) => CommandError): number {
  const lun = value !== undefined && /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!(lun <= MAX_LUN)) throw wrong(`lun=${value ?? ''} is no LUN: say a number from 0 to ${MAX_LUN}`);
  return lun;
}

function badFormat(value: string | undefined): string {
  return `format=${value ?? ''} is none of ${FORMATS.join(', ')}`;
}

function parseRules(text: string, wrong: (why: string) => CommandError): FaultRule[] {
  try {
    return text.split(';').map(parseFaultRule);
  } catch (error) {
    if (error instanceof UsageError) throw wrong(error.message);
    throw error;
  }
}

function fail(error: Error): never {
  throw error;
}
