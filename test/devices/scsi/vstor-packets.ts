/** vstor packets as a guest writes them, built by offsets from the protocol's description, apart from the code under test. */

export const COMPLETE_IO = 1;
export const EXECUTE_SRB = 3;
export const RESET_LUN = 4;
export const RESET_ADAPTER = 5;
export const RESET_BUS = 6;
export const BEGIN_INITIALIZATION = 7;
export const END_INITIALIZATION = 8;
export const QUERY_PROTOCOL_VERSION = 9;
export const QUERY_PROPERTIES = 10;
export const ENUMERATE_BUS = 11;
export const CREATE_SUB_CHANNELS = 13;

export const DIRECTION_WRITE = 0;
export const DIRECTION_READ = 1;
export const DIRECTION_NONE = 2;

/** A packet with an operation and up to two payload bytes. */
export function vstorPacket(operation: number, value = 0, packetBytes = 64): Uint8Array {
  const packet = new Uint8Array(packetBytes);
  const view = new DataView(packet.buffer);
  view.setUint32(0, operation, true);
  view.setUint32(4, 1, true);
  if (packetBytes >= 14) view.setUint16(12, value, true);
  return packet;
}

/** The packet, addressed as a request is. */
export function addressed(packet: Uint8Array, at: { path?: number; target?: number; lun?: number }): Uint8Array {
  packet.set([at.path ?? 0, at.target ?? 0, at.lun ?? 0], 17);
  return packet;
}

export interface Srb {
  cdb: Uint8Array;
  /** Bytes offered. Default 0. */
  dataBytes?: number;
  /** Default: `Read` with data, `None` without. */
  direction?: number;
  path?: number;
  target?: number;
  lun?: number;
  srbFlags?: number;
  cdbBytes?: number;
  packetBytes?: number;
}

export function srbPacket(srb: Srb): Uint8Array {
  const { cdb, dataBytes = 0, packetBytes = 64 } = srb;
  const packet = new Uint8Array(64);
  const view = new DataView(packet.buffer);
  view.setUint32(0, EXECUTE_SRB, true);
  view.setUint32(4, 1, true);
  view.setUint16(12, packetBytes - 12, true);
  packet[17] = srb.path ?? 0;
  packet[18] = srb.target ?? 0;
  packet[19] = srb.lun ?? 0;
  packet[20] = srb.cdbBytes ?? cdb.length;
  packet[21] = 20;
  packet[22] = srb.direction ?? (dataBytes > 0 ? DIRECTION_READ : DIRECTION_NONE);
  view.setUint32(24, dataBytes, true);
  packet.set(cdb, 28);
  view.setUint32(52, srb.srbFlags ?? 0, true);
  return packet.slice(0, packetBytes);
}

/** READ(10) or WRITE(10). */
export function blocksCdb(opcode: 0x28 | 0x2a, lba: number, blocks: number): Uint8Array {
  const cdb = new Uint8Array(10);
  const view = new DataView(cdb.buffer);
  cdb[0] = opcode;
  view.setUint32(2, lba);
  view.setUint16(7, blocks);
  return cdb;
}

/** The fields of a completion that tests look at. */
export function parseCompletion(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hasSense = ((bytes[14] as number) & 0x80) !== 0;
  return {
    operation: view.getUint32(0, true),
    status: view.getUint32(8, true),
    srbStatus: (bytes[14] as number) & 0x3f,
    scsiStatus: bytes[15] as number,
    transferredBytes: view.getUint32(24, true),
    sense: hasSense ? [(bytes[30] as number) & 0xf, bytes[40] as number, bytes[41] as number] : undefined,
  };
}

/** A completion of an SRB that did what it should. */
export function goodSrb(transferredBytes: number) {
  return { operation: COMPLETE_IO, status: 0, srbStatus: 1, scsiStatus: 0, transferredBytes, sense: undefined };
}

/** A completion with CHECK CONDITION and autosense. */
export function failedSrb(srbStatus: number, sense: [number, number, number]) {
  return { operation: COMPLETE_IO, status: 0xc0000185, srbStatus, scsiStatus: 2, transferredBytes: 0, sense };
}
