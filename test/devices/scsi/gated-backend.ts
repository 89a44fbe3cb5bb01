import type { BlockBackend } from '../../../src/devices/scsi/block-backend.ts';
import type { ScatterView } from '../../../src/memory/scatter-view.ts';

interface Held {
  readonly what: 'read' | 'write' | 'flush';
  readonly offsetBytes: number;
  run(): void;
}

/** A store that does nothing until the test says so: every call waits in `held`, in the order in which it came. */
export class GatedBackend implements BlockBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache: boolean;
  readonly identity: string;
  readonly held: Held[] = [];
  readonly #store: BlockBackend;

  constructor(store: BlockBackend) {
    this.#store = store;
    this.sizeBytes = store.sizeBytes;
    this.blockBytes = store.blockBytes;
    this.readOnly = store.readOnly;
    this.hasVolatileCache = store.hasVolatileCache;
    this.identity = store.identity;
  }

  read(offsetBytes: number, target: ScatterView): Promise<void> {
    return this.#hold('read', offsetBytes, () => this.#store.read(offsetBytes, target));
  }

  write(offsetBytes: number, source: ScatterView, forceUnitAccess: boolean): Promise<void> {
    return this.#hold('write', offsetBytes, () => this.#store.write(offsetBytes, source, forceUnitAccess));
  }

  flush(): Promise<void> {
    return this.#hold('flush', 0, () => this.#store.flush());
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Lets the call at `index` of `held` go on. */
  release(index = 0): void {
    const [held] = this.held.splice(index, 1);
    if (held === undefined) throw new Error(`nothing is held at ${index}`);
    held.run();
  }

  releaseAll(): void {
    while (this.held.length > 0) this.release();
  }

  #hold(what: Held['what'], offsetBytes: number, work: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.held.push({ what, offsetBytes, run: () => void work().then(resolve, reject) });
    });
  }
}
