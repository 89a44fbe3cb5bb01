/**
 * Where in the driver a call came from.
 *
 * V8 keeps an error's frames and formats them when they are asked for, so a site costs a capture, and its text only when
 * somebody reads a finding.
 */

/** Frames looked at: async frames of callbacks come behind those of the driver. */
const FRAMES_CAPTURED = 40;
const FRAMES_SHOWN = 3;
/** Folders of this package that a driver's call passes through; the frames above them are the driver's. */
const OWN_FOLDERS = ['verifier', 'kmcl', 'channel', 'api', 'ring', 'memory', 'bus', 'transports'];

/** The nearest frame is always this file's, however paths are shown: compiled, or mapped to their source. */
const OWN_FRAME = /\((.*)verifier[/\\]call-site\.[jt]s/;

export class CallSite {
  readonly #error: Error;
  #text: string | null | undefined;

  constructor() {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = FRAMES_CAPTURED;
    this.#error = new Error('call site');
    Error.stackTraceLimit = stackTraceLimit;
  }

  /** Every frame, as V8 prints them. */
  get frames(): readonly string[] {
    return (this.#error.stack ?? '').split('\n').slice(1);
  }

  /** The nearest frames outside this package, `describe (file:line:column)`; `null` if all are its own. */
  get text(): string | null {
    if (this.#text === undefined) {
      const frames = this.frames.map((frame) => frame.trim().replace(/^at /, ''));
      const root = OWN_FRAME.exec(frames[0] ?? '')?.[1] ?? '';
      const isOutside = (frame: string): boolean => isOutsideOf(frame, root);
      const first = frames.findIndex(isOutside);
      const shown = frames.slice(first, first + FRAMES_SHOWN).filter(isOutside);
      this.#text = first < 0 ? null : shown.map((frame) => frame.replaceAll('file://', '')).join('\n');
    }
    return this.#text;
  }
}

function isOutsideOf(frame: string, root: string): boolean {
  if (frame.includes('node:internal') || frame.includes('<anonymous>')) return false;
  return !OWN_FOLDERS.some((folder) => frame.includes(`${root}${folder}/`));
}
