/** Packets that wait, in the order in which they were sent: a list through the packets themselves. */
import type { OutgoingPacket } from './outgoing-packet.ts';

export class OutgoingQueue {
  #head: OutgoingPacket | null = null;
  #tail: OutgoingPacket | null = null;
  #count = 0;
  #completionCount = 0;

  get head(): OutgoingPacket | null {
    return this.#head;
  }

  get count(): number {
    return this.#count;
  }

  /** How many of them answer an incoming packet. */
  get completionCount(): number {
    return this.#completionCount;
  }

  push(packet: OutgoingPacket): void {
    packet.next = null;
    if (this.#tail === null) this.#head = packet;
    else this.#tail.next = packet;
    this.#tail = packet;
    this.#count++;
    if (packet.isCompletion) this.#completionCount++;
  }

  /** The first packet, taken out; `null` if there is none. */
  shift(): OutgoingPacket | null {
    const packet = this.#head;
    if (packet !== null) this.#unlink(null, packet);
    return packet;
  }

  /** Takes a packet out, wherever it is. @returns false if it is not in this list */
  remove(packet: OutgoingPacket): boolean {
    let before: OutgoingPacket | null = null;
    for (let at = this.#head; at !== null; before = at, at = at.next) {
      if (at !== packet) continue;
      this.#unlink(before, packet);
      return true;
    }
    return false;
  }

  #unlink(before: OutgoingPacket | null, packet: OutgoingPacket): void {
    if (before === null) this.#head = packet.next;
    else before.next = packet.next;
    if (this.#tail === packet) this.#tail = before;
    packet.next = null;
    this.#count--;
    if (packet.isCompletion) this.#completionCount--;
  }
}
