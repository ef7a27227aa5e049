// The metrics of the export of spans: looked up at each scrape, absent without one.

import { type Family, sampled } from './metric-family.ts';

/** How many spans were delivered, and were not by the reason, since the start; and how many wait. */
export interface SpansSample {
  readonly sent: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly waiting: number;
}

/** `sample` gives null while there is no export. */
export function spanFamilies(sample: () => SpansSample | null): readonly Family[] {
  const one = (read: (spans: SpansSample) => number) => () => {
    const spans = sample();
    return spans === null ? [] : [{ labels: {}, value: read(spans) }];
  };
  return [
    sampled(
      'counter',
      'gcg_spans_sent_total',
      'Spans that the collector took.',
      one(({ sent }) => sent),
    ),
    sampled('counter', 'gcg_spans_dropped_total', 'Spans that were not delivered, by the reason.', () =>
      Object.entries(sample()?.dropped ?? {}).map(([reason, value]) => ({ labels: { reason }, value })),
    ),
    sampled(
      'gauge',
      'gcg_spans_waiting',
      'Spans that wait to be sent.',
      one(({ waiting }) => waiting),
    ),
  ];
}
