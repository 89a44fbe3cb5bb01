/** What a channel is told before it is enabled. */
export interface ChannelSettings {
  /** For messages and `inspect()`. */
  name: string;
  /** Largest payload, bytes, in both directions. */
  maxPacketBytes: number;
  /** Largest external data of one packet, bytes; 0 for none. */
  maxExternalBytes: number;
  /** Ranges that external data may come in. */
  maxExternalRanges: number;
  /** Bytes of the driver's own that each incoming packet has. */
  contextBytes: number;
  /** Each payload has a pipe header; no transactions and no external data. */
  isPipe: boolean;
  /** Guest: data pages of the ring from the host; 0 for as many as the largest packet needs. */
  incomingRingPages: number;
  /** Guest: data pages of the ring to the host; 0 for as many as the largest packet needs. */
  outgoingRingPages: number;
  /** Guest: virtual processor that the host interrupts. */
  targetVp: number;
  /** Packets taken from the ring before others get a turn. */
  packetsPerTurn: number;
}

/** Not public in Windows; ours. */
export function defaultSettings(): ChannelSettings {
  return {
    name: '',
    maxPacketBytes: 4096,
    maxExternalBytes: 0,
    maxExternalRanges: 1,
    contextBytes: 0,
    isPipe: false,
    incomingRingPages: 0,
    outgoingRingPages: 0,
    targetVp: 0,
    packetsPerTurn: 64,
  };
}
