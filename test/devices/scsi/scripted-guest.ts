/**
 * A guest's storage driver that sends exactly what the test says, over real KMCL, and gives back the raw completions.
 */
import type { GuestVmbus } from '../../../src/channel/index.ts';
import {
  createDeviceObject,
  out,
  setSubchannelIndex,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  type VmbClientChannel,
  VmbClientChannelInitSetTargetPnp,
  type VmbPacket,
  VmbPacketAllocate,
  VmbPacketFree,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
  VmbPacketSetCompletionRoutine,
} from '../../../src/kmcl/index.ts';
import type { Mdl } from '../../../src/memory/mdl.ts';
import { ClassId } from '../../../src/wire/class-ids.ts';
import { ntStatusName } from '../../../src/wire/ntstatus.ts';
import {
  BEGIN_INITIALIZATION,
  END_INITIALIZATION,
  QUERY_PROPERTIES,
  QUERY_PROTOCOL_VERSION,
  vstorPacket,
} from './vstor-packets.ts';

const WAIT = VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION;

export class ScriptedGuest {
  /** What the host said unasked. */
  readonly told: Uint8Array[] = [];
  /** The channel is gone, by whose wish ever. */
  isClosed = false;
  readonly #channel: VmbClientChannel;

  private constructor(channel: VmbClientChannel) {
    this.#channel = channel;
  }

  /**
   * A raw channel to the controller, without a word of the storage protocol.
   * @param subchannelIndex 0 for the primary; waits for the offer if it is not there
   */
  static async open(vmbus: GuestVmbus, subchannelIndex = 0): Promise<ScriptedGuest> {
    const box = out<VmbClientChannel>();
    VmbChannelAllocate(createDeviceObject({ vmbus }), false, box);
    const channel = box.value;
    VmbChannelInitSetMaximumExternalData(channel, 16 << 20, 64);
    VmbClientChannelInitSetTargetPnp(channel, ClassId.Scsi, null, null);
    setSubchannelIndex(channel, subchannelIndex);
    const guest = new ScriptedGuest(channel);
    VmbChannelInitSetProcessPacketCallbacks(
      channel,
      (_channel, packet, buffer, bufferBytes) => {
        guest.told.push(buffer.slice(0, bufferBytes));
        VmbChannelPacketComplete(packet, null, 0);
      },
      null,
    );
    await new Promise<void>((started) => {
      const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
      callbacks.EvtChannelPostStarted = () => started();
      callbacks.EvtChannelClosed = () => {
        guest.isClosed = true;
      };
      VmbChannelInitSetStateChangeCallbacks(channel, callbacks);
      VmbChannelEnable(channel);
    });
    return guest;
  }

  /** The same, initialised by the book. */
  static async ready(vmbus: GuestVmbus, version = 0x0602): Promise<ScriptedGuest> {
    const guest = await ScriptedGuest.open(vmbus);
    await guest.send(vstorPacket(BEGIN_INITIALIZATION));
    await guest.send(vstorPacket(QUERY_PROTOCOL_VERSION, version));
    await guest.send(vstorPacket(QUERY_PROPERTIES));
    await guest.send(vstorPacket(END_INITIALIZATION));
    return guest;
  }

  /** In-band, completion wanted. */
  send(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#exchange((packet) => VmbPacketSend(packet, bytes, bytes.length, null, WAIT));
  }

  /** With pages by number. */
  sendPfns(bytes: Uint8Array, pfns: readonly number[]): Promise<Uint8Array> {
    return this.#exchange((packet) =>
      VmbPacketSendWithExternalPfns(packet, bytes, bytes.length, pfns, pfns.length, WAIT),
    );
  }

  /** With one range for each MDL of a chain. */
  sendMdl(bytes: Uint8Array, mdl: Mdl): Promise<Uint8Array> {
    return this.#exchange((packet) => VmbPacketSend(packet, bytes, bytes.length, mdl, WAIT));
  }

  /** In-band, without asking for a completion. */
  tell(bytes: Uint8Array): void {
    const packet = VmbPacketAllocate(this.#channel) as VmbPacket;
    expectSent(VmbPacketSend(packet, bytes, bytes.length, null, 0));
  }

  async close(): Promise<void> {
    await VmbChannelDisable(this.#channel);
    VmbChannelCleanup(this.#channel);
  }

  /** Resolves with the completion bytes; rejects with the name of the status if none comes. */
  #exchange(send: (packet: VmbPacket) => number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const packet = VmbPacketAllocate(this.#channel) as VmbPacket;
      VmbPacketSetCompletionRoutine(packet, (_packet, status, completion, completionBytes) => {
        VmbPacketFree(packet);
        if (status !== 0 || completion === null) reject(new Error(ntStatusName(status)));
        else resolve(completion.slice(0, completionBytes));
      });
      expectSent(send(packet));
    });
  }
}

function expectSent(status: number): void {
  if (status !== 0) throw new Error(`the packet was not sent: ${ntStatusName(status)}`);
}
