/** Zeros for a store that only knows `write`. */
import { ScatterView } from '../memory/scatter-view.ts';
import { zeroBuffers } from './backing-file.ts';

const PIECE_BYTES = 4 * 1024 * 1024;

/** Calls `write` for one piece after another, none longer than 4 MiB. */
export async function writeZerosBlockwise(
  offsetBytes: number,
  byteCount: number,
  write: (offsetBytes: number, zeros: ScatterView) => Promise<void>,
): Promise<void> {
  for (let done = 0; done < byteCount; done += PIECE_BYTES) {
    const pieceBytes = Math.min(PIECE_BYTES, byteCount - done);
    await write(offsetBytes + done, ScatterView.over(zeroBuffers(pieceBytes)));
  }
}
