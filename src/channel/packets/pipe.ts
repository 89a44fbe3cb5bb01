/**
 * Pipe framing: 8 bytes before each payload that say how long it is exactly.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct vmbuspipe_hdr`; checks: OpenVMM `vmbus_async` `pipe.rs`.
 */
import { PeerError } from '../../errors.ts';
import {
  DESCRIPTOR_BYTES,
  encodeInBand,
  MAX_PIPE_PAYLOAD_BYTES,
  PipeHeader,
  PipePacketType,
} from '../../wire/packet.ts';

/** An in-band packet with flags and id 0, a pipe header, and the payload. @returns bytes of the packet */
export function encodePipe(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  const packetBytes = encodeInBand(words, bytes, at, 0, 0, 0, null, PipeHeader.size + payloadBytes);
  const word = (at + DESCRIPTOR_BYTES) >>> 2;
  words[word] = PipePacketType.Data;
  words[word + 1] = payloadBytes;
  if (payload !== null) {
    const exact = payload.length === payloadBytes ? payload : payload.subarray(0, payloadBytes);
    bytes.set(exact, at + DESCRIPTOR_BYTES + PipeHeader.size);
  }
  return packetBytes;
}

/**
 * Judges the pipe header of a received packet.
 * @param words private copy of the packet
 * @param payloadAt byte offset of the pipe header in it
 * @param framedBytes bytes from there to the end of the packet
 * @returns bytes of payload behind the header
 * @throws PeerError `ERR_RING_LENGTHS`
 */
export function checkPipeHeader(words: Int32Array, payloadAt: number, framedBytes: number): number {
  if (framedBytes < PipeHeader.size) throw broken(`has ${framedBytes} bytes, its header takes ${PipeHeader.size}`);
  const type = (words[payloadAt >>> 2] as number) >>> 0;
  const payloadBytes = (words[(payloadAt >>> 2) + 1] as number) >>> 0;
  if (type !== PipePacketType.Data) throw broken(`is of type ${type}, only data (${PipePacketType.Data}) is sent`);
  const most = Math.min(framedBytes - PipeHeader.size, MAX_PIPE_PAYLOAD_BYTES);
  if (payloadBytes > most) throw broken(`announces ${payloadBytes} bytes, at most ${most} are there and allowed`);
  return payloadBytes;
}

function broken(what: string): PeerError {
  return new PeerError('ERR_RING_LENGTHS', `a pipe packet ${what}`);
}
