/** Bytes from readable hex: `06 00 | 01`, and `120 x 00` for a run. Anything else in the text is an error. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  const tokens = text
    .replaceAll('|', ' ')
    .trim()
    .split(/\s+/)
    .filter((token) => token !== '');
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index] ?? '';
    if (tokens[index + 1] === 'x') {
      const value = byte(tokens[index + 2] ?? '');
      for (let left = Number(token); left > 0; left--) bytes.push(value);
      index += 2;
    } else {
      bytes.push(byte(token));
    }
  }
  return Uint8Array.from(bytes);
}

function byte(token: string): number {
  if (!/^[0-9a-f]{2}$/i.test(token)) throw new Error(`"${token}" is not a byte`);
  return Number.parseInt(token, 16);
}

/** A buffer in which a byte that nobody set shows. */
export function a5(byteCount: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(byteCount).fill(0xa5);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
