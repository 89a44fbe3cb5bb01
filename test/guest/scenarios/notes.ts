/** Lines of a report; the same line again and again is one line with a count. */
export class Notes {
  readonly #entries: { text: string; count: number }[] = [];

  add(text: string): void {
    const last = this.#entries.at(-1);
    if (last?.text === text) last.count++;
    else this.#entries.push({ text, count: 1 });
  }

  get lines(): string[] {
    return this.#entries.map(({ text, count }) => (count === 1 ? text : `${text}, ${count} times`));
  }
}
