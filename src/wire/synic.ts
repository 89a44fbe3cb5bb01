/**
 * What carries control messages and signals on a real hypervisor: hypercall inputs and the message slot.
 *
 * Source: Hyper-V Top Level Functional Specification, chapters "Inter-Partition Communication" and "Hypercall
 * Reference"; Linux `include/asm-generic/hyperv-tlfs.h`.
 */
import { bytes, pad, struct, u8, u16, u32, u64 } from './struct.ts';

/** Call codes. Source: TLFS, HvPostMessage and HvSignalEvent. */
export const HvCallCode = { PostMessage: 0x005c, SignalEvent: 0x005d } as const;

/** The SynIC message type of VMBus. Source: Linux `drivers/hv/connection.c`, `vmbus_post_msg`. */
export const VMBUS_SYNIC_MESSAGE_TYPE = 1;

/** Source: Linux `include/asm-generic/hyperv-tlfs.h`, `struct hv_input_post_message`. */
export const PostMessageInput = struct('PostMessageInput', 256, {
  connectionId: u32(0), // 24 bits count
  reserved: pad(4, 4),
  messageType: u32(8), // VMBUS_SYNIC_MESSAGE_TYPE
  payloadBytes: u32(12), // 0..240
  payload: bytes(16, 240),
});

/** Source: Linux `include/asm-generic/hyperv-tlfs.h`, `struct hv_input_signal_event`. */
export const SignalEventInput = struct('SignalEventInput', 8, {
  connectionId: u32(0),
  flagNumber: u16(4), // 0
  reserved: pad(6, 2),
});

/** Bit 0 of `SynicMessage.flags`: another message waits for this slot; write EOM after freeing it. */
export const SYNIC_MESSAGE_PENDING = 1;

/** One of the 16 slots of the message page. Source: Linux `include/asm-generic/hyperv-tlfs.h`, `struct hv_message`. */
export const SynicMessage = struct('SynicMessage', 256, {
  messageType: u32(0), // 0: the slot is free
  payloadBytes: u8(4),
  flags: u8(5), // SYNIC_MESSAGE_PENDING
  reserved: pad(6, 2),
  sender: u64(8), // port id
  payload: bytes(16, 240),
});

/** Event flags of one SINT in the event flags page. */
export const EVENT_FLAGS_PER_SINT = 2048;
/** Bytes of a SINT's slot in the message page and of its area in the event flags page. */
export const SYNIC_SLOT_BYTES = 256;
