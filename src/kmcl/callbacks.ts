/**
 * What a driver hands to KMCL: callbacks, by their documented names.
 *
 * Source: the `evt_vmb_*` pages of WDK `vmbuskernelmodeclientlibapi.h`. Where a callback may wait in Windows it may
 * return a promise here; the next state change of that channel waits for it. `ProcessPacket`, `ProcessingComplete` and
 * the completion routine may run at DISPATCH, so they return nothing and nobody waits for them.
 */
import type { NtStatus } from '../wire/ntstatus.ts';
import { VMB_CHANNEL_STATE_CHANGE_CALLBACKS_SIZE, VMB_CHANNEL_STATE_CHANGE_CALLBACKS_VERSION } from './constants.ts';
import type { VmbChannel, VmbPacket, VmbPacketCompletion } from './objects/handles.ts';
import type { Out } from './out.ts';

/** First of an open cycle. A failure status leaves the channel without traffic, and neither Started nor Closed follows. */
export type EvtVmbChannelOpened = (channel: VmbChannel) => NtStatus | Promise<NtStatus>;
/** Configured and about to run; sends are queued until it returns. */
export type EvtVmbChannelStarted = (channel: VmbChannel) => void | Promise<void>;
/** Running; here a driver may wait for completions. */
export type EvtVmbChannelPostStarted = (channel: VmbChannel) => void | Promise<void>;
/** No packet is delivered from here to the next Started; the driver stops sending and completes what it holds. */
export type EvtVmbChannelSuspend = (channel: VmbChannel) => void | Promise<void>;
/** The end of an open cycle; the driver's GPADLs must be gone when it returns. */
export type EvtVmbChannelClosed = (channel: VmbChannel) => void | Promise<void>;

/**
 * One data packet.
 * @param buffer private copy of the payload, valid until `VmbChannelPacketComplete`; may be longer than the payload
 * @param bufferLength payload bytes in `buffer`; outside pipe mode the sent length rounded up to 8
 * @param flags `VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA` or 0
 */
export type EvtVmbChannelProcessPacket = (
  channel: VmbChannel,
  packet: VmbPacketCompletion,
  buffer: Uint8Array,
  bufferLength: number,
  flags: number,
) => void;

/** Delivery pauses after `packetsProcessed` packets: the place to flush a batch. */
export type EvtVmbChannelProcessingComplete = (channel: VmbChannel, packetsProcessed: number) => void;

/** A located device failed to connect; the channel is not open. */
export type EvtVmbChannelPnpFailure = (channel: VmbChannel, failureStatus: NtStatus) => void;

/**
 * A transaction is over; runs once for each send that returned `STATUS_SUCCESS`.
 * @param status `STATUS_SUCCESS`, or the local reason why no completion will come; the peer's own status is in `buffer`
 * @param buffer completion bytes, valid during the call only; `null` without a completion
 * @param bufferLength bytes in `buffer` that count
 */
export type EvtVmbPacketCompletionRoutine = (
  packet: VmbPacket,
  status: NtStatus,
  buffer: Uint8Array | null,
  bufferLength: number,
) => void;

/**
 * Saves the driver's part of one packet that is queued or in flight; at PASSIVE.
 *
 * The first call has no buffer: succeed if there is nothing to save, else store the bytes needed and fail, with
 * `STATUS_BUFFER_TOO_SMALL` for example. Only then comes a second call, with a buffer of at least so many bytes.
 * @param saveBufferSize bytes of `saveBuffer`; 0 in the first call
 * @param bytesNeeded receives the bytes that the driver wants to save
 */
export type EvtVmbChannelSavePacket = (
  channel: VmbChannel,
  packet: VmbPacket,
  saveBuffer: Uint8Array | null,
  saveBufferSize: number,
  bytesNeeded: Out<number>,
) => NtStatus;

/**
 * Makes one packet again on the host that restores; at PASSIVE. Allocate a packet, set its routine, call
 * `VmbPacketRestore` with `libBuffer`, and take the driver's own state from `saveBuffer`.
 * @param saveBuffer what `EvtVmbChannelSavePacket` wrote; `null` if it had nothing to save
 */
export type EvtVmbChannelRestorePacket = (
  channel: VmbChannel,
  libBuffer: Uint8Array,
  libBufferSize: number,
  saveBuffer: Uint8Array | null,
  saveBufferSize: number,
) => NtStatus;

// The callbacks of the Ex setters. Undocumented: Windows names the setters only. Here each callback is that of the plain
// setter with one more argument, the context that was given to the setter: what a second form of a callback is for.

/** Undocumented: as `EvtVmbChannelProcessPacket`, with the setter's context. */
export type EvtVmbChannelProcessPacketEx = (
  channel: VmbChannel,
  packet: VmbPacketCompletion,
  buffer: Uint8Array,
  bufferLength: number,
  flags: number,
  context: unknown,
) => void;

/** Undocumented: as `EvtVmbChannelProcessingComplete`, with the setter's context. */
export type EvtVmbChannelProcessingCompleteEx = (
  channel: VmbChannel,
  packetsProcessed: number,
  context: unknown,
) => void;

/** Undocumented: as `EvtVmbPacketCompletionRoutine`, with the setter's context. */
export type EvtVmbPacketCompletionRoutineEx = (
  packet: VmbPacket,
  status: NtStatus,
  buffer: Uint8Array | null,
  bufferLength: number,
  context: unknown,
) => void;

/** Undocumented: as `EvtVmbChannelSavePacket`, with the setter's context. */
export type EvtVmbChannelSavePacketEx = (
  channel: VmbChannel,
  packet: VmbPacket,
  saveBuffer: Uint8Array | null,
  saveBufferSize: number,
  bytesNeeded: Out<number>,
  context: unknown,
) => NtStatus;

/** Undocumented: as `EvtVmbChannelRestorePacket`, with the setter's context. */
export type EvtVmbChannelRestorePacketEx = (
  channel: VmbChannel,
  libBuffer: Uint8Array,
  libBufferSize: number,
  saveBuffer: Uint8Array | null,
  saveBufferSize: number,
  context: unknown,
) => NtStatus;

/** `VMB_CHANNEL_STATE_CHANGE_CALLBACKS`; fill `Version` and `Size` with `VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT`. */
export interface VmbChannelStateChangeCallbacks {
  Version: number;
  Size: number;
  EvtChannelOpened: EvtVmbChannelOpened | null;
  EvtChannelClosed: EvtVmbChannelClosed | null;
  EvtChannelSuspend: EvtVmbChannelSuspend | null;
  EvtChannelStarted: EvtVmbChannelStarted | null;
  EvtChannelPostStarted: EvtVmbChannelPostStarted | null;
}

/**
 * Clears the structure and sets its version and size; the members come after.
 *
 * @param callbacks structure to fill; without it a new one is returned
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT.
 */
export function VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT(
  callbacks: Partial<VmbChannelStateChangeCallbacks> = {},
): VmbChannelStateChangeCallbacks {
  return Object.assign(callbacks, {
    Version: VMB_CHANNEL_STATE_CHANGE_CALLBACKS_VERSION,
    Size: VMB_CHANNEL_STATE_CHANGE_CALLBACKS_SIZE,
    EvtChannelOpened: null,
    EvtChannelClosed: null,
    EvtChannelSuspend: null,
    EvtChannelStarted: null,
    EvtChannelPostStarted: null,
  });
}
