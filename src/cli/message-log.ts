/** `--log-messages`: what travels over a bus, as text with a time and a direction, for people who read protocols. */
import { createWriteStream, type WriteStream } from 'node:fs';
import type { ChannelEndpoint, ChannelTap, HostVmbusEvents } from '../channel/index.ts';
import { printMessage } from '../wire/messages/index.ts';
import { printPacket } from '../wire/print-packet.ts';
import { printVstorPacket } from '../wire/storvsc.ts';

export class MessageLog {
  readonly #stream: WriteStream | NodeJS.WriteStream;
  readonly #started = performance.now();

  /** @param path a file, or `-` for standard error */
  constructor(path: string) {
    this.#stream = path === '-' ? process.stderr : createWriteStream(path);
  }

  /** For a host's bus: every control message and what was not obeyed. The terms are those of the connection. */
  events(terms: () => { version: number; features: number }): HostVmbusEvents {
    return {
      connected: (version, features) =>
        this.#write(`connected: version 0x${version.toString(16)}, features 0x${features.toString(16)}`),
      disconnected: () => this.#write('disconnected'),
      dropped: (reason) => this.#write(`dropped: ${reason}`),
      lost: (reason) => this.#write(`lost: ${reason}`),
      message: (direction, message) => {
        const { version, features } = terms();
        const way = direction === 'sent' ? 'host to guest' : 'guest to host';
        this.#write(`${way}: ${version === 0 ? printMessage(message) : printMessage(message, version, features)}`);
      },
    };
  }

  /** For a storage channel of the host: every packet. */
  readonly tap: ChannelTap = {
    packetSent: (channel, bytes, at, packetBytes) => this.#packet(channel, 'host to guest', bytes, at, packetBytes),
    packetReceived: (channel, bytes, at, packetBytes) => this.#packet(channel, 'guest to host', bytes, at, packetBytes),
    stateChanged: (channel, from, to) => this.#write(`channel ${channel.relid}: ${from} -> ${to}`),
    faulted: (channel, error) => this.#write(`channel ${channel.relid}: ${error.message}`),
  };

  /** Resolves when all of it is in the file. */
  close(): Promise<void> {
    const stream = this.#stream;
    if (stream === process.stderr) return Promise.resolve();
    return new Promise((resolve, reject) => {
      stream.on('error', reject);
      stream.end(resolve);
    });
  }

  #packet(channel: ChannelEndpoint, way: string, bytes: Uint8Array, at: number, packetBytes: number): void {
    const packet = bytes.subarray(at, at + packetBytes);
    this.#write(`channel ${channel.relid}, ${way}: ${printPacket(packet, { payload: printVstorPacket })}`);
  }

  #write(text: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(3).padStart(9);
    this.#stream.write(`${seconds}  ${text.replaceAll('\n', '\n           ')}\n`);
  }
}
