/** An export in memory that does what a test tells it. */
import type { NbdExport } from '../../src/nbd/nbd-export.ts';

export interface MemoryExport extends NbdExport {
  readonly bytes: Buffer;
  /** What was called, in order: `read 0 512`. */
  readonly calls: string[];
}

export function someExport(byteCount = 1024 * 1024, changes: Partial<NbdExport> = {}): MemoryExport {
  const bytes = Buffer.alloc(byteCount);
  const calls: string[] = [];
  return {
    bytes,
    calls,
    sizeBytes: byteCount,
    blockBytes: 512,
    readOnly: false,
    canFlush: true,
    async read(offsetBytes, target) {
      calls.push(`read ${offsetBytes} ${target.length}`);
      bytes.copy(target, 0, offsetBytes, offsetBytes + target.length);
    },
    async write(offsetBytes, source, forceUnitAccess) {
      calls.push(`write ${offsetBytes} ${source.length}${forceUnitAccess ? ' fua' : ''}`);
      source.copy(bytes, offsetBytes);
    },
    async flush() {
      calls.push('flush');
    },
    async trim(offsetBytes, byteCount, forceUnitAccess) {
      calls.push(`trim ${offsetBytes} ${byteCount}${forceUnitAccess ? ' fua' : ''}`);
      bytes.fill(0, offsetBytes, offsetBytes + byteCount);
    },
    ...changes,
  };
}

/** A promise and the way to keep it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
