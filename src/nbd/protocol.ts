/**
 * Numbers of the NBD protocol, big-endian on the wire.
 *
 * Source: NetworkBlockDevice/nbd, `doc/proto.md`.
 */

/** "NBDMAGIC" and "IHAVEOPT": the server's greeting; the second also begins each option. */
export const NBD_MAGIC = 0x4e42_444d_4147_4943n;
export const OPTION_MAGIC = 0x4948_4156_454f_5054n;
export const OPTION_REPLY_MAGIC = 0x0003_e889_0455_65a9n;
export const REQUEST_MAGIC = 0x2560_9513;
export const SIMPLE_REPLY_MAGIC = 0x6744_6698;
export const STRUCTURED_REPLY_MAGIC = 0x668e_33ef;

/** Handshake flags of the server, and the client's of the same meaning. */
export const HandshakeFlag = { FixedNewstyle: 1, NoZeroes: 2 } as const;

export const TransmissionFlag = {
  HasFlags: 1 << 0,
  ReadOnly: 1 << 1,
  SendFlush: 1 << 2,
  SendFua: 1 << 3,
  SendTrim: 1 << 5,
  SendWriteZeroes: 1 << 6,
  SendDf: 1 << 7,
  CanMultiConn: 1 << 8,
} as const;

export const Option = {
  ExportName: 1,
  Abort: 2,
  List: 3,
  Info: 6,
  Go: 7,
  StructuredReply: 8,
  ListMetaContext: 9,
  SetMetaContext: 10,
} as const;

export const OptionReply = {
  Ack: 1,
  Server: 2,
  Info: 3,
  MetaContext: 4,
  ErrUnsupported: 0x8000_0001,
  ErrInvalid: 0x8000_0003,
  ErrUnknown: 0x8000_0006,
} as const;

export const InfoType = { Export: 0, Description: 2, BlockSize: 3 } as const;

export const Command = {
  Read: 0,
  Write: 1,
  Disconnect: 2,
  Flush: 3,
  Trim: 4,
  WriteZeroes: 6,
  BlockStatus: 7,
} as const;

export const CommandFlag = { Fua: 1, NoHole: 2, Df: 4, ReqOne: 8 } as const;

export const ChunkFlag = { Done: 1 } as const;
export const ChunkType = { OffsetData: 1, BlockStatus: 5, Error: 0x8001 } as const;

/** States of the metadata context "base:allocation". */
export const BASE_ALLOCATION = 'base:allocation';
export const AllocationFlag = { Hole: 1, Zero: 2 } as const;

/** Errors of replies: values of Linux `errno`, the only ones that the protocol allows. */
export const NbdErrno = {
  Ok: 0,
  NotPermitted: 1,
  Io: 5,
  NoMemory: 12,
  Invalid: 22,
  NoSpace: 28,
  Overflow: 75,
  NotSupported: 95,
  Shutdown: 108,
} as const;
export type NbdErrno = (typeof NbdErrno)[keyof typeof NbdErrno];

/** Of a request, its payload not included. */
export const REQUEST_BYTES = 28;
export const OPTION_HEADER_BYTES = 16;
/** Longest name and longest text that the protocol allows, bytes of UTF-8. */
export const MAX_STRING_BYTES = 4096;
/** Most that READ and WRITE may carry: what clients may expect of every server. */
export const MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;
