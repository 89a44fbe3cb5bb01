/**
 * Encodes ACPI Machine Language: the few terms that a device description needs.
 *
 * Every function returns the bytes of one term; terms are concatenated into bodies.
 *
 * Source: ACPI 6.4, chapter 20 "ACPI Machine Language (AML) Specification", section 6.4 "Resource Data Types".
 */
import { UsageError } from '../../../errors.ts';

export type Aml = readonly number[];

const Op = {
  Zero: 0x00,
  One: 0x01,
  Name: 0x08,
  Byte: 0x0a,
  Word: 0x0b,
  Dword: 0x0c,
  String: 0x0d,
  Qword: 0x0e,
  Scope: 0x10,
  Buffer: 0x11,
  Package: 0x12,
  Method: 0x14,
  Return: 0xa4,
  ExtendedPrefix: 0x5b,
  Device: 0x82,
} as const;

/** `Scope (path) { terms }` */
export function scope(path: string, ...terms: readonly Aml[]): Aml {
  return [Op.Scope, ...withLength([...nameString(path), ...terms.flat()])];
}

/** `Device (name) { terms }` */
export function device(name: string, ...terms: readonly Aml[]): Aml {
  return [Op.ExtendedPrefix, Op.Device, ...withLength([...nameString(name), ...terms.flat()])];
}

/** `Name (path, value)` */
export function name(path: string, value: Aml): Aml {
  return [Op.Name, ...nameString(path), ...value];
}

/** `Method (name, 0, NotSerialized) { Return (value) }` */
export function constantMethod(methodName: string, value: Aml): Aml {
  const noArguments = 0;
  return [Op.Method, ...withLength([...nameString(methodName), noArguments, Op.Return, ...value])];
}

/** `Package () { elements }`, at most 255 of them. */
export function packageOf(...elements: readonly Aml[]): Aml {
  return [Op.Package, ...withLength([elements.length, ...elements.flat()])];
}

/** An integer constant in its shortest form. @param value 0..2^53-1 */
export function integer(value: number): Aml {
  if (value === 0) return [Op.Zero];
  if (value === 1) return [Op.One];
  if (value <= 0xff) return [Op.Byte, value];
  if (value <= 0xffff) return [Op.Word, ...little(value, 2)];
  if (value <= 0xffffffff) return [Op.Dword, ...little(value, 4)];
  return [Op.Qword, ...little(value, 8)];
}

/** A string constant of ASCII characters. */
export function string(text: string): Aml {
  return [Op.String, ...ascii(text), 0];
}

/** `EisaId ("PNP0501")`: three letters of 5 bits, four hex digits, stored big-endian. */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id))
    throw new UsageError('ERR_ARGUMENT', `"${id}" is not an EISA id such as PNP0501`);
  const [a = 0, b = 0, c = 0] = ascii(id).map((code) => code - 0x40);
  const vendor = (a << 10) | (b << 5) | c;
  const product = Number.parseInt(id.slice(3), 16);
  return [Op.Dword, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff];
}

/** `ResourceTemplate () { descriptors }` */
export function resources(...descriptors: readonly Aml[]): Aml {
  const endTag = [0x79, 0];
  const bytes = [...descriptors.flat(), ...endTag];
  return [Op.Buffer, ...withLength([...integer(bytes.length), ...bytes])];
}

/** A window of addresses that children of this device may use. @param first, last inclusive */
export function memoryWindow(first: number, last: number): Aml {
  const qwordAddressSpace = 0x8a;
  const memory = 0;
  const producerFixedMinFixedMax = 0x0c;
  const readWrite = 0x01;
  const body = [memory, producerFixedMinFixedMax, readWrite, ...little(0, 8), ...little(first, 8), ...little(last, 8)];
  return largeDescriptor(qwordAddressSpace, [...body, ...little(0, 8), ...little(last - first + 1, 8)]);
}

/** A fixed run of I/O ports. */
export function ioPorts(first: number, count: number): Aml {
  const ioDescriptor = 0x47;
  const decodes16Bits = 1;
  const anyAlignment = 0;
  return [ioDescriptor, decodes16Bits, ...little(first, 2), ...little(first, 2), anyAlignment, count];
}

/** An edge-triggered, active-high, exclusive interrupt by its global number. */
export function edgeInterrupt(gsi: number): Aml {
  const extendedInterrupt = 0x89;
  const consumerEdgeHigh = 0x03;
  return largeDescriptor(extendedInterrupt, [consumerEdgeHigh, 1, ...little(gsi, 4)]);
}

function largeDescriptor(type: number, body: Aml): Aml {
  return [type, ...little(body.length, 2), ...body];
}

/** `PkgLength` in front of what it counts; it counts itself too. */
function withLength(body: Aml): Aml {
  if (body.length + 1 < 1 << 6) return [body.length + 1, ...body];
  if (body.length + 2 < 1 << 12) return [...packageLength(body.length + 2, 1), ...body];
  if (body.length + 3 < 1 << 20) return [...packageLength(body.length + 3, 2), ...body];
  throw new UsageError('ERR_ARGUMENT', `an AML package of ${body.length} bytes is larger than this encoder needs`);
}

/** The lead byte holds the number of following bytes and the low four bits. */
function packageLength(length: number, following: number): Aml {
  return [(following << 6) | (length & 0xf), ...little(length >> 4, following)];
}

/** `\_SB.VMBS`: a root or parent prefix, then segments of four characters, padded with `_`. */
function nameString(path: string): Aml {
  const prefix = /^[\\^]*/.exec(path)?.[0] ?? '';
  const segments = path.slice(prefix.length).split('.').map(segment);
  const dualName = 0x2e;
  const multiName = 0x2f;
  const [first = [], second] = segments;
  if (second === undefined) return [...ascii(prefix), ...first];
  const count = segments.length === 2 ? [dualName] : [multiName, segments.length];
  return [...ascii(prefix), ...count, ...segments.flat()];
}

function segment(text: string): Aml {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(text))
    throw new UsageError('ERR_ARGUMENT', `"${text}" is not an ACPI name segment`);
  return ascii(text.padEnd(4, '_'));
}

function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

/** @param value 0..2^53-1 */
function little(value: number, byteCount: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; bytes.length < byteCount; rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  return bytes;
}
