// Reloads without end while calls run: good and bad files in turn, by SIGHUP and by the file alone, and what they left
// behind.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { COUNT_TIMERS, type Holdings, holdingsOf, type Served, startLoad, startServed } from './served.ts';

/** How hard it storms. */
export interface Storm {
  readonly signals: number;
  /** All signals within this. */
  readonly withinMs: number;
  readonly swaps: number;
  /** How often the heap is looked at, before and after: what counts is the least. */
  readonly heapLooks: number;
}

/** What is not garbage is what counts: without this the heap depends on when the collector was here last. */
const COLLECT_OFTEN = '--expose-gc --import=data:text/javascript,setInterval(gc,700).unref()';

/** What the last calls and reloads still hold is let go within this, however busy the machine is. */
const SETTLED_WITHIN_MS = 20_000;

const APPLIED = 'configuration reloaded';
const REFUSED = 'configuration refused, the previous one stays in use';

/** Good ones change something each time: connections, limits, the log. */
function goodText(served: Served, n: number): string {
  return served.configText(
    `[timeouts]\nconnect = ${2 + (n % 5)}\n[retry]\nretry_max = ${1 + (n % 4)}\n[rate_limit]\nqueue_max = ${100 + n}`,
  );
}

/** Runs it and asserts that nobody noticed. Gives what there was to hold before and after, and how many calls ran. */
export async function storm(
  t: Test,
  { signals, withinMs, swaps, heapLooks }: Storm,
): Promise<{ before: Holdings; after: Holdings; calls: number; tookMs: number }> {
  const served = await startServed(t, '', { NODE_OPTIONS: `${COLLECT_OFTEN} ${COUNT_TIMERS}` });
  const { command } = served;
  const warmUp = startLoad(served.url);
  let applied = 0;
  let refused = 0;
  const reloadBySignal = async (n: number) => {
    const isGood = n % 2 === 0;
    served.swapConfig(isGood ? goodText(served, n) : served.configText('[retry]\nretry_max = many'));
    // Both notice: the signal at once, the watch a moment later that this content is known by now.
    command.child.kill('SIGHUP');
    if (isGood) await served.record(APPLIED, ++applied);
    else await served.record(REFUSED, ++refused);
  };
  // The first ones warm up what is made once.
  for (let n = 0; n < 4; n += 1) await reloadBySignal(n);
  await warmUp.more(200);
  // A call in progress has a timer and sockets of its own, so both counts are taken while none runs.
  await warmUp.stop();
  const before = await leastHoldings(served, heapLooks);
  const load = startLoad(served.url);
  const startedAt = performance.now();
  for (let n = 0; n < signals; n += 1) {
    await reloadBySignal(n);
    const dueAt = (withinMs * (n + 1)) / signals;
    await sleep(Math.max(0, dueAt - (performance.now() - startedAt)));
  }
  const tookMs = performance.now() - startedAt;
  // Now by the file alone. The watch may have had its own look at some of the files above.
  for (let n = 0; n < swaps; n += 1) {
    applied = count(command.stdout(), APPLIED);
    served.swapConfig(goodText(served, 10_000 + n));
    await served.record(APPLIED, applied + 1);
    await load.more(50);
  }
  await load.more(200);
  const { calls, failures } = await load.stop();
  t.same(failures, [], `no call of ${calls} failed`);
  const after = await settledHoldings(served, heapLooks, before);
  t.ok(isAsBefore(before, after), `${JSON.stringify(after)} is held after ${JSON.stringify(before)}`);
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0);
  t.equal(served.sandbox.stats.tokenRequestsTotal, 1, 'one token served all configurations');
  return { before, after, calls, tookMs };
}

/** A connection more or less in the pool is nothing that reloads leave; what they leave is left by each. */
function isAsBefore(before: Holdings, after: Holdings): boolean {
  return (
    after.files === before.files &&
    after.watches === before.watches &&
    after.sockets <= before.sockets + 2 &&
    after.timers <= before.timers + 3
  );
}

/** Looks until no more is held than `before`; gives the last look, also when that does not come. */
async function settledHoldings(served: Served, heapLooks: number, before: Holdings): Promise<Holdings> {
  const giveUpAt = performance.now() + SETTLED_WITHIN_MS;
  for (;;) {
    const held = await leastHoldings(served, heapLooks);
    if (isAsBefore(before, held) || performance.now() > giveUpAt) return held;
  }
}

/** Twenty looks take longer than the collector pauses. */
async function leastHoldings(served: Served, heapLooks: number): Promise<Holdings> {
  let held = await holdingsOf(served);
  for (let looks = 0; looks < heapLooks; looks += 1) {
    await sleep(100);
    const next = await holdingsOf(served);
    held = { ...next, heapMiB: Math.min(held.heapMiB, next.heapMiB) };
  }
  return held;
}

function count(text: string, msg: string): number {
  return text.split(`"msg":"${msg}"`).length - 1;
}
