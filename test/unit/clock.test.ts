// The one clock that is not a test's: long delays over Node's own timer, which fires at once when a delay does not fit
// 31 bits.

import t from 'tap';
import { systemClock } from '../../src/clock.ts';

const DAY_MS = 86_400_000;
const NODE_LIMIT_MS = 2 ** 31 - 1;

/** Node's timer replaced for the time of the test: delays are noted, and the latest callback is at hand. */
function holdTimers(t: { teardown(fn: () => void): void }) {
  const { setTimeout: realSetTimeout, clearTimeout: realClearTimeout } = globalThis;
  const delays: number[] = [];
  let pending: (() => void) | null = null;
  globalThis.setTimeout = ((fn: () => void, delayMs: number) => {
    delays.push(delayMs);
    pending = fn;
    return { unref() {} };
  }) as unknown as typeof setTimeout;
  globalThis.clearTimeout = () => {
    pending = null;
  };
  t.teardown(() => Object.assign(globalThis, { setTimeout: realSetTimeout, clearTimeout: realClearTimeout }));
  return {
    delays,
    isPending: () => pending !== null,
    fire() {
      const fn = pending;
      pending = null;
      fn?.();
    },
  };
}

t.test('a delay of 450 days is waited out in steps that Node can hold, and ends once', (t) => {
  const timers = holdTimers(t);
  let runs = 0;
  systemClock.after(450 * DAY_MS, () => {
    runs += 1;
  });
  let steps = 0;
  for (; timers.isPending() && steps < 100; steps += 1) {
    t.equal(runs, 0, 'not yet');
    timers.fire();
  }
  t.equal(runs, 1);
  t.equal(steps, Math.ceil((450 * DAY_MS) / NODE_LIMIT_MS));
  t.equal(Math.max(...timers.delays) <= NODE_LIMIT_MS, true);
  t.equal(
    timers.delays.reduce((sum, delayMs) => sum + delayMs, 0),
    450 * DAY_MS,
    'no sooner and no later',
  );
  t.end();
});

t.test('it can be cancelled in any step, and the longest delay that fits is one step', (t) => {
  const timers = holdTimers(t);
  const long = systemClock.after(60 * DAY_MS, () => t.fail('it was cancelled'));
  timers.fire();
  t.equal(timers.isPending(), true, 'the second step');
  long.cancel();
  t.equal(timers.isPending(), false);
  timers.delays.splice(0);
  systemClock.after(NODE_LIMIT_MS, () => {});
  timers.fire();
  t.strictSame(timers.delays, [NODE_LIMIT_MS]);
  t.end();
});
