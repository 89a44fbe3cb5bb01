/** Lets the event loop turn until `condition` holds; a condition that never does fails by the test's own time limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A few turns: enough for anything that is on its way inside this process to arrive. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn();
}
