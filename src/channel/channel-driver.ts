/** What a channel calls: the callbacks of the device (or of KMCL) on top of it. */
import type { NtStatus } from '../wire/ntstatus.ts';
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
  /** A data packet. It is the driver's until `complete`, `failIncoming`, or `deferToPassive`. */
  packet(packet: IncomingPacket): void;
  /** Delivery pauses after that many packets. */
  batchEnd(packetCount: number): void;
}
