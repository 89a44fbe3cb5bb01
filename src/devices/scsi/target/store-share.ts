/** What all units over one store have in common, whichever guest they belong to. */
import type { BlockBackend } from '../block-backend.ts';
import { Reservations } from './reservations.ts';
import { WriteGate } from './write-gate.ts';

export class StoreShare {
  readonly reservations = new Reservations();
  readonly gate = new WriteGate();
  /** Counts changes of the store's size; a unit that has seen another count looks again. */
  sizeVersion = 0;
}

const shares = new WeakMap<BlockBackend, StoreShare>();

/** The same object for the same back end. */
export function shareOf(backend: BlockBackend): StoreShare {
  const known = shares.get(backend);
  if (known !== undefined) return known;
  const share = new StoreShare();
  shares.set(backend, share);
  return share;
}
