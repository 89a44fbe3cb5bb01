/** A command that runs until it is stopped, and what it says meanwhile. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export type CommandEvent = Readonly<Record<string, unknown>>;

export class LongCommand {
  readonly child: ChildProcess;
  readonly events: CommandEvent[] = [];
  stdout = '';
  stderr = '';
  readonly ended: Promise<number | NodeJS.Signals>;
  #listeners = new Set<() => void>();

  /** @param main the compiled command line @param args with `--json`, if `events` are wanted */
  constructor(main: string, args: readonly string[]) {
    this.child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.stdout += `${line}\n`;
      if (line.startsWith('{"event"')) this.events.push(JSON.parse(line));
      for (const listener of this.#listeners) listener();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve(code ?? (signal as NodeJS.Signals)));
    });
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves with the first event of that name. @throws Error with what the command said, if it ends before */
  async heard(event: string): Promise<CommandEvent> {
    const found = new Promise<CommandEvent>((resolve) => {
      const look = (): void => {
        const entry = this.events.find((one) => one['event'] === event);
        if (entry === undefined) return;
        this.#listeners.delete(look);
        resolve(entry);
      };
      this.#listeners.add(look);
      look();
    });
    const died = this.ended.then((end) => {
      throw new Error(`the command ended (${end}) and never said "${event}": ${this.stderr}`);
    });
    died.catch(() => {});
    return await Promise.race([found, died]);
  }

  /** @returns exit code, or the signal that ended it */
  async stop(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    if (this.isRunning) this.child.kill(signal);
    return await this.ended;
  }
}
