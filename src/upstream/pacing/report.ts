// Report mode's voice: says what would have been held back, at most once every ten seconds.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';

const PERIOD_MS = 10_000;

/** Counts in between; the next line tells the number. */
export function createReport(log: Log, clock: Clock): { held(limit: string): void } {
  let saidAt = Number.NEGATIVE_INFINITY;
  let count = 0;
  return {
    held(limit) {
      count += 1;
      if (clock.monotonic() - saidAt < PERIOD_MS) return;
      saidAt = clock.monotonic();
      log.warn({ limit, calls: count }, 'calls would have been held back (rate_limit.mode = report)');
      count = 0;
    },
  };
}
