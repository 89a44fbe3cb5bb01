/** GPADLs: memory of the guest's that it shares with the host for longer than a packet. */
import type { ChannelEndpoint } from '../../channel/index.ts';
import { PeerError, UsageError, type VmbusError } from '../../errors.ts';
import type { Mdl, ScatterView } from '../../memory/index.ts';
import {
  type NtStatus,
  ntStatusName,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { type SharedPages, sharedRanges } from '../packets/external-pages.ts';
import type { ScatterReader } from '../packets/packet.ts';
import { checkMayWait } from '../waiting.ts';

export interface GpadlOptions {
  /** Advice to the host that it shall only read. The wire has no place for it; hosts in this process see it. */
  readonly isReadOnly?: boolean;
}

/** Memory that this guest shares. */
export class Gpadl implements AsyncDisposable {
  /** What to tell the host. */
  readonly id: number;
  readonly #endpoint: ChannelEndpoint;
  readonly #all: Set<Gpadl>;
  #deleted: Promise<void> | undefined;

  /** Use `GuestChannel.createGpadl`. @param all the channel's GPADLs, which it enters and leaves */
  constructor(endpoint: ChannelEndpoint, id: number, all: Set<Gpadl>) {
    this.#endpoint = endpoint;
    this.id = id;
    this.#all = all.add(this);
  }

  get isDeleted(): boolean {
    return this.#deleted !== undefined;
  }

  /**
   * Takes the memory back. Resolves when the host has let go of it, which it does not before it unmaps it. The end of
   * the channel deletes it too; a second call waits for the same.
   */
  async delete(): Promise<void> {
    checkMayWait('delete');
    await this.startDelete();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.delete();
  }

  /** For the channel, which does not wait while it closes: the host unmaps when it learns of the close. */
  startDelete(): Promise<void> {
    this.#all.delete(this);
    this.#deleted ??= this.#endpoint.deleteGpadl(this.id);
    return this.#deleted;
  }
}

/** @throws (rejects with) see `GuestChannel.createGpadl` */
export async function createGpadl(
  endpoint: ChannelEndpoint,
  pages: SharedPages,
  options: GpadlOptions,
  all: Set<Gpadl>,
  errorOf: (status: NtStatus) => VmbusError,
): Promise<Gpadl> {
  const { memory } = endpoint;
  if (memory === undefined || !endpoint.isOpen || endpoint.isEnding) throw errorOf(STATUS_INVALID_DEVICE_STATE);
  const ranges = sharedRanges(pages, memory);
  const { status, gpadlId } = await endpoint.createGpadl(ranges, options.isReadOnly === true ? 'read' : 'write');
  if (status === STATUS_INVALID_BUFFER_SIZE) {
    throw new UsageError('ERR_ARGUMENT', 'more pages than one GPADL can name', { status });
  }
  if (status === STATUS_DEVICE_REMOVED || status === STATUS_DEVICE_NOT_CONNECTED) throw errorOf(status);
  if (status !== STATUS_SUCCESS) {
    throw new PeerError('ERR_REFUSED', `the host refused the GPADL: ${ntStatusName(status)}`, { status });
  }
  const gpadl = new Gpadl(endpoint, gpadlId, all);
  // The channel ends, which waits for us and then deletes it.
  if (endpoint.isEnding) throw errorOf(STATUS_INVALID_DEVICE_STATE);
  return gpadl;
}

/** Memory of the guest's as the host sees it, until `unmap` or the end of the open cycle. */
export class MappedGpadl<View extends ScatterReader = ScatterView> implements Disposable {
  readonly id: number;
  /** The chain, one MDL for each range of the guest's. */
  readonly mdl: Mdl;
  /** All bytes of it. */
  readonly view: View;
  readonly #endpoint: ChannelEndpoint;
  readonly #all: Set<MappedGpadl<ScatterReader>>;
  readonly #end: (reason: string) => void;

  /** Use `HostChannel.mapGpadl`. */
  constructor(
    endpoint: ChannelEndpoint,
    id: number,
    mdl: Mdl,
    view: View & ScatterView,
    all: Set<MappedGpadl<ScatterReader>>,
  ) {
    this.#endpoint = endpoint;
    this.id = id;
    this.mdl = mdl;
    this.view = view;
    this.#all = all.add(this);
    // The view of a chain does not end with its MDLs.
    this.#end = (reason) => view.invalidate(reason);
  }

  get isMapped(): boolean {
    return this.#all.has(this);
  }

  /** Lets go of it; a guest that waits for its deletion goes on. A second call does nothing. */
  unmap(): void {
    if (!this.#all.delete(this)) return;
    this.#end(`GPADL ${this.id} was unmapped`);
    this.#endpoint.unmapGpadl(this.id);
  }

  [Symbol.dispose](): void {
    this.unmap();
  }
}

/** @throws see `HostChannel.mapGpadl` */
export function mapGpadl(
  endpoint: ChannelEndpoint,
  gpadlId: number,
  options: GpadlOptions,
  all: Set<MappedGpadl<ScatterReader>>,
): MappedGpadl {
  const { status, mdl } = endpoint.mapGpadl(gpadlId, options.isReadOnly === true ? 'read' : 'write');
  if (mdl !== null) return new MappedGpadl(endpoint, gpadlId, mdl, mdl.chainView(), all);
  const code = status === STATUS_INVALID_DEVICE_STATE ? 'ERR_STATE' : 'ERR_ARGUMENT';
  throw new UsageError(code, `GPADL ${gpadlId} cannot be mapped: ${whyNot(status)}`, { status });
}

function whyNot(status: NtStatus): string {
  switch (status) {
    case STATUS_INVALID_DEVICE_STATE:
      return 'the channel is not open, or it is mapped already';
    case STATUS_INVALID_PARAMETER_2:
      return 'the guest shared it for reading only';
    default:
      return 'the guest shares no such memory';
  }
}
