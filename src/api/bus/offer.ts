/** A channel that the host offers, as the guest sees it. */
import type { GuestOffer, GuestVmbus } from '../../channel/index.ts';
import { PeerError, UsageError } from '../../errors.ts';
import type { Guid } from '../../wire/guid.ts';
import { STATUS_DEVICE_REMOVED } from '../../wire/ntstatus.ts';
import { OfferFlag } from '../../wire/offer-flags.ts';
import { type GuestChannel, type OpenOptions, openGuestChannel } from '../channel/guest-channel.ts';
import { checkMayWait } from '../waiting.ts';

export class Offer {
  /** The protocol. */
  readonly interfaceId: Guid;
  /** The device. */
  readonly instanceId: Guid;
  /** 0 for the primary channel of a device. */
  readonly subchannelIndex: number;
  /** Channel id. */
  readonly relid: number;
  /** `OfferFlag` bits. */
  readonly flags: number;
  /** Memory-mapped I/O space that the device needs, and what is welcome beyond that, megabytes. */
  readonly mmioMegabytes: number;
  readonly mmioMegabytesOptional: number;
  /** 120 bytes from the host's driver. */
  readonly userDefined: Uint8Array;

  readonly #vmbus: GuestVmbus;
  readonly #offer: GuestOffer;
  readonly #adopt: (channel: GuestChannel) => void;

  /** Use `GuestEnd.offers`. @param adopt told of each channel that is opened */
  constructor(vmbus: GuestVmbus, offer: GuestOffer, adopt: (channel: GuestChannel) => void) {
    this.#vmbus = vmbus;
    this.#offer = offer;
    this.#adopt = adopt;
    this.interfaceId = offer.interfaceId;
    this.instanceId = offer.instanceId;
    this.subchannelIndex = offer.subchannelIndex;
    this.relid = offer.relid;
    this.flags = offer.flags;
    this.mmioMegabytes = offer.mmioMegabytes;
    this.mmioMegabytesOptional = offer.mmioMegabytesOptional;
    this.userDefined = offer.userDefined;
  }

  /** The host took it back, or the connection has ended. */
  get isRescinded(): boolean {
    return this.#offer.isRescinded;
  }

  /** A channel of ours uses it, or is being taken apart. */
  get isInUse(): boolean {
    return this.#vmbus.channels.some((endpoint) => endpoint.relid === this.relid);
  }

  /** Payloads have their exact length with them; `open` takes that over. */
  get isPipe(): boolean {
    return (this.flags & OfferFlag.NamedPipeMode) !== 0;
  }

  /**
   * Opens the channel with rings of the guest's memory. Resolves when packets flow, or with `isPaused` when it is open.
   * An abort takes apart what there is, in the background. After its end the channel can be opened anew.
   * @throws (rejects with) PeerError `ERR_REFUSED` with the host's status, `ERR_RESCINDED`; SystemError
   *   `ERR_OUT_OF_MEMORY` without pages for the rings, `ERR_TRANSPORT`; UsageError `ERR_STATE` if it is in use,
   *   `ERR_ARGUMENT`, `ERR_REFUSED` with the status of `onOpened`; the signal's reason
   */
  async open(options: OpenOptions = {}): Promise<GuestChannel> {
    checkMayWait('open');
    options.signal?.throwIfAborted();
    if (this.isRescinded) {
      const status = STATUS_DEVICE_REMOVED;
      throw new PeerError('ERR_RESCINDED', `the host took offer ${this.relid} back`, { status });
    }
    if (this.isInUse) throw new UsageError('ERR_STATE', `offer ${this.relid} is in use`);
    const { interfaceId, instanceId, subchannelIndex } = this;
    const channel = await openGuestChannel({ isPipe: this.isPipe, ...options }, (endpoint) =>
      this.#vmbus.enable(endpoint, { interfaceId, instanceId, subchannelIndex }),
    );
    this.#adopt(channel);
    return channel;
  }
}
