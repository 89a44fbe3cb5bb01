/**
 * Waits until no device holds anything of a guest any more: requests that are under way still read and write its RAM, and
 * RAM that changes hands meanwhile would put one guest's bytes on the disk of, or into, another.
 */

/** The part of a host bus that says when its devices have let go. */
export interface ReleasableBus {
  /** The guest is gone without a word. */
  reset(): void;
  /** `disconnected` once every device has let go of it. */
  readonly state: string;
}

/** How often it is looked at: the end of disk requests, not of processor cycles, is awaited. */
const LOOK_MS = 2;

/**
 * @param isGivenUp asked while waiting
 * @returns whether the devices have let go
 */
export async function releaseGuest(bus: ReleasableBus, isGivenUp: () => boolean): Promise<boolean> {
  bus.reset();
  while (bus.state !== 'disconnected') {
    if (isGivenUp()) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return true;
}
