/** What stands behind a `VMBPACKET`. */
import { OutgoingPacket } from '../../channel/index.ts';
import type { NtStatus } from '../../wire/ntstatus.ts';
import type { EvtVmbPacketCompletionRoutineEx } from '../callbacks.ts';
import { BugCheck, bugCheck } from './bug-check.ts';
import type { ChannelObject } from './channel-object.ts';
import type { VmbPacket } from './handles.ts';

export class PacketObject extends OutgoingPacket {
  readonly channel: ChannelObject;
  readonly handle: VmbPacket;
  /** From `VmbPacketAllocate`: `VmbPacketFree` takes it back. False for a packet in the caller's memory. */
  readonly isOwned: boolean;
  isFreed = false;
  /** `VmbPacketSetPointer`. */
  pointer: unknown = null;
  /** `null`: the default for its kind (free the packet, or none at all). */
  routine: EvtVmbPacketCompletionRoutineEx | null = null;
  /** Given to the routine as its last argument; see `VmbPacketSetCompletionRoutineEx`. */
  routineContext: unknown = undefined;
  /** `VmbPacketGetInlinePacketContextPointer`. */
  readonly inlineContext: Uint8Array | null;

  constructor(channel: ChannelObject, isOwned: boolean) {
    super();
    this.channel = channel;
    this.isOwned = isOwned;
    this.inlineContext = channel.inlineContextBytes === 0 ? null : new Uint8Array(channel.inlineContextBytes);
    // The opaque type has no members; what makes it a handle is that this package made it.
    this.handle = this as unknown as VmbPacket;
  }

  /** Without a routine there is nobody to take the packet back, so it cannot be sent. */
  get hasRoutine(): boolean {
    return this.routine !== null || this.isOwned;
  }

  override completed(status: NtStatus, bytes: Uint8Array | null, byteCount: number): void {
    const routine = this.routine;
    if (routine === null) this.free();
    else routine(this.handle, status, bytes, byteCount, this.routineContext);
  }

  /** It completes on another host. What KMCL made it takes back; a packet in the driver's memory is the driver's. */
  override handedOver(): void {
    if (this.isOwned) this.free();
  }

  /** Back to the lookaside list, as new. */
  free(): void {
    this.isFreed = true;
    this.pointer = null;
    this.routine = null;
    this.routineContext = undefined;
    this.inlineContext?.fill(0);
    this.channel.packetsOut--;
    const { watch } = this.channel.endpoint;
    // Under a verifier no packet is used twice, so that a stale handle is known for what it is.
    const isOfSize = (this.inlineContext?.length ?? 0) === this.channel.inlineContextBytes;
    if (watch === null && isOfSize) this.channel.freePackets.push(this);
    else watch?.freed(this);
  }
}

/** The packet behind a handle. @throws BugCheck K-132 for a handle that is none, or was freed */
export function packetOf(handle: VmbPacket): PacketObject {
  if (handle instanceof PacketObject && !handle.isFreed) return handle;
  const message = 'the packet handle is not live: never allocated, or freed';
  if (handle instanceof PacketObject) throw bugCheck(handle.channel.endpoint, 'K-132', message, handle);
  throw new BugCheck('K-132', message);
}
