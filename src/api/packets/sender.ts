/**
 * What may be sent, checked before anything happens: sizes, page numbers, state. The face throws where KMCL returns a
 * status.
 */
import type { ChannelEndpoint, OutgoingPacket } from '../../channel/index.ts';
import { UsageError, type VmbusError } from '../../errors.ts';
import { PAGE_BYTES } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import { type NtStatus, STATUS_INVALID_DEVICE_STATE, STATUS_INVALID_PARAMETER } from '../../wire/ntstatus.ts';
import { gpaDirectBytes, gpaDirectPfnsBytes, inBandBytes, MAX_PACKET_BYTES, PipeHeader } from '../../wire/packet.ts';
import { checkPfns, type ExternalPages, mdlRanges, type NoPages } from './external-pages.ts';
import { OneWaySends } from './one-way-sends.ts';

/** What the sender asks of the channel around it. */
export interface SenderOwner {
  readonly endpoint: ChannelEndpoint;
  /** The error that stands for a status. */
  errorOf(status: NtStatus): VmbusError;
  /** Resolves when the other side has surely let go of what an ended packet named. */
  peerDone(): Promise<void>;
}

export class Sender {
  readonly owner: SenderOwner;
  readonly endpoint: ChannelEndpoint;
  readonly #oneWay: OneWaySends;

  constructor(owner: SenderOwner) {
    this.owner = owner;
    this.endpoint = owner.endpoint;
    this.#oneWay = new OneWaySends(owner.endpoint, (status) => owner.errorOf(status));
  }

  send(bytes: Uint8Array): boolean {
    this.#check(bytes, false);
    return this.#oneWay.send(bytes);
  }

  trySend(bytes: Uint8Array): boolean {
    const packetBytes = this.#check(bytes, false);
    return this.endpoint.hasRoomNow(packetBytes) && this.#oneWay.send(bytes);
  }

  flush(): Promise<void> {
    return this.#oneWay.flush();
  }

  /** @throws UsageError, nothing was sent */
  inBand(packet: OutgoingPacket, bytes: Uint8Array, wantsCompletion: boolean): void {
    this.#check(bytes, wantsCompletion);
    this.endpoint.sendInBand(packet, bytes, bytes.length, wantsCompletion);
  }

  pfns(packet: OutgoingPacket, bytes: Uint8Array, pfns: ArrayLike<number>, pfnCount: number): void {
    this.#check(bytes, true);
    checkPfns(pfns, pfnCount);
    this.#checkExternal(pfnCount * PAGE_BYTES, gpaDirectPfnsBytes(pfnCount, bytes.length));
    this.endpoint.sendPfns(packet, pfns, pfnCount, bytes, bytes.length);
  }

  ranges(packet: OutgoingPacket, bytes: Uint8Array, ranges: readonly GpaRange[], wantsCompletion: boolean): void {
    this.#check(bytes, wantsCompletion);
    let externalBytes = 0;
    for (const range of ranges) externalBytes += range.byteCount;
    this.#checkExternal(externalBytes, gpaDirectBytes(ranges, bytes.length));
    this.endpoint.sendRanges(packet, ranges, bytes, bytes.length, wantsCompletion);
  }

  /** With a completion, and pages if the options name some. */
  request(packet: OutgoingPacket, bytes: Uint8Array, pages: ExternalPages | NoPages): void {
    if (pages.pfns !== undefined) this.pfns(packet, bytes, pages.pfns, pages.pfns.length);
    else if (pages.mdl !== undefined) this.ranges(packet, bytes, mdlRanges(pages), true);
    else if (pages.ranges !== undefined) this.ranges(packet, bytes, pages.ranges, true);
    else this.inBand(packet, bytes, true);
  }

  /** @returns bytes of the packet without pages */
  #check(bytes: Uint8Array, wantsCompletion: boolean): number {
    const { endpoint } = this;
    const { isPipe, maxPacketBytes } = endpoint.settings;
    if (endpoint.isDisabled || endpoint.isEnding) throw this.owner.errorOf(STATUS_INVALID_DEVICE_STATE);
    if (wantsCompletion && isPipe) {
      const status = STATUS_INVALID_PARAMETER;
      throw new UsageError('ERR_STATE', 'a pipe carries bytes only: no requests, no pages', { status });
    }
    const packetBytes = inBandBytes(isPipe ? bytes.length + PipeHeader.size : bytes.length);
    if (bytes.length > maxPacketBytes || !endpoint.canCarry(packetBytes)) {
      throw tooBig(`${bytes.length} bytes of payload; the channel takes ${maxPacketBytes}, its ring perhaps less`);
    }
    return packetBytes;
  }

  #checkExternal(externalBytes: number, packetBytes: number): void {
    const { maxExternalBytes } = this.endpoint.settings;
    if (externalBytes > maxExternalBytes) {
      throw tooBig(`${externalBytes} bytes of external data; maxExternalBytes of this channel is ${maxExternalBytes}`);
    }
    if (packetBytes > MAX_PACKET_BYTES || !this.endpoint.canCarry(packetBytes)) {
      throw tooBig(`the list of pages makes a packet of ${packetBytes} bytes, which the ring can never take`);
    }
  }
}

function tooBig(what: string): UsageError {
  return new UsageError('ERR_PACKET_TOO_BIG', what, { status: STATUS_INVALID_PARAMETER });
}
