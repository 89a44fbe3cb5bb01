/** An image file that cannot be used as it is: foreign, truncated, corrupt, or of a kind that is not supported. */
import { SystemError } from '../errors.ts';

/** One line that names the file and what is wrong with it. Nothing was changed in the file. */
export class ImageError extends SystemError {
  readonly path: string;

  /** @param why continues the sentence that the path begins: `is truncated: …` */
  constructor(path: string, why: string, cause?: unknown) {
    super('ERR_BACKEND', `${path} ${why}`, cause === undefined ? {} : { cause });
    this.path = path;
  }
}
