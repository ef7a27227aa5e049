// What metrics are made of between scrapes: plain numbers under bounded label values. Nothing here formats them.

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
export class Counter {
  readonly family: Family;
  readonly #series = new Map<string, { labels: Readonly<Record<string, string>>; value: number }>();
  readonly #maxSeries: number;

  /** Series beyond `maxSeries` are not made: what would have made them is counted under `other` in every label. */
  constructor(name: string, help: string, maxSeries = 200) {
    this.#maxSeries = maxSeries;
    this.family = { name, help, type: 'counter', collect: () => this.#series.values() };
  }

  inc(labels: Readonly<Record<string, string>>, by = 1): void {
    let key = JSON.stringify(labels);
    let bounded = labels;
    if (!this.#series.has(key) && this.#series.size >= this.#maxSeries) {
      bounded = Object.fromEntries(Object.keys(labels).map((label) => [label, 'other']));
      key = JSON.stringify(bounded);
    }
    const one = this.#series.get(key);
    if (one) one.value += by;
    else this.#series.set(key, { labels: bounded, value: by });
  }

  /** Forgets the series for whose labels `isKept` is false. */
  keep(isKept: (labels: Readonly<Record<string, string>>) => boolean): void {
    for (const [key, { labels }] of this.#series) if (!isKept(labels)) this.#series.delete(key);
  }
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

/** Upper bounds of duration buckets, in seconds: from the gateway's own responses to the platform's slowest. */
export const DURATION_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60];

/** One histogram series: plain counts, cumulated only when sampled. */
export class Histogram {
  readonly #labels: Readonly<Record<string, string>>;
  readonly #buckets: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(labels: Readonly<Record<string, string>>, buckets: readonly number[] = DURATION_BUCKETS) {
    this.#labels = labels;
    this.#buckets = buckets;
    this.#counts = new Float64Array(buckets.length + 1);
  }

  observe(seconds: number): void {
    const buckets = this.#buckets;
    let at = 0;
    while (at < buckets.length && seconds > (buckets[at] as number)) at++;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sum += seconds;
  }

  *samples(): Iterable<Sample> {
    const [labels, buckets] = [this.#labels, this.#buckets];
    let total = 0;
    for (let at = 0; at <= buckets.length; at++) {
      total += this.#counts[at] as number;
      const le = at === buckets.length ? '+Inf' : String(buckets[at]);
      yield { labels: { ...labels, le }, value: total, suffix: '_bucket' };
    }
    yield { labels, value: this.#sum, suffix: '_sum' };
    yield { labels, value: total, suffix: '_count' };
  }
}
