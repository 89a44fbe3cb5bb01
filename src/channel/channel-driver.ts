/** What a channel calls: the callbacks of the device (or of KMCL) on top of it. */
import type { PeerError } from '../errors.ts';
import type { NtStatus } from '../wire/ntstatus.ts';
import type { Reason } from './life-cycle.ts';
import type { IncomingPacket } from './packets/incoming-packet.ts';

export interface ChannelDriver {
  /** First of an open cycle. @returns a failure to refuse; then nothing follows */
  opened(): NtStatus | Promise<NtStatus>;
  /** Configured; sends wait until it returns. */
  started(): void | Promise<void>;
  /** Packets flow. */
  postStarted(): void | Promise<void>;
  /** No packet is delivered from here on; complete what you hold. */
  suspend(): void | Promise<void>;
  /** The end of the open cycle. */
  closed(): void | Promise<void>;
  /** Right after `closed` was dealt with; may throw what `closed` left undone. */
  afterClosed?(): void;
  /** A located offer could not be opened. */
  openFailed(status: NtStatus): void;
  /**
   * An open cycle shall end, and why: before the first packet is told, whatever callback runs, at any level, and in the
   * middle of other work. Write it down; act in a turn of your own.
   */
  ending?(reason: Reason): void;
  /** The peer broke the protocol; `ending` follows. */
  faulted?(error: PeerError): void;
  /** The pages that `externalData` found absent may be there now; the packet may be another one by then. */
  dataArrived?(packet: IncomingPacket): void;
  /** A data packet. It is the driver's until `complete`, `failIncoming`, or `deferToPassive`. */
  packet(packet: IncomingPacket): void;
  /** Delivery pauses after that many packets. */
  batchEnd(packetCount: number): void;
}
