// The garbage of a start: collected once, when the gateway has become quiet. A start leaves some MiB of it, and room for
// new objects that has grown with it. V8 looks for garbage when memory is asked for, and a gateway that waits for calls
// asks for none; only where compiled code was kept, it does the same by itself later.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../clock.ts';
import type { Gateway } from '../gateway.ts';

/** The time between two looks, ms: the first tokens, and what is loaded with the first calls, are there by then. */
const LOOK_MS = 3_000;

/** Collects at the first look since which before no call has begun or ended. It takes some 50 ms, as a call may notice. */
export function collectWhenQuiet(gateway: Pick<Gateway, 'calls'>, clock: Clock): void {
  const { running, finished } = gateway.calls;
  clock.after(LOOK_MS, () => {
    const { calls } = gateway;
    if (calls.running === running && calls.finished === finished) collect();
    else collectWhenQuiet(gateway, clock);
  });
}

/** A collection as V8 does it when memory runs out: only these make the room for new objects small again. */
function collect(): void {
  try {
    const gc = globalThis.gc ?? hiddenGc();
    gc({ type: 'major', flavor: 'last-resort' });
  } catch {
    // A V8 that does it in another way: more memory is held, and nothing else.
  }
}

/**
 * The function that `node --expose-gc` shows. V8 gives it to contexts that are made while the flag is set, and takes no
 * compiled code while its flags are others than those that the code was made with: so the flag is set for that moment.
 */
function hiddenGc(): NodeJS.GCFunction {
  setFlagsFromString('--expose-gc');
  try {
    return runInNewContext('gc') as NodeJS.GCFunction;
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}
