// What metrics are made of between scrapes: plain numbers under bounded label values. Formatting them is the
// exposition's job.

/** One value at the time of a scrape. `suffix` is `_bucket`, `_sum` or `_count` within a histogram. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly suffix?: string;
}

/** One metric. `collect` is called at each scrape, must be quick and must not throw. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  collect(): Iterable<Sample>;
}

/** A counter with labels, for events that are not on the hot path. */
export interface Counter {
  inc(labels: Readonly<Record<string, string>>, by?: number): void;
  /** Forgets the series for whose labels `isKept` is false. */
  keep(isKept: (labels: Readonly<Record<string, string>>) => boolean): void;
  readonly family: Family;
}

/** Series beyond `maxSeries` are not made: what would have made them is counted under `other` in every label. */
export function createCounter(name: string, help: string, maxSeries = 200): Counter {
  const series = new Map<string, { labels: Readonly<Record<string, string>>; value: number }>();
  return {
    inc(labels, by = 1) {
      let key = JSON.stringify(labels);
      let bounded = labels;
      if (!series.has(key) && series.size >= maxSeries) {
        bounded = Object.fromEntries(Object.keys(labels).map((label) => [label, 'other']));
        key = JSON.stringify(bounded);
      }
      const one = series.get(key);
      if (one) one.value += by;
      else series.set(key, { labels: bounded, value: by });
    },
    keep(isKept) {
      for (const [key, { labels }] of series) if (!isKept(labels)) series.delete(key);
    },
    family: { name, help, type: 'counter', collect: () => series.values() },
  };
}

/** A gauge or counter whose values are asked for at the scrape. */
export function sampled(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  collect: () => Iterable<Sample>,
): Family {
  return { name, help, type, collect };
}

/** Upper bounds of duration buckets, in seconds: from the gateway's own answers to the platform's slowest. */
export const DURATION_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60];

/** One histogram series: plain counts, cumulated only when sampled. */
export interface Histogram {
  observe(seconds: number): void;
  samples(): Iterable<Sample>;
}

export function createHistogram(
  labels: Readonly<Record<string, string>>,
  buckets: readonly number[] = DURATION_BUCKETS,
): Histogram {
  const counts = new Float64Array(buckets.length + 1);
  let sum = 0;
  return {
    observe(seconds) {
      let at = 0;
      while (at < buckets.length && seconds > (buckets[at] as number)) at++;
      counts[at] = (counts[at] as number) + 1;
      sum += seconds;
    },
    *samples() {
      let total = 0;
      for (let at = 0; at <= buckets.length; at++) {
        total += counts[at] as number;
        yield {
          labels: { ...labels, le: at === buckets.length ? '+Inf' : String(buckets[at]) },
          value: total,
          suffix: '_bucket',
        };
      }
      yield { labels, value: sum, suffix: '_sum' };
      yield { labels, value: total, suffix: '_count' };
    },
  };
}
