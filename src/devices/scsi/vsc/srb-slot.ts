/**
 * One request on the wire: a KMCL packet object and the bytes of its vstor packet, used again and again.
 *
 * A channel has as many slots as it may have requests outstanding, all made when it comes up: from then on a request
 * allocates nothing here.
 */
import {
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  type VmbPacket,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
} from '../../../kmcl/index.ts';
import { type NtStatus, STATUS_IO_DEVICE_ERROR, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import {
  CDB_BYTES,
  DataDirection,
  ScsiRequest,
  SENSE_BYTES,
  SRB_STATUS_AUTOSENSE_VALID,
  SRB_STATUS_MASK,
  SrbFlag,
  VSTOR_FLAG_REQUEST_COMPLETION,
  VSTOR_PACKET_BYTES,
  VSTOR_PAYLOAD_AT,
  VstorHeader,
  VstorOperation,
  vstorPacketBytes,
} from '../../../wire/storvsc.ts';
import type { ScsiIo } from './scsi-io.ts';
import type { StorLane } from './stor-lane.ts';

/** How long the host may take before it gives up, seconds. Source: Linux `drivers/scsi/sd.c`, SD_TIMEOUT (30 s), doubled. */
const TIMEOUT_SECONDS = 60;
const CDB_AT = VSTOR_PAYLOAD_AT + ScsiRequest.offsets.cdbOrSense;
/** Fields of a completion, counted from its start. */
const HOST_STATUS_AT = VstorHeader.offsets.status;
const SRB_STATUS_AT = VSTOR_PAYLOAD_AT + ScsiRequest.offsets.srbStatus;
const SCSI_STATUS_AT = VSTOR_PAYLOAD_AT + ScsiRequest.offsets.scsiStatus;
const SENSE_BYTES_AT = VSTOR_PAYLOAD_AT + ScsiRequest.offsets.senseInfoBytes;
const TRANSFER_BYTES_AT = VSTOR_PAYLOAD_AT + ScsiRequest.offsets.dataTransferBytes;

export class SrbSlot {
  readonly packet: VmbPacket;
  /** The channel that the packet belongs to. */
  readonly lane: StorLane;
  /** What the slot is busy with. */
  io: ScsiIo | undefined;
  readonly #packetBytes: number;
  readonly #bytes = new Uint8Array(VSTOR_PACKET_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #srb = ScsiRequest.cursor().at(this.#view, VSTOR_PAYLOAD_AT);

  /** @param version agreed with the host: it decides between packets of 64 and of 48 bytes */
  constructor(packet: VmbPacket, version: number, lane: StorLane) {
    this.packet = packet;
    this.lane = lane;
    this.#packetBytes = vstorPacketBytes(version);
    this.#encodeConstants();
  }

  /**
   * Sends `io`; with data through its page frame numbers, whole pages, of which the host may use `dataBytes`.
   * @returns what the send returned; only with `STATUS_SUCCESS` a completion follows
   */
  send(io: ScsiIo): NtStatus {
    this.io = io;
    this.#encode(io);
    const flags = VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION;
    return io.dataBytes === 0
      ? VmbPacketSend(this.packet, this.#bytes, this.#packetBytes, null, flags)
      : VmbPacketSendWithExternalPfns(this.packet, this.#bytes, this.#packetBytes, io.pfns, io.pfnCount, flags);
  }

  /**
   * Reads the host's completion into `io`: a private copy already, so it is read where it stands. The host is trusted with
   * nothing: it may be short, or answer something else.
   * @returns false if it is no answer to this request; `io.status` says so then
   */
  receive(io: ScsiIo, completion: Uint8Array, completionBytes: number): boolean {
    if (completionBytes < this.#packetBytes || u32le(completion, 0) !== VstorOperation.CompleteIo) {
      io.status = STATUS_IO_DEVICE_ERROR;
      return false;
    }
    const srbStatus = completion[SRB_STATUS_AT] as number;
    io.status = STATUS_SUCCESS;
    io.hostStatus = u32le(completion, HOST_STATUS_AT);
    io.srbStatus = srbStatus & SRB_STATUS_MASK;
    io.scsiStatus = completion[SCSI_STATUS_AT] as number;
    io.transferredBytes = Math.min(u32le(completion, TRANSFER_BYTES_AT), io.dataBytes);
    const hasSense = (srbStatus & SRB_STATUS_AUTOSENSE_VALID) !== 0;
    io.senseBytes = hasSense ? Math.min(completion[SENSE_BYTES_AT] as number, SENSE_BYTES) : 0;
    for (let at = 0; at < io.senseBytes; at++) io.senseData[at] = completion[CDB_AT + at] as number;
    return true;
  }

  /** What is the same in every request was written once. */
  #encode(io: ScsiIo): void {
    const srb = this.#srb;
    const bytes = this.#bytes;
    srb.path = io.path;
    srb.target = io.target;
    srb.lun = io.lun;
    srb.cdbBytes = io.cdbBytes;
    srb.dataIn = io.direction;
    srb.dataTransferBytes = io.dataBytes;
    for (let at = 0; at < CDB_BYTES; at++) bytes[CDB_AT + at] = at < io.cdbBytes ? (io.cdb[at] as number) : 0;
    // In the Windows 8 tail: beyond the packet, and so never sent, in older versions.
    srb.srbFlags = flagsFor(io.direction);
  }

  #encodeConstants(): void {
    const header = VstorHeader.cursor().at(this.#view, 0);
    header.operation = VstorOperation.ExecuteSrb;
    header.flags = VSTOR_FLAG_REQUEST_COMPLETION;
    this.#srb.byteLength = this.#packetBytes - VSTOR_PAYLOAD_AT;
    this.#srb.senseInfoBytes = SENSE_BYTES;
    this.#srb.timeoutSeconds = TIMEOUT_SECONDS;
  }
}

function u32le(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  return (low | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) >>> 0;
}

/** Source: Linux `drivers/scsi/storvsc_drv.c`, storvsc_queuecommand. */
function flagsFor(direction: DataDirection): number {
  if (direction === DataDirection.Read) return SrbFlag.DisableSynchTransfer | SrbFlag.DataIn;
  if (direction === DataDirection.Write) return SrbFlag.DisableSynchTransfer | SrbFlag.DataOut;
  return SrbFlag.DisableSynchTransfer;
}
