/** The outgoing half of a channel, written down and taken up: what `SendPath` does with its parts for a save. */
import { STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import { DESCRIPTOR_BYTES } from '../../wire/packet.ts';
import { OutgoingPacket, OutgoingState } from './outgoing-packet.ts';
import type { OutgoingQueue } from './outgoing-queue.ts';
import type { RestoredSends, SavedSends } from './saved-packets.ts';
import type { TransactionTable } from './transaction-table.ts';

/** What is under way; the channel is frozen. */
export function captureSends(queue: OutgoingQueue, transactions: TransactionTable): SavedSends {
  const waiting: OutgoingPacket[] = [];
  for (let packet = queue.head; packet !== null; packet = packet.next) waiting.push(packet);
  return {
    inFlight: transactions.owned().filter((packet) => packet.state === OutgoingState.InFlight),
    queued: waiting.filter((packet) => !packet.isCompletion),
    completions: waiting.filter((packet) => packet.isCompletion).map((packet) => packet.encoded()),
    abandoned: transactions.abandonedIds(),
  };
}

/** Takes up what another host had under way; nothing is under way here. */
export function restoreSends(saved: RestoredSends, queue: OutgoingQueue, transactions: TransactionTable): void {
  for (const { idLo, idHi } of saved.abandoned) transactions.restore(null, idLo, idHi);
  for (const { packet, idLo, idHi } of saved.inFlight) {
    begin(packet, 0, 0, true);
    packet.state = OutgoingState.InFlight;
    transactions.restore(packet, idLo, idHi);
  }
  // Answers first: they go even while the channel is paused, so data cannot have overtaken them.
  for (const encoded of saved.completions) {
    const carrier = new OutgoingPacket();
    begin(carrier, encoded.length, encoded.length - DESCRIPTOR_BYTES, false);
    carrier.isCompletion = true;
    wait(queue, carrier, encoded);
  }
  for (const { packet, idLo, idHi, wantsCompletion, encoded, payloadBytes } of saved.queued) {
    begin(packet, encoded.length, payloadBytes, wantsCompletion);
    if (wantsCompletion) transactions.restore(packet, idLo, idHi);
    wait(queue, packet, encoded);
  }
}

/** Forgets packets that go on elsewhere; no routine runs. The ring is not there any more. */
export function handOverSends(
  packets: Iterable<OutgoingPacket>,
  queue: OutgoingQueue,
  transactions: TransactionTable,
): void {
  for (const packet of packets) {
    if (packet.state === OutgoingState.Queued) queue.remove(packet);
    else if (packet.state !== OutgoingState.InFlight) continue;
    if (packet.wantsCompletion) transactions.cancel(packet);
    packet.state = OutgoingState.Idle;
    packet.handedOver();
  }
}

function begin(packet: OutgoingPacket, packetBytes: number, payloadBytes: number, wantsCompletion: boolean): void {
  packet.wantsCompletion = wantsCompletion;
  packet.isCompletion = false;
  packet.endStatus = STATUS_SUCCESS;
  packet.packetBytes = packetBytes;
  packet.payloadBytes = payloadBytes;
  // A host describes no memory.
  packet.externalBytes = 0;
  packet.idLo = 0;
  packet.idHi = 0;
}

function wait(queue: OutgoingQueue, packet: OutgoingPacket, encoded: Uint8Array): void {
  packet.hold(encoded.length).bytes.set(encoded);
  packet.state = OutgoingState.Queued;
  queue.push(packet);
}
