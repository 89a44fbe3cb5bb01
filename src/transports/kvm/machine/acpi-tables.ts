/**
 * The firmware tables: RSDP, XSDT, FADT (hardware-reduced), MADT and DSDT, laid out for one address.
 *
 * Hardware-reduced ACPI needs no timer, no SCI and no legacy controllers: turning off and resetting are port writes.
 *
 * Source: ACPI 6.4, 5.2.5 RSDP, 5.2.6 table header, 5.2.8 XSDT, 5.2.9 FADT, 5.2.12 MADT, 5.2.11.1 DSDT.
 */
import { dsdtBody } from './dsdt.ts';
import { IO_APIC_ADDRESS, LOCAL_APIC_ADDRESS } from './memory-layout.ts';
import { RESET_PORT, RESET_VALUE, SLEEP_CONTROL_PORT, SLEEP_STATUS_PORT } from './power-ports.ts';

const HEADER_BYTES = 36;
const FADT_BYTES = 276;
const RSDP_BYTES = 36;
const TABLE_ALIGNMENT = 64;

/** FADT flags: WBINVD works; power and sleep buttons are not fixed hardware; reset register; hardware-reduced. */
const FADT_FLAGS = (1 << 0) | (1 << 4) | (1 << 5) | (1 << 10) | (1 << 20);
/** FADT boot architecture flags: do not look for VGA. The real-time clock is there. */
const NO_VGA = 1 << 2;

/**
 * @param address where the result will lie, below 4 GiB; the RSDP is first
 * @param vpCount processors; processor n has APIC id n
 * @returns all tables in one run of bytes
 */
export function acpiTables(address: number, vpCount: number): Uint8Array {
  const layout = new Layout(address + align(RSDP_BYTES));
  const dsdt = layout.place(table('DSDT', 2, Uint8Array.from(dsdtBody())));
  const fadt = layout.place(table('FACP', 6, fadtBody(dsdt)));
  const madt = layout.place(table('APIC', 5, madtBody(vpCount)));
  const xsdt = layout.place(table('XSDT', 1, addresses([fadt, madt])));
  return layout.bytes(address, rsdp(xsdt));
}

/** Bytes one after another, each table on its own alignment. */
class Layout {
  readonly #tables: { at: number; bytes: Uint8Array }[] = [];
  #next: number;

  constructor(first: number) {
    this.#next = first;
  }

  /** @returns the table's address */
  place(bytes: Uint8Array): number {
    const at = this.#next;
    this.#tables.push({ at, bytes });
    this.#next = at + align(bytes.length);
    return at;
  }

  bytes(address: number, first: Uint8Array): Uint8Array {
    const all = new Uint8Array(this.#next - address);
    all.set(first);
    for (const { at, bytes } of this.#tables) all.set(bytes, at - address);
    return all;
  }
}

function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  putText(bytes, 0, signature);
  view.setUint32(4, bytes.length, true);
  bytes[8] = revision;
  putText(bytes, 10, 'VMBUS ');
  putText(bytes, 16, 'VMBUSVM ');
  view.setUint32(24, 1, true);
  putText(bytes, 28, 'VMBS');
  view.setUint32(32, 1, true);
  bytes.set(body, HEADER_BYTES);
  bytes[9] = checksum(bytes);
  return bytes;
}

function fadtBody(dsdt: number): Uint8Array {
  const bytes = new Uint8Array(FADT_BYTES - HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const at = (tableOffset: number) => tableOffset - HEADER_BYTES;
  view.setUint32(at(40), dsdt, true);
  view.setUint16(at(109), NO_VGA, true);
  view.setUint32(at(112), FADT_FLAGS, true);
  putPort(view, at(116), RESET_PORT);
  view.setUint8(at(128), RESET_VALUE);
  view.setBigUint64(at(140), BigInt(dsdt), true);
  putPort(view, at(244), SLEEP_CONTROL_PORT);
  putPort(view, at(256), SLEEP_STATUS_PORT);
  return bytes;
}

/** A generic address structure: one byte at an I/O port. */
function putPort(view: DataView, at: number, port: number): void {
  const systemIo = 1;
  const byteAccess = 1;
  view.setUint8(at, systemIo);
  view.setUint8(at + 1, 8);
  view.setUint8(at + 3, byteAccess);
  view.setBigUint64(at + 4, BigInt(port), true);
}

function madtBody(vpCount: number): Uint8Array {
  const bytes = new Uint8Array(8 + 8 * vpCount + 12);
  const view = new DataView(bytes.buffer);
  const enabled = 1;
  view.setUint32(0, LOCAL_APIC_ADDRESS, true);
  for (let vp = 0; vp < vpCount; vp++) {
    const at = 8 + 8 * vp;
    bytes.set([0, 8, vp, vp], at);
    view.setUint32(at + 4, enabled, true);
  }
  const ioApicAt = 8 + 8 * vpCount;
  bytes.set([1, 12, 0, 0], ioApicAt);
  view.setUint32(ioApicAt + 4, IO_APIC_ADDRESS, true);
  return bytes;
}

function addresses(values: readonly number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
}

function rsdp(xsdt: number): Uint8Array {
  const bytes = new Uint8Array(RSDP_BYTES);
  const view = new DataView(bytes.buffer);
  putText(bytes, 0, 'RSD PTR ');
  putText(bytes, 9, 'VMBUS ');
  bytes[15] = 2;
  view.setUint32(20, RSDP_BYTES, true);
  view.setBigUint64(24, BigInt(xsdt), true);
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

/** What makes all bytes add up to 0 in 8 bits. */
function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

function putText(bytes: Uint8Array, at: number, text: string): void {
  for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
}

function align(byteCount: number): number {
  return Math.ceil(byteCount / TABLE_ALIGNMENT) * TABLE_ALIGNMENT;
}
