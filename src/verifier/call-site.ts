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

const packageRoot = pathOf(new URL('..', import.meta.url).href);

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
      const first = frames.findIndex((frame) => isOutside(frame));
      const shown = frames.slice(first, first + FRAMES_SHOWN).filter(isOutside);
      this.#text = first < 0 ? null : shown.map((frame) => frame.replaceAll('file://', '')).join('\n');
    }
    return this.#text;
  }
}

function isOutside(frame: string): boolean {
  if (frame.includes('node:internal') || frame.includes('<anonymous>')) return false;
  return !OWN_FOLDERS.some((folder) => frame.includes(`${packageRoot}${folder}/`));
}

function pathOf(href: string): string {
  return href.startsWith('file://') ? href.slice('file://'.length) : href;
}
