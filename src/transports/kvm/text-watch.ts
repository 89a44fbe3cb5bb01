/**
 * Finds a text in a stream of bytes, wherever the stream was cut into pieces, without keeping the stream.
 */
export class TextWatch {
  readonly #wanted: Uint8Array;
  /** `#fallback[n]`: after `n` matching bytes and a mismatch, how many still match (Knuth, Morris, Pratt). */
  readonly #fallback: Int32Array;
  #matched = 0;

  /** @param text not empty */
  constructor(text: string) {
    this.#wanted = new TextEncoder().encode(text);
    this.#fallback = fallbackTable(this.#wanted);
  }

  /** @returns how many bytes of `bytes` it took to complete the text; -1 if it is not complete yet */
  push(bytes: Uint8Array): number {
    for (let index = 0; index < bytes.length; index++) {
      while (this.#matched > 0 && this.#wanted[this.#matched] !== bytes[index]) {
        this.#matched = this.#fallback[this.#matched] ?? 0;
      }
      if (this.#wanted[this.#matched] === bytes[index]) this.#matched++;
      if (this.#matched === this.#wanted.length) {
        this.#matched = 0;
        return index + 1;
      }
    }
    return -1;
  }
}

function fallbackTable(wanted: Uint8Array): Int32Array {
  const table = new Int32Array(wanted.length + 1);
  let matched = 0;
  for (let length = 2; length <= wanted.length; length++) {
    while (matched > 0 && wanted[matched] !== wanted[length - 1]) matched = table[matched] ?? 0;
    if (wanted[matched] === wanted[length - 1]) matched++;
    table[length] = matched;
  }
  return table;
}
