// The last step of every exchange: its record is finished, counted, and handed to the log and to whoever keeps it. It
// decides nothing of what they do with it.

import type { ExchangeRecord } from './exchange-record.ts';
import type { Metrics } from './metrics/metrics.ts';

/** The route of what leads nowhere, or was not understood. */
const OTHER_ROUTE = 'other';

/** The two moments of an exchange that are watched. */
export interface ExchangeObserver {
  readonly begun: () => void;
  /** May be called more than once for a record: only the first call counts. */
  readonly ended: (record: ExchangeRecord) => void;
  readonly counts: ExchangeCounts;
}

/** Exchanges of this process: probes count while they run. */
export interface ExchangeCounts {
  readonly running: number;
  /** Ended by themselves, however that was; probes are left out. */
  readonly finished: number;
  /** Ended by the end of the gateway. */
  readonly cut: number;
}

/**
 * Told when an exchange begins and when it has ended: takes its duration, counts it and writes its
 * record. `log.exchange` gets each record once, when all of its fields are final. It never throws and nothing waits for
 * it.
 */
export function createExchangeObserver({
  log,
  metrics,
  activity,
  inspector,
  spans,
}: {
  log: { exchange(record: ExchangeRecord): unknown };
  metrics: Metrics;
  /** Counts by client. */
  activity?: { ended(record: ExchangeRecord): void };
  /** Keeps calls; told the line that the log made, if any. */
  inspector?: { ended(record: ExchangeRecord, line: string | null): void } | null;
  /** Exports its spans. */
  spans?: { ended(record: ExchangeRecord): void };
}): ExchangeObserver {
  const counts = { running: 0, finished: 0, cut: 0 };
  return {
    counts,
    begun() {
      counts.running += 1;
      metrics.started();
    },
    ended(record) {
      if (record.isEnded) return;
      record.isEnded = true;
      if (record.route === '') record.route = OTHER_ROUTE;
      record.durationMs = performance.now() - record.startedAt;
      metrics.ended(record);
      activity?.ended(record);
      spans?.ended(record);
      counts.running -= 1;
      if (record.isProbe) return;
      if (record.aborted && record.errorCode === 'gateway.draining') counts.cut += 1;
      else counts.finished += 1;
      const line = log.exchange(record);
      inspector?.ended(record, typeof line === 'string' ? line : null);
    },
  };
}
