/**
 * Storage over VMBus: what a StorVSC and a StorVSP say to each other. Every message is one vstor packet: a header of
 * 12 bytes (`VstorHeader`), then a payload (the structs below it, with offsets from the payload's start).
 *
 * Source: Linux `drivers/scsi/storvsc_drv.c`; what is marked O: OpenVMM `vm/devices/storage/storvsp_protocol`.
 */
import { bytes, pad, struct, u8, u16, u32 } from './struct.ts';

/** Source: Linux `drivers/scsi/storvsc_drv.c`, `enum vstor_packet_operation`; 14: O. */
export const VstorOperation = {
  /** The operation of every completion, whatever it completes. */
  CompleteIo: 1,
  /** Host to guest, unasked: a disk went away. */
  RemoveDevice: 2,
  ExecuteSrb: 3,
  ResetLun: 4,
  ResetAdapter: 5,
  ResetBus: 6,
  BeginInitialization: 7,
  EndInitialization: 8,
  QueryProtocolVersion: 9,
  QueryProperties: 10,
  /** Host to guest, unasked: look for disks again. */
  EnumerateBus: 11,
  FchbaData: 12,
  CreateSubChannels: 13,
  EventNotification: 14,
} as const;
export type VstorOperation = (typeof VstorOperation)[keyof typeof VstorOperation];

/** Bit 0 of `VstorHeader.flags`. Source: Linux `drivers/scsi/storvsc_drv.c`, `REQUEST_COMPLETION_FLAG`. */
export const VSTOR_FLAG_REQUEST_COMPLETION = 1;

/** Begins every message in both directions. Source: Linux `drivers/scsi/storvsc_drv.c`, `struct vstor_packet`. */
export const VstorHeader = struct('VstorHeader', 12, {
  operation: u32(0, { names: VstorOperation }),
  flags: u32(4), // 0 or VSTOR_FLAG_REQUEST_COMPLETION; hosts ignore it
  status: u32(8), // NTSTATUS, host to guest
});

/** Where the payload starts in a packet, bytes. */
export const VSTOR_PAYLOAD_AT = VstorHeader.size;
/** A whole packet from version 5.1 on, bytes. */
export const VSTOR_PACKET_BYTES = 64;
/** A whole packet below version 5.1: the payload ends before the Windows 8 tail of `ScsiRequest`. */
export const VSTOR_PACKET_BYTES_WIN7 = 48;

/** `major << 8 | minor`. Source: Linux `drivers/scsi/storvsc_drv.c`, `VMSTOR_PROTO_VERSION_…`. */
export const StorVersion = {
  WIN6: 0x0200,
  WIN7: 0x0402,
  /** From here on packets of 64 bytes, and sub-channels. */
  WIN8: 0x0501,
  WIN8_1: 0x0600,
  WIN10: 0x0602,
} as const;
export type StorVersion = (typeof StorVersion)[keyof typeof StorVersion];

/** Newest first: the order in which a guest asks. */
export const ALL_STOR_VERSIONS: readonly StorVersion[] = Object.values(StorVersion).sort((a, b) => b - a);

/** Bytes of a packet in that version. */
export function vstorPacketBytes(version: number): number {
  return version >= StorVersion.WIN8 ? VSTOR_PACKET_BYTES : VSTOR_PACKET_BYTES_WIN7;
}

/** `6.2` for 0x0602. */
export function formatStorVersion(version: number): string {
  return `${version >>> 8}.${version & 0xff}`;
}

/** Payload of QueryProtocolVersion. Source: Linux `drivers/scsi/storvsc_drv.c`, `struct vmstorage_protocol_version`. */
export const StorProtocolVersion = struct('StorProtocolVersion', 4, {
  majorMinor: u16(0, { names: StorVersion }),
  revision: u16(2), // 0
});

/** Bit 0 of `StorProperties.flags`. Source: Linux `drivers/scsi/storvsc_drv.c`, `STORAGE_CHANNEL_SUPPORTS_MULTI_CHANNEL`. */
export const STOR_PROPERTY_MULTI_CHANNEL = 1;

/**
 * Reply to QueryProperties; all zero it is also the user data of the open.
 *
 * Source: Linux `drivers/scsi/storvsc_drv.c`, `struct vmstorage_channel_properties`.
 */
export const StorProperties = struct('StorProperties', 24, {
  reserved: pad(0, 4),
  maxSubChannelCount: u16(4), // beside the primary
  reserved2: pad(6, 2),
  flags: u32(8), // STOR_PROPERTY_MULTI_CHANNEL
  maxTransferBytes: u32(12), // a multiple of 4096; Linux takes 0 from less than 4096
  reserved3: pad(16, 8),
});

