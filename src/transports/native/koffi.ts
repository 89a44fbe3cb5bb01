/**
 * The one place that loads native code: koffi, a foreign-function interface, as an optional dependency.
 *
 * It is loaded when a transport that needs system calls is opened, never before, so that everything else works without.
 *
 * Source: koffi 3, documentation pages "Functions" and "Pointers".
 */
import { SystemError } from '../../errors.ts';

/** A C function: numbers, `bigint`s, strings and typed arrays (passed by address) in, a number out. */
export type NativeFunction = (...args: readonly (number | bigint | string | Uint8Array | null)[]) => number;

/** What we use of koffi. Declared here so that our public types do not depend on an optional package. */
export interface Koffi {
  load(library: string | null): { func(name: string, result: string, parameters: readonly string[]): NativeFunction };
  /** An ArrayBuffer over `lengthBytes` bytes of native memory at `address`; it does not own them. */
  view(address: bigint, lengthBytes: number): ArrayBuffer;
  /** `errno` of the last call made by this thread. */
  errno(): number;
}

/** @param load how the module is found; a test hands in its own */
export async function loadKoffi(load: () => Promise<unknown> = importKoffi): Promise<Koffi> {
  let module: unknown;
  try {
    module = await load();
  } catch (cause) {
    throw new SystemError(
      'ERR_TRANSPORT',
      'this transport makes system calls through the optional package koffi, which could not be loaded; install it with: npm install koffi@3',
      { cause },
    );
  }
  const candidate = (module as { default?: unknown }).default ?? module;
  if (!isKoffi(candidate)) {
    throw new SystemError(
      'ERR_TRANSPORT',
      'the package koffi lacks load, view or errno; version 3 is needed: npm install koffi@3',
    );
  }
  return candidate;
}

function isKoffi(candidate: unknown): candidate is Koffi {
  if (typeof candidate !== 'object' || candidate === null) return false;
  return ['load', 'view', 'errno'].every((name) => typeof (candidate as Record<string, unknown>)[name] === 'function');
}

function importKoffi(): Promise<unknown> {
  // Not a literal in `import()`: compilers and bundlers must not resolve what may be absent.
  const name = 'koffi';
  return import(name);
}
