/** What our own caller can do wrong with a ring, in words. */
import { UsageError } from '../errors.ts';
import { DESCRIPTOR_BYTES } from '../wire/packet.ts';

export function badPacketBytes(packetBytes: number): UsageError {
  return new UsageError(
    'ERR_ARGUMENT',
    `${packetBytes} bytes are no packet: a multiple of 8, ${DESCRIPTOR_BYTES} or more`,
  );
}

export function shortPayload(presentBytes: number, payloadBytes: number): UsageError {
  return new UsageError('ERR_ARGUMENT', `${payloadBytes} bytes of a payload of ${presentBytes}`);
}

export function badPfnCount(pfnCount: number, present: number): UsageError {
  return new UsageError('ERR_ARGUMENT', `${pfnCount} page frame numbers of a list of ${present}`);
}