/** Payload of CreateSubChannels. Source: Linux `drivers/scsi/storvsc_drv.c`, `struct vstor_packet`, `sub_channel_count`. */
export const SubChannelRequest = struct('SubChannelRequest', 2, {
  subChannelCount: u16(0),
});

/** Reply to FchbaData: world wide names. Source: Linux `drivers/scsi/storvsc_drv.c`, `struct hv_fc_wwn_packet`. */
export const FcWwnBlock = struct('FcWwnBlock', 36, {
  primaryActive: u8(0),
  reserved: pad(1, 3),
  primaryPort: bytes(4, 8),
  primaryNode: bytes(12, 8),
  secondaryPort: bytes(20, 8),
  secondaryNode: bytes(28, 8),
});

/** Payload of EventNotification. Source: O, constant only. */
export const StorEvent = struct('StorEvent', 4, {
  lun: u8(0),
  target: u8(1),
  path: u8(2),
  flags: u8(3),
});

/** `dataIn` of a request, seen from the guest. Source: Linux `drivers/scsi/storvsc_drv.c`, `enum` with `WRITE_TYPE`. */
export const DataDirection = {
  /** Guest memory to device. */
  Write: 0,
  /** Device to guest memory. */
  Read: 1,
  None: 2,
} as const;
export type DataDirection = (typeof DataDirection)[keyof typeof DataDirection];

/** Low six bits of `srbStatus`. Source: Microsoft WDK `srb.h`, `SRB_STATUS_…`; Linux `drivers/scsi/storvsc_drv.c`. */
export const SrbStatus = {
  Pending: 0x00,
  Success: 0x01,
  Aborted: 0x02,
  AbortFailed: 0x03,
  Error: 0x04,
  Busy: 0x05,
  InvalidRequest: 0x06,
  InvalidPathId: 0x07,
  NoDevice: 0x08,
  Timeout: 0x09,
  SelectionTimeout: 0x0a,
  CommandTimeout: 0x0b,
  MessageRejected: 0x0d,
  BusReset: 0x0e,
  ParityError: 0x0f,
  RequestSenseFailed: 0x10,
  NoHba: 0x11,
  DataOverrun: 0x12,
  UnexpectedBusFree: 0x13,
  PhaseSequenceFailure: 0x14,
  BadSrbBlockLength: 0x15,
  RequestFlushed: 0x16,
  InvalidLun: 0x20,
  InvalidTargetId: 0x21,
  BadFunction: 0x22,
  ErrorRecovery: 0x23,
  NotPowered: 0x24,
  LinkDown: 0x25,
  InternalError: 0x30,
} as const;
export type SrbStatus = (typeof SrbStatus)[keyof typeof SrbStatus];

/** Where the status stands in `srbStatus`; the two bits above say more. Source: Microsoft WDK `srb.h`. */
export const SRB_STATUS_MASK = 0x3f;
export const SRB_STATUS_QUEUE_FROZEN = 0x40;
export const SRB_STATUS_AUTOSENSE_VALID = 0x80;

/** Source: SAM-5 section 5.3.1, status codes. */
export const ScsiStatus = {
  Good: 0x00,
  CheckCondition: 0x02,
  ConditionMet: 0x04,
  Busy: 0x08,
  Intermediate: 0x10,
  IntermediateConditionMet: 0x14,
  ReservationConflict: 0x18,
  CommandTerminated: 0x22,
  QueueFull: 0x28,
  TaskAborted: 0x40,
} as const;
export type ScsiStatus = (typeof ScsiStatus)[keyof typeof ScsiStatus];

/** Source: Linux `drivers/scsi/storvsc_drv.c`, `SRB_FLAGS_…`. */
export const SrbFlag = {
  QueueActionEnable: 0x0000_0002,
  DisableDisconnect: 0x0000_0004,
  DisableSynchTransfer: 0x0000_0008,
  BypassFrozenQueue: 0x0000_0010,
  DisableAutosense: 0x0000_0020,
  /** With DataOut: unspecified. */
  DataIn: 0x0000_0040,
  DataOut: 0x0000_0080,
  NoQueueFreeze: 0x0000_0100,
  AdapterCacheEnable: 0x0000_0200,
  FreeSenseBuffer: 0x0000_0400,
  D3Processing: 0x0000_0800,
  IsActive: 0x0001_0000,
  AllocatedFromZone: 0x0002_0000,
  SgListFromPool: 0x0004_0000,
  BypassLockedQueue: 0x0008_0000,
  NoKeepAwake: 0x0010_0000,
  PortAllocSense: 0x0020_0000,
  SenseHasPort: 0x0040_0000,
  DontStartNext: 0x0080_0000,
  PortDriverReserved: 0x0f00_0000,
  ClassDriverReserved: 0xf000_0000,
} as const;

