/**
 * A packet that was saved, once more at the end of a ring: a private ring that holds nothing else. So it is judged by the
 * same rules, and taken by the same code, as one that the peer has just sent.
 */
import { PAGE_BYTES } from '../../memory/index.ts';
import { RingMemory, RingRead, RingReader, RingWrite, RingWriter } from '../../ring/index.ts';
import { DESCRIPTOR_BYTES, MAX_PACKET_BYTES } from '../../wire/packet.ts';
import { badSavedState } from '../../wire/saved/index.ts';

/** The control page, room for trailer and gap, and the rest of the last page. */
const EXTRA_PAGES = 3;

/**
 * A reader that has peeked at the packet.
 * @param encoded descriptor to padding
 * @throws PeerError for what is no packet
 */
export function replay(encoded: Uint8Array): RingReader {
  const isLength = encoded.length % 8 === 0 && encoded.length >= DESCRIPTOR_BYTES && encoded.length <= MAX_PACKET_BYTES;
  if (!isLength) throw badSavedState(`a packet of ${encoded.length} bytes`);
  const pages = Math.floor(encoded.length / PAGE_BYTES) + EXTRA_PAGES;
  const ring = RingMemory.over(new Uint8Array(pages * PAGE_BYTES));
  const writer = new RingWriter(ring, { where: 'saved state' });
  const isStaged = writer.stagePacket(encoded) === RingWrite.Staged;
  writer.publish();
  const reader = new RingReader(ring, { where: 'saved state' });
  const isWhole = isStaged && reader.peek() === RingRead.Packet && reader.packetBytes === encoded.length;
  if (!isWhole) throw badSavedState(`a packet of ${encoded.length} bytes says that it has ${reader.packetBytes}`);
  return reader;
}
