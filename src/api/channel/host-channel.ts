/** The host's end of a channel: offered, opened by the guest, closed by it, and opened again. */
import type { HostVmbus } from '../../channel/index.ts';
import { UsageError } from '../../errors.ts';
import type { ScatterView } from '../../memory/index.ts';
import { canonicalGuid, type Guid } from '../../wire/guid.ts';
import { OfferFlag, PipeOfferData, PipeType } from '../../wire/offer-flags.ts';
import type { ScatterReader } from '../packets/packet.ts';
import { type PendingRequest, type RequestOptions, refusedRequest, startRequest } from '../packets/pending-request.ts';
import { type Completed, Transaction } from '../packets/transaction.ts';
import { abortable, checkMayWait, Deferred, type WaitOptions } from '../waiting.ts';
import { Channel } from './channel.ts';
import { ChannelCore } from './channel-core.ts';
import type { ChannelOptions } from './channel-options.ts';
import { type GpadlOptions, type MappedGpadl, mapGpadl } from './gpadls.ts';

export interface OfferOptions extends ChannelOptions<HostChannel> {
  /** The protocol. */
  readonly interfaceId: Guid;
  /** This device. */
  readonly instanceId: Guid;
  /** 0, the default, for the primary channel of the device. */
  readonly subchannelIndex?: number;
  /** `OfferFlag` bits; `isPipe` adds its own. */
  readonly flags?: number;
  /** Memory-mapped I/O space that the guest shall reserve, u16 megabytes. */
  readonly mmioMegabytes?: number;
  /** What is welcome beyond that. */
  readonly mmioMegabytesOptional?: number;
  /** At most 120 bytes for the guest's driver. */
  readonly userDefined?: Uint8Array;
  /** Virtual trust level that the device serves. Default 0. */
  readonly targetVtl?: number;
}

let shutDown: (channel: HostChannel) => Promise<void>;

export class HostChannel extends Channel {
  static {
    shutDown = (channel) => channel.#core.shutDown();
  }

  readonly interfaceId: Guid;
  readonly subchannelIndex: number;
  readonly #core: ChannelCore<HostChannel>;
  #isCycleOpen = false;
  #opening = new Deferred<boolean>();

  /**
   * Use `HostEnd.offer`.
   * @throws UsageError `ERR_ARGUMENT` for options that make no sense, `ERR_STATE` for an identity that is offered already
   */
  constructor(vmbus: HostVmbus, options: OfferOptions) {
    const core = new ChannelCore<HostChannel>('host', options);
    super(core);
    this.#core = core;
    core.serve(this, {
      opened: () => this.#opened(),
      running: () => {},
      ending: () => {
        this.#isCycleOpen = false;
      },
    });
    const identity = { interfaceId: canonicalGuid(options.interfaceId), instanceId: canonicalGuid(options.instanceId) };
    this.interfaceId = identity.interfaceId;
    this.subchannelIndex = options.subchannelIndex ?? 0;
    if (vmbus.isOffered({ ...identity, subchannelIndex: this.subchannelIndex })) {
      throw new UsageError('ERR_STATE', `${identity.interfaceId}, instance ${identity.instanceId}, is offered already`);
    }
    vmbus.enable(core.endpoint, { ...options, ...identity, ...offerArea(options) });
    if (options.isPaused !== true) core.endpoint.start();
    void core.whenClosed.promise.then(() => this.#opening.resolve(false));
  }

  /**
   * Waits for the guest to open the channel; each open cycle once it has closed the one before.
   * @returns false if it never will again: the channel is closed here, or the guest is gone for good
   */
  async opened({ signal }: WaitOptions = {}): Promise<boolean> {
    checkMayWait('opened');
    signal?.throwIfAborted();
    return this.#isCycleOpen || (await abortable(this.#opening.promise, signal));
  }

  /**
   * Sends bytes and waits for the guest's completion. Before the channel is open it waits for that first.
   * @returns the completion's payload; see `PendingRequest`
   * @throws (rejects with) UsageError `ERR_PACKET_TOO_BIG`, or `ERR_STATE` on a pipe and inside packet callbacks;
   *   PeerError `ERR_TIMEOUT`; the signal's reason; the error that ended the channel
   */
  request(bytes: Uint8Array, options: RequestOptions = {}): PendingRequest {
    try {
      checkMayWait('request');
    } catch (error) {
      return refusedRequest(error);
    }
    const { signal, timeoutMs } = options;
    return startRequest(this.#core.sender, bytes, { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  }

  /** Requests without promises. */
  transaction(completed: Completed): Transaction {
    return new Transaction(this.#core.sender, completed);
  }

  /**
   * Reaches memory that the guest shared. One mapping of each at a time; it ends with the open cycle at the latest.
   * @param gpadlId what the guest told
   * @throws UsageError `ERR_ARGUMENT` for what the guest does not share, or shares for reading only unless
   *   `isReadOnly`; `ERR_STATE` if it is mapped already or the channel is not open
   */
  mapGpadl(gpadlId: number, options: { readonly isReadOnly: true }): MappedGpadl<ScatterReader>;
  mapGpadl(gpadlId: number, options?: GpadlOptions): MappedGpadl<ScatterView>;
  mapGpadl(gpadlId: number, options: GpadlOptions = {}): MappedGpadl {
    const { endpoint, mappings } = this.#core;
    return mapGpadl(endpoint, gpadlId, options, mappings);
  }

  #opened(): void {
    this.#isCycleOpen = true;
    this.#opening.resolve(true);
    this.#opening = new Deferred();
  }
}

/** Pipes say so in their offer. */
function offerArea({ flags = 0, isPipe = false, userDefined }: OfferOptions): {
  flags: number;
  userDefined?: Uint8Array;
} {
  if (!isPipe) return userDefined === undefined ? { flags } : { flags, userDefined };
  const ofPipe = PipeOfferData.encode({ pipeType: PipeType.Message, providerData: new Uint8Array(112), pipeFlags: 0 });
  return { flags: flags | OfferFlag.NamedPipeMode, userDefined: userDefined ?? ofPipe };
}

/** As `close`, from anywhere: for a host whose guest is gone. */
export { shutDown as shutDownHostChannel };