/** `queueAction` of a tagged request. Source: Microsoft WDK `srb.h`, `SRB_SIMPLE_TAG_REQUEST`. */
export const SRB_SIMPLE_TAG_REQUEST = 0x20;

/** Longest command descriptor block, bytes. */
export const CDB_BYTES = 16;
/** Room for sense data, bytes; fixed format fills 18. Source: Linux `drivers/scsi/storvsc_drv.c`, `STORVSC_SENSE_BUFFER_SIZE`. */
export const SENSE_BYTES = 20;

/**
 * Payload of ExecuteSrb, and of its completion, from version 5.1 on.
 *
 * Source: Linux `drivers/scsi/storvsc_drv.c`, `struct vmscsi_request`.
 */
export const ScsiRequest = struct('ScsiRequest', 52, {
  byteLength: u16(0), // of this struct, as the sender knows it
  srbStatus: u8(2), // SrbStatus, and the bits above SRB_STATUS_MASK
  scsiStatus: u8(3, { names: ScsiStatus }),
  port: u8(4),
  path: u8(5),
  target: u8(6),
  lun: u8(7),
  cdbBytes: u8(8), // 6, 10, 12 or 16
  senseInfoBytes: u8(9), // room offered; in the completion what is there
  dataIn: u8(10, { names: DataDirection }),
  properties: u8(11), // 0
  dataTransferBytes: u32(12), // offered; in the completion moved
  cdbOrSense: bytes(16, SENSE_BYTES), // the CDB in the first 16, or sense data
  // The Windows 8 tail.
  reserved: pad(36, 2),
  queueTag: u8(38), // 0xff when tagged
  queueAction: u8(39),
  srbFlags: u32(40), // SrbFlag bits
  timeoutSeconds: u32(44),
  queueSortKey: u32(48),
});

/** The same below version 5.1. Source: as `ScsiRequest`, without `struct vmscsi_win8_extension`. */
export const ScsiRequestWin7 = struct('ScsiRequestWin7', 36, {
  byteLength: u16(0),
  srbStatus: u8(2),
  scsiStatus: u8(3, { names: ScsiStatus }),
  port: u8(4),
  path: u8(5),
  target: u8(6),
  lun: u8(7),
  cdbBytes: u8(8),
  senseInfoBytes: u8(9),
  dataIn: u8(10, { names: DataDirection }),
  properties: u8(11),
  dataTransferBytes: u32(12),
  cdbOrSense: bytes(16, SENSE_BYTES),
});

/** Begins the user-defined area of an IDE accelerator's offer. Source: O. */
export const IdeOfferData = struct('IdeOfferData', 24, {
  reserved: pad(0, 2),
  path: u8(2),
  target: u8(3),
  reserved2: pad(4, 4),
  flags: u32(8), // IDE_OFFER_FLAG_DEVICE
  reserved3: pad(12, 12),
});

/** `flags` of `IdeOfferData`: an IDE device stands behind the offer. Source: O. */
export const IDE_OFFER_FLAG_DEVICE = 2;

/** The name of a status, its upper bits left out; hex when there is none. */
export function srbStatusName(srbStatus: number): string {
  const status = srbStatus & SRB_STATUS_MASK;
  return Object.entries(SrbStatus).find(([, value]) => value === status)?.[0] ?? `0x${status.toString(16)}`;
}

/** What the payload of a packet is, by operation; undefined: none, or not ours to name. */
function payloadStruct(operation: number, payloadBytes: number) {
  switch (operation) {
    case VstorOperation.ExecuteSrb:
    case VstorOperation.CompleteIo:
      return payloadBytes >= ScsiRequest.size ? ScsiRequest : ScsiRequestWin7;
    case VstorOperation.QueryProtocolVersion:
      return StorProtocolVersion;
    case VstorOperation.CreateSubChannels:
      return SubChannelRequest;
    case VstorOperation.EventNotification:
      return StorEvent;
    default:
      return undefined;
  }
}

/**
 * One line per field of the packet, for people. Never throws.
 *
 * A completion is shown as that of a request: the packet does not say what it completes.
 */
export function printVstorPacket(packet: Uint8Array): string {
  const header = VstorHeader.print(packet);
  if (packet.length < VstorHeader.size) return header;
  const payload = packet.subarray(VSTOR_PAYLOAD_AT);
  const body = payloadStruct(VstorHeader.parse(packet).operation, payload.length);
  return body === undefined ? header : `${header}\n${body.print(payload)}`;
}
