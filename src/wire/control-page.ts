/**
 * The control page of a ring: its first page, before the data.
 *
 * "In" is where the producer writes next, "out" where the consumer reads next; both are bytes from the start of the
 * data. `ring/` touches the words with atomics; this declaration is their layout, for printers and tests.
 */
import { pad, struct, u32 } from './struct.ts';

/** Source: Linux `include/linux/hyperv.h`, `struct hv_ring_buffer`. */
export const RingControlPage = struct('RingControlPage', 4096, {
  writeIndex: u32(0), // the producer's
  readIndex: u32(4), // the consumer's
  interruptMask: u32(8), // the consumer's; not 0: no signal for new data, please
  pendingSendBytes: u32(12), // the producer's; 0, or the room it waits for
  reserved: pad(16, 48),
  features: u32(64), // the producer's; RING_FEATURE_PENDING_SEND_SIZE
  reserved2: pad(68, 4028), // a macOS guest counts interrupts at 4088, nobody else looks
});

/** Bit 0 of `features`: this producer sets `pendingSendBytes`, and honours it on the opposite ring. */
export const RING_FEATURE_PENDING_SEND_SIZE = 1;
