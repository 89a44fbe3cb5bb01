/** Flushes that come while one is under way share the next one: what they wait for must begin after they asked. */
export class GroupCommit {
  readonly #commit: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param commit makes everything stable that was done before it was called; never runs twice at a time */
  constructor(commit: () => Promise<void>) {
    this.#commit = commit;
  }

  /** Resolves when a commit ended that began after this call. @throws (rejects) what that commit threw */
  request(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const run = this.#commit().finally(() => {
      // With another one waiting, it stays in place until that one begins: nobody may slip in between.
      if (this.#next === undefined) this.#running = undefined;
    });
    this.#running = run;
    return run;
  }
}
