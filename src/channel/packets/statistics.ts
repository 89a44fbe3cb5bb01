/** What a channel counted since it was made. Plain numbers, cheap enough to be always on. */
export class ChannelStatistics {
  /** Data packets put into the ring. */
  packetsSent = 0;
  packetsReceived = 0;
  completionsSent = 0;
  completionsReceived = 0;
  /** Packets that had to wait before they entered the ring. */
  packetsQueued = 0;
  /** Times that we signalled the peer, and were signalled. */
  doorbellsRung = 0;
  doorbellsReceived = 0;
  /** Bytes through the rings: packets with headers, padding and trailers. */
  ringBytesSent = 0;
  ringBytesReceived = 0;
  /** Bytes of payload in them. */
  payloadBytesSent = 0;
  payloadBytesReceived = 0;
  /** Bytes that travelled by page frame number, never through a ring. */
  externalBytesSent = 0;
  externalBytesReceived = 0;
  /** Packets of types that we skip. */
  packetsSkipped = 0;
}
