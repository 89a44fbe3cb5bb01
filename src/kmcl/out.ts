/** C's out-parameters: a box that the function stores into. */
import { UsageError } from '../errors.ts';

/** Any object with a `value` will do; `out()` makes one whose emptiness shows. */
export interface Out<T> {
  value: T;
}

/** A box that starts empty. */
export interface OutBox<T> extends Out<T> {
  /** Nothing was stored yet. */
  readonly isEmpty: boolean;
}

class EmptyableBox<T> implements OutBox<T> {
  #content: { readonly value: T } | null = null;

  get isEmpty(): boolean {
    return this.#content === null;
  }

  get value(): T {
    if (this.#content === null) {
      throw new UsageError('ERR_STATE', 'the out-parameter is empty: the call that fills it failed or never ran');
    }
    return this.#content.value;
  }

  set value(value: T) {
    this.#content = { value };
  }
}

/**
 * A box for an out-parameter: `const channel = out<VmbClientChannel>()`.
 * Reading `value` while it is empty throws `UsageError` `ERR_STATE`.
 */
export function out<T>(): OutBox<T> {
  return new EmptyableBox<T>();
}
