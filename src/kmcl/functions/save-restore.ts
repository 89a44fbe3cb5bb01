/**
 * Save and restore: present in the server's table, as their callers test the status and not the pointer, and answered
 * with `STATUS_NOT_SUPPORTED` until the feature itself is built. They change nothing and write no out-parameter.
 */
import { type NtStatus, STATUS_NOT_SUPPORTED } from '../../wire/ntstatus.ts';
import type { VmbPacket, VmbServerChannel } from '../objects/handles.ts';
import type { Out } from '../out.ts';

/**
 * @returns `STATUS_NOT_SUPPORTED`
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SAVE_BEGIN.
 */
export function VmbChannelSaveBegin(_channel: VmbServerChannel): NtStatus {
  return STATUS_NOT_SUPPORTED;
}

/**
 * @returns `STATUS_NOT_SUPPORTED`
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SAVE_CONTINUE.
 */
export function VmbChannelSaveContinue(
  _channel: VmbServerChannel,
  _saveBuffer: Uint8Array,
  _saveBufferSize: number,
  _bytesFilled: Out<number>,
  _bytesRequired: Out<number>,
): NtStatus {
  return STATUS_NOT_SUPPORTED;
}

/**
 * Has nothing to free. Differs from Windows, which returns nothing: the status says why.
 * @returns `STATUS_NOT_SUPPORTED`
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SAVE_END.
 */
export function VmbChannelSaveEnd(_channel: VmbServerChannel): NtStatus {
  return STATUS_NOT_SUPPORTED;
}

/**
 * @returns `STATUS_NOT_SUPPORTED`
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_RESTORE_FROM_BUFFER.
 */
export function VmbChannelRestoreFromBuffer(
  _channel: VmbServerChannel,
  _buffer: Uint8Array,
  _bufferSize: number,
): NtStatus {
  return STATUS_NOT_SUPPORTED;
}

/**
 * @returns `STATUS_NOT_SUPPORTED`
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_RESTORE.
 */
export function VmbPacketRestore(_packetObject: VmbPacket, _buffer: Uint8Array, _bufferSize: number): NtStatus {
  return STATUS_NOT_SUPPORTED;
}
