// The garbage of a start: collected once, when the gateway has become quiet, where Node was started with --expose-gc. V8
// looks for garbage when memory is asked for, and a gateway that waits for calls asks for none.

import type { Clock } from '../clock.ts';
import type { Gateway } from '../gateway.ts';

/** The time between two looks, ms: the first tokens, and what is loaded with the first calls, are there by then. */
const LOOK_MS = 3_000;

/**
 * After so many calls V8 has optimized code for them. The collection takes that away too, and calls would cost a fifth
 * more CPU time until there is some again, many thousands of them later.
 */
const COLD_CALLS = 100;

/** Collects at the first look since which before no call has begun or ended: it takes some 50 ms, as a call may notice. */
export function collectWhenQuiet(gateway: Pick<Gateway, 'calls'>, clock: Clock, gc = globalThis.gc): void {
  if (gc === undefined) return;
  const { running, finished } = gateway.calls;
  clock.after(LOOK_MS, () => {
    const { calls } = gateway;
    if (calls.finished > COLD_CALLS) return;
    // As V8 does it when memory runs out: only these make the room for new objects small again.
    if (calls.running === running && calls.finished === finished) gc({ type: 'major', flavor: 'last-resort' });
    else collectWhenQuiet(gateway, clock, gc);
  });
}
