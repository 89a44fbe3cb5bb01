export { ControlWord, FEATURE_PENDING_SEND_SIZE } from './control-page.ts';
export { PacketBuffer } from './packet-buffer.ts';
export { MAX_RING_DATA_BYTES, RingMemory } from './ring-memory.ts';
export { RingRead, RingReader, type RingReaderOptions } from './ring-reader.ts';
export { type RingEndOptions, RingWrite, RingWriter } from './ring-writer.ts';
