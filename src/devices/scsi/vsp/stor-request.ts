/**
 * One packet of the guest's while the host works on it: the private copy, the SCSI command made of it, the completion.
 *
 * Objects are reused. The guest's bytes are copied in once, what it left out is zero, and the completion is written over
 * them when nothing of the question is needed any more.
 */
import type { VmbPacketCompletion } from '../../../kmcl/index.ts';
import { type NtStatus, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import {
  CDB_BYTES,
  DataDirection,
  ScsiRequest,
  SENSE_BYTES,
  SRB_STATUS_AUTOSENSE_VALID,
  SrbFlag,
  StorProperties,
  VSTOR_PACKET_BYTES,
  VSTOR_PAYLOAD_AT,
  VstorHeader,
  VstorOperation,
} from '../../../wire/storvsc.ts';
import { ScsiCommand } from '../target/command.ts';
import { cdbBytesOf } from '../target/opcodes.ts';
import { encodeFixedSense, FIXED_SENSE_BYTES } from '../target/sense.ts';
import type { Barrier } from './barrier.ts';
import { ntStatusOfSrb } from './srb-result.ts';

/** Where the CDB of a request and the sense data of its completion stand in a packet. */
const CDB_AT = VSTOR_PAYLOAD_AT + ScsiRequest.offsets.cdbOrSense;
/** Least completion: the header, padded as the ring pads. */
const LEAST_COMPLETION_BYTES = 16;
const SENSE_SCRATCH_BYTES = Math.max(SENSE_BYTES, FIXED_SENSE_BYTES);

type PropertyValues = Parameters<typeof StorProperties.write>[2];

export class StorRequest {
  readonly command = new ScsiCommand();
  /** The incoming packet; `undefined` while this object is in the pool. */
  packet: VmbPacketCompletion | undefined;
  /** The guest's packet first, the completion later. */
  readonly bytes = new Uint8Array(VSTOR_PACKET_BYTES);
  /** Bytes of the guest's packet that we looked at, at most 64; a completion has as many, 16 at least. */
  byteCount = 0;
  /** Resets that wait until this request is answered. */
  barriers: Barrier[] | undefined;

  readonly #view = new DataView(this.bytes.buffer);
  readonly #header = VstorHeader.cursor().at(this.#view, 0);
  readonly #srb = ScsiRequest.cursor().at(this.#view, VSTOR_PAYLOAD_AT);
  readonly #sense = new Uint8Array(SENSE_SCRATCH_BYTES);
  #senseRoomBytes = 0;
  #hasAutosense = false;

  /** Takes a packet in; bytes beyond 64 are ignored, bytes that are not there are zero. */
  load(packet: VmbPacketCompletion, buffer: Uint8Array, bufferBytes: number): void {
    const bytes = this.bytes;
    const byteCount = Math.min(bufferBytes, VSTOR_PACKET_BYTES);
    for (let at = 0; at < byteCount; at++) bytes[at] = buffer[at] as number;
    if (byteCount < VSTOR_PACKET_BYTES) bytes.fill(0, byteCount);
    this.packet = packet;
    this.byteCount = byteCount;
  }

  get hasHeader(): boolean {
    return this.byteCount >= VstorHeader.size;
  }

  get operation(): number {
    return this.#header.operation;
  }

  /** The first u16 of the payload: the version of QueryProtocolVersion, the count of CreateSubChannels. */
  get payloadValue(): number {
    return this.#view.getUint16(VSTOR_PAYLOAD_AT, true);
  }

  /** ExecuteSrb and the resets: whom they address. */
  get address(): { path: number; target: number; lun: number } {
    const { path, target, lun } = this.#srb;
    return { path, target, lun };
  }

  /** ExecuteSrb: bytes that the guest offers for data. */
  get offeredBytes(): number {
    return this.#srb.dataTransferBytes;
  }

  /** ExecuteSrb: the guest's pages are a source only. */
  get isWriteToDevice(): boolean {
    return this.#srb.dataIn === DataDirection.Write;
  }

  /**
   * Makes the SCSI command of an ExecuteSrb, without its data.
   * @returns false if the packet does not hold a whole CDB, or one shorter than its opcode says
   */
  decodeCommand(): boolean {
    const { command } = this;
    const srb = this.#srb;
    const cdbBytes = srb.cdbBytes;
    this.#senseRoomBytes = Math.min(srb.senseInfoBytes, SENSE_BYTES);
    this.#hasAutosense = (srb.srbFlags & SrbFlag.DisableAutosense) === 0 && this.#senseRoomBytes > 0;
    command.path = srb.path;
    command.target = srb.target;
    command.lun = srb.lun;
    command.direction = srb.dataIn;
    command.data = undefined;
    if (cdbBytes === 0 || cdbBytes > CDB_BYTES || this.byteCount < CDB_AT + cdbBytes) return false;
    if (cdbBytes < cdbBytesOf(this.bytes[CDB_AT] as number)) return false;
    const cdb = command.cdb;
    for (let at = 0; at < CDB_BYTES; at++) cdb[at] = at < cdbBytes ? (this.bytes[CDB_AT + at] as number) : 0;
    return true;
  }

  /** True if the command ended with sense data that its completion will not carry. */
  get keepsSense(): boolean {
    return this.command.sense !== undefined && !this.#hasAutosense;
  }

  /** Writes the completion of an ExecuteSrb over the packet. @returns its length */
  encodeResult(): number {
    const { command } = this;
    const { sense } = command;
    const srb = this.#srb;
    const completionBytes = this.#begin(ntStatusOfSrb(command.srbStatus));
    srb.byteLength = completionBytes - VSTOR_PAYLOAD_AT;
    srb.srbStatus = command.srbStatus;
    srb.scsiStatus = command.scsiStatus;
    srb.cdbBytes = CDB_BYTES;
    srb.senseInfoBytes = SENSE_BYTES;
    srb.dataTransferBytes = command.transferredBytes;
    if (sense !== undefined && this.#hasAutosense) {
      const senseBytes = this.#senseRoomBytes;
      srb.srbStatus = command.srbStatus | SRB_STATUS_AUTOSENSE_VALID;
      srb.senseInfoBytes = senseBytes;
      encodeFixedSense(this.#sense, 0, sense);
      for (let at = 0; at < senseBytes; at++) this.bytes[CDB_AT + at] = this.#sense[at] as number;
    }
    return completionBytes;
  }

  /** Writes a completion without payload over the packet. @returns its length */
  encodeStatus(status: NtStatus): number {
    return this.#begin(status);
  }

  /** Writes the completion of QueryProperties over the packet. @returns its length */
  encodeProperties(properties: PropertyValues): number {
    const completionBytes = this.#begin(STATUS_SUCCESS);
    StorProperties.write(this.bytes, VSTOR_PAYLOAD_AT, properties);
    return completionBytes;
  }

  /**
   * A completion mirrors the size of its request: Linux asks with 64 bytes before any version is agreed and drops shorter
   * answers, Windows compares with the exact size of the agreed version. Source: OpenVMM `storvsp`.
   */
  #begin(status: NtStatus): number {
    this.bytes.fill(0);
    this.#header.operation = VstorOperation.CompleteIo;
    this.#header.status = status;
    return Math.max(this.byteCount, LEAST_COMPLETION_BYTES);
  }
}
