/** The two ends with what only one of them may do: a client's GPADLs, a server's mappings. */
import {
  endpointOf,
  Mdl,
  out,
  STATUS_SUCCESS,
  VmbChannelCreateGpadlFromMdl,
  VmbChannelDeleteGpadl,
  VmbChannelMapGpadl,
  VmbChannelUnmapGpadl,
  type VmbClientChannel,
  type VmbServerChannel,
} from '../../../src/kmcl/index.ts';
import type { GuestMemory } from '../../../src/memory/index.ts';
import { type Surroundings, WalkingDriver } from './walking-driver.ts';

const MOST_GPADLS = 4;

export class WalkingClient extends WalkingDriver {
  /** Created and not deleted. */
  readonly gpadls = new Set<number>();
  readonly #memory: GuestMemory;
  readonly #client: VmbClientChannel;
  /** The host has not confirmed them yet; Closed must not return before it has. */
  readonly #creating = new Set<Promise<void>>();

  constructor(channel: VmbClientChannel, memory: GuestMemory, around: Surroundings) {
    super('client', channel, around);
    this.#client = channel;
    this.#memory = memory;
  }

  createGpadl(): void {
    if (this.gpadls.size >= MOST_GPADLS) return;
    // Closed has to end with none, so its driver begins no more.
    if (endpointOf(this.channel).stage === 'closing') return;
    const gpadl = out<number>();
    const mdl = Mdl.fromPfns(this.#memory, [200, 203, 201]);
    const wasOpen = endpointOf(this.channel).isOpen;
    const created = VmbChannelCreateGpadlFromMdl(this.#client, 0, mdl, 0, 0, gpadl).then((status) => {
      if (status !== STATUS_SUCCESS) return;
      if (!wasOpen) throw new Error('a GPADL on a channel that is not open');
      this.gpadls.add(gpadl.value);
    });
    this.#creating.add(created);
    this.around.follow(
      'create GPADL',
      created.finally(() => this.#creating.delete(created)),
    );
  }

  deleteGpadl(): void {
    const [gpadl] = this.gpadls;
    this.around.follow('delete GPADL 99', VmbChannelDeleteGpadl(this.#client, 99), 'K-261');
    if (gpadl !== undefined) this.#delete(gpadl);
  }

  protected override closing(): Promise<void> | void {
    if (this.gpadls.size + this.#creating.size > 0) return this.#deleteAll();
  }

  async #deleteAll(): Promise<void> {
    while (this.gpadls.size + this.#creating.size > 0) {
      await Promise.all(this.#creating);
      await Promise.all([...this.gpadls].map((gpadl) => this.#delete(gpadl)));
    }
  }

  #delete(gpadl: number): Promise<void> {
    this.gpadls.delete(gpadl);
    const deleted = VmbChannelDeleteGpadl(this.#client, gpadl);
    this.around.follow('delete GPADL', deleted);
    return deleted;
  }
}

export class WalkingServer extends WalkingDriver {
  readonly #server: VmbServerChannel;
  readonly #mapped = new Map<number, Mdl>();

  constructor(channel: VmbServerChannel, around: Surroundings) {
    super('server', channel, around);
    this.#server = channel;
  }

  /** A handle that the client told, or one that nobody did. */
  map(gpadls: Iterable<number>): void {
    for (const gpadl of [...gpadls, 77]) {
      const mdl = out<Mdl>();
      if (VmbChannelMapGpadl(this.#server, this.around.random.below(3), gpadl, mdl) !== STATUS_SUCCESS) continue;
      if (gpadl === 77) throw new Error('server: mapped a GPADL that does not exist');
      mdl.value.chainView().write(0, Uint8Array.of(1));
      this.#mapped.set(gpadl, mdl.value);
    }
  }

  unmapAll(): void {
    for (const [gpadl, mdl] of this.#mapped) {
      // The end of the channel unmaps what is left, and the MDL shows it.
      if (mdl.isValid) VmbChannelUnmapGpadl(this.#server, gpadl);
      if (mdl.isValid) throw new Error('server: an MDL outlives its mapping');
    }
    this.#mapped.clear();
  }
}
