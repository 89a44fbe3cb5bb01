/**
 * Notices that the guest's kernel died: from its console, or from the crash registers of Hyper-V, whichever says so
 * first. The machine is left running for a moment so that the rest of the report reaches the console.
 *
 * Source: Linux `kernel/panic.c` (the text), `drivers/hv/vmbus_drv.c` `hv_kmsg_dump` (the registers).
 */

/** At the start of a line, after the log's time stamp and processor if they are on: a program's own output is not it. */
const PANIC_LINE = /^(?:\[[^\]]*\]\s*)*Kernel panic - not syncing: (.*)/;
/** Longest line of the panic that is kept. */
const MAX_LINE_BYTES = 512;

export class PanicWatch {
  readonly #decoder = new TextDecoder();
  #line = '';
  #report: string | undefined;

  /** What the kernel said about its death; `undefined` while it lives. */
  get report(): string | undefined {
    return this.#report;
  }

  /** Console output as it comes. @returns whether the kernel has died by now */
  console(bytes: Uint8Array): boolean {
    for (const part of this.#decoder.decode(bytes, { stream: true }).split(/(?<=\n)/)) {
      this.#line = (this.#line + part).slice(0, MAX_LINE_BYTES);
      if (!part.endsWith('\n')) continue;
      this.#report ??= PANIC_LINE.exec(this.#line)?.[1]?.trim();
      this.#line = '';
    }
    return this.#report !== undefined;
  }

  /** The crash registers. @param message the guest's own words, if any */
  registers(parameters: readonly bigint[], message: string | undefined): void {
    const said = /Kernel panic - not syncing: (.*)/.exec(message ?? '')?.[1];
    const codes = parameters.map((parameter) => `0x${parameter.toString(16)}`).join(' ');
    this.#report ??= said ?? `crash registers ${codes}`;
  }
}
