// Told when an exchange begins and when it has ended: names its route, takes its duration, counts it and writes its
// record. Everything it needs is made once; it never throws and nothing waits for it.

import type { ExchangeRecord } from '../exchange-record.ts';
import type { Metrics } from './metrics.ts';
import { createRouteTemplates } from './route-template.ts';

/** The two moments of an exchange that are watched. */
export interface ExchangeObserver {
  readonly begun: () => void;
  /** May be called more than once for a record: only the first call counts. */
  readonly ended: (record: ExchangeRecord) => void;
}

/** `log.exchange` gets each record once, when all of its fields are final. */
export function createExchangeObserver({
  log,
  metrics,
}: {
  log: { exchange(record: ExchangeRecord): void };
  metrics: Metrics;
}): ExchangeObserver {
  const templates = createRouteTemplates();
  return {
    begun: metrics.started,
    ended(record) {
      if (record.isEnded) return;
      record.isEnded = true;
      if (record.route === '') record.route = templates.of(record.target);
      record.durationMs = performance.now() - record.startedAt;
      metrics.ended(record);
      if (!record.isProbe) log.exchange(record);
    },
  };
}
