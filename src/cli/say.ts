/** What a command that runs for long says meanwhile: JSON Lines on stdout for machines, or lines on stderr for people. */

export type Say = (event: string, details?: Readonly<Record<string, string | number | boolean>>) => void;

export function sayFor(options: { readonly json: boolean }): Say {
  return options.json ? sayJson : sayText;
}

const sayJson: Say = (event, details) => {
  process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
};

const sayText: Say = (event, details = {}) => {
  const words = Object.entries(details).map(([name, value]) => `${name} ${value}`);
  process.stderr.write(`vmbus: ${[event, ...words].join(' ')}\n`);
};

/** The first of its kind at once, then at most one in so many milliseconds, with how many were left out. */
export function sayRarely(say: Say, event: string, everyMs = 1000): Say {
  let leftOut = 0;
  let saidMs = Number.NEGATIVE_INFINITY;
  return (_event, details) => {
    const nowMs = performance.now();
    if (nowMs - saidMs < everyMs) {
      leftOut++;
      return;
    }
    say(event, { ...details, ...(leftOut > 0 && { leftOut }) });
    saidMs = nowMs;
    leftOut = 0;
  };
}
