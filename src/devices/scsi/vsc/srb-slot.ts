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

export class SrbSlot {
  readonly packet: VmbPacket;
  /** The channel that the packet belongs to. */
  readonly lane: StorLane;
  /** What the slot is busy with. */
  io: ScsiIo | undefined;
  readonly #packetBytes: number;
  readonly #bytes = new Uint8Array(VSTOR_PACKET_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #header = VstorHeader.cursor().at(this.#view, 0);
  readonly #srb = ScsiRequest.cursor().at(this.#view, VSTOR_PAYLOAD_AT);

  /** @param version agreed with the host: it decides between packets of 64 and of 48 bytes */
  constructor(packet: VmbPacket, version: number, lane: StorLane) {
    this.packet = packet;
    this.lane = lane;
    this.#packetBytes = vstorPacketBytes(version);
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
   * Reads the host's completion into `io`. The host is trusted with nothing: it may be short, or answer something else.
   * @returns false if it is no answer to this request; `io.status` says so then
   */
  receive(io: ScsiIo, completion: Uint8Array, completionBytes: number): boolean {
    const bytes = this.#bytes;
    const byteCount = Math.min(completionBytes, VSTOR_PACKET_BYTES);
    for (let at = 0; at < byteCount; at++) bytes[at] = completion[at] as number;
    bytes.fill(0, byteCount);
    if (byteCount < this.#packetBytes || this.#header.operation !== VstorOperation.CompleteIo) {
      io.status = STATUS_IO_DEVICE_ERROR;
      return false;
    }
    const srb = this.#srb;
    io.status = STATUS_SUCCESS;
    io.hostStatus = this.#header.status;
    io.srbStatus = srb.srbStatus & SRB_STATUS_MASK;
    io.scsiStatus = srb.scsiStatus;
    io.transferredBytes = Math.min(srb.dataTransferBytes, io.dataBytes);
    const hasSense = (srb.srbStatus & SRB_STATUS_AUTOSENSE_VALID) !== 0;
    io.senseBytes = hasSense ? Math.min(srb.senseInfoBytes, SENSE_BYTES) : 0;
    for (let at = 0; at < io.senseBytes; at++) io.senseData[at] = bytes[CDB_AT + at] as number;
    return true;
  }

  #encode(io: ScsiIo): void {
    const srb = this.#srb;
    this.#bytes.fill(0);
    this.#header.operation = VstorOperation.ExecuteSrb;
    this.#header.flags = VSTOR_FLAG_REQUEST_COMPLETION;
    srb.byteLength = this.#packetBytes - VSTOR_PAYLOAD_AT;
    srb.path = io.path;
    srb.target = io.target;
    srb.lun = io.lun;
    srb.cdbBytes = io.cdbBytes;
    srb.senseInfoBytes = SENSE_BYTES;
    srb.dataIn = io.direction;
    srb.dataTransferBytes = io.dataBytes;
    for (let at = 0; at < io.cdbBytes; at++) this.#bytes[CDB_AT + at] = io.cdb[at] as number;
    // The Windows 8 tail: beyond the packet, and so never sent, in older versions.
    srb.srbFlags = flagsFor(io.direction);
    srb.timeoutSeconds = TIMEOUT_SECONDS;
  }
}

/** Source: Linux `drivers/scsi/storvsc_drv.c`, storvsc_queuecommand. */
function flagsFor(direction: DataDirection): number {
  if (direction === DataDirection.Read) return SrbFlag.DisableSynchTransfer | SrbFlag.DataIn;
  if (direction === DataDirection.Write) return SrbFlag.DisableSynchTransfer | SrbFlag.DataOut;
  return SrbFlag.DisableSynchTransfer;
}
