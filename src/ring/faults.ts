/** What a peer can do wrong in a ring, in words. Each says what was found, what was allowed, and where. */
import { type ErrorCode, hex, PeerError } from '../errors.ts';
import { DESCRIPTOR_BYTES, TRAILER_BYTES } from '../wire/packet.ts';

/** @param where such as `channel 7, guest to host`; may be empty */
function fault(code: ErrorCode, what: string, where: string): PeerError {
  return new PeerError(code, where === '' ? what : `${what} (${where})`);
}

/** @param index as loaded; shown as the unsigned number that it is */
export function badIndex(name: 'read' | 'write', index: number, dataBytes: number, where: string): PeerError {
  const allowed = `a multiple of 8 in 0..${hex(dataBytes - 8)}`;
  return fault('ERR_RING_INDEX', `${name} index ${hex(index >>> 0)} is not ${allowed}`, where);
}

export function tooLittle(readable: number, at: number, where: string): PeerError {
  const what = `${readable} bytes to read at ${hex(at)} are less than a packet descriptor (${DESCRIPTOR_BYTES})`;
  return fault('ERR_RING_AVAILABLE', what, where);
}

export function badDataOffset(dataOffset8: number, least: number, at: number, where: string): PeerError {
  const what = `the packet at ${hex(at)} has its data at ${dataOffset8} times 8 bytes, ${least} is the least for its type`;
  return fault('ERR_RING_LENGTHS', what, where);
}

export function badLength(length8: number, dataOffset8: number, at: number, where: string): PeerError {
  const what = `the packet at ${hex(at)} is ${length8} times 8 bytes long, its data begins at ${dataOffset8} times 8`;
  return fault('ERR_RING_LENGTHS', what, where);
}

export function pastEnd(length8: number, readable: number, at: number, where: string): PeerError {
  const what = `the packet at ${hex(at)} is ${length8 * 8} + ${TRAILER_BYTES} bytes long, ${readable} are there to read`;
  return fault('ERR_RING_LENGTHS', what, where);
}

export function tooLong(length8: number, maxPacketBytes: number, at: number, where: string): PeerError {
  const what = `the packet at ${hex(at)} is ${length8 * 8} bytes long, the most that we accept is ${maxPacketBytes}`;
  return fault('ERR_RING_LENGTHS', what, where);
}

export function badFlags(flags: number, at: number, where: string): PeerError {
  return fault('ERR_RING_FLAGS', `the packet at ${hex(at)} has flags ${hex(flags)}, only bit 0 is defined`, where);
}

export function badType(type: number, at: number, where: string): PeerError {
  return fault(
    'ERR_RING_TYPE',
    `the packet at ${hex(at)} is of type ${hex(type)}, a ring carries 6, 7, 9 and 0xb`,
    where,
  );
}

export function noRanges(at: number, where: string): PeerError {
  return fault('ERR_RING_RANGES', `the GPA-direct packet at ${hex(at)} names no range`, where);
}

export function badMask(found: number, stored: number, where: string): PeerError {
  return fault('ERR_RING_MASK', `the interrupt mask is ${hex(found >>> 0)}, we stored ${stored} and it is ours`, where);
}
