// What is noted of the metrics every ten seconds, so that a day can be looked at: the counters are kept anyway, and a
// call costs nothing more for it.

import type { Clock, Timer } from '../clock.ts';
import type { Sample } from '../logging/metrics/metric-family.ts';
import type { InsightSeries } from './insight-answer.ts';
import { Series } from './series.ts';

/** Where the numbers are: the metrics by their names, and how much of each credential's limit is used. */
export interface CounterSources {
  samples(name: string): Iterable<Sample>;
  used(): Iterable<readonly [credential: string, used: number]>;
  /** What else is looked at as often. */
  also?(): void;
}

const TICK_MS = 10_000;
const DAY_ROWS = 8_640;
/** 24 h of them are 1.1 MB. */
const MOST_COLUMNS = 32;
const MOST_CLIENTS = 12;
const MOST_CREDENTIALS = 5;
const POINTS = 180;

/** Columns that tell how much others call: not for everybody. */
const OF_CLIENT = 'client:';
const OTHERS = `${OF_CLIENT}other`;

/** The columns of outcomes, by the label `status`. */
const OUTCOMES: Readonly<Record<string, string>> = {
  '1xx': 'ok',
  '2xx': 'ok',
  '3xx': 'ok',
  '429': 'limited',
  '5xx': 'failed',
  other: 'failed',
};

/** Set up by `start`, which begins to note; `close` ends that. */
export class Counters {
  readonly #clock: Clock;
  readonly #series = new Series({ stepMs: TICK_MS, rows: DAY_ROWS, columns: MOST_COLUMNS });
  /** What the counters were at the last tick. */
  #before = new Map<string, number>();
  #sources: CounterSources | null = null;
  #timer: Timer | null = null;
  #loop = performance.eventLoopUtilization();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What the series hold, in bytes. */
  get bytes(): number {
    return this.#series.bytes;
  }

  start(sources: CounterSources): void {
    this.#sources = sources;
    this.#before = countsOf(sources);
    this.#timer ??= this.#clock.after(TICK_MS, this.#tick);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** The last `spanMs`; of one client's alone where `client` is one. */
  read(spanMs: number, client: string | null): InsightSeries {
    const now = this.#clock.now();
    const names = client === null ? this.#series.names : [`${OF_CLIENT}${client}`];
    return this.#series.read(names, now - spanMs, now, POINTS);
  }

  readonly #tick = (): void => {
    const { now } = this.#clock;
    if (this.#sources !== null) this.#note(this.#sources, now());
    this.#sources?.also?.();
    this.#timer = this.#clock.after(TICK_MS, this.#tick);
  };

  #note(sources: CounterSources, now: number): void {
    const series = this.#series;
    // The step that ends now.
    series.begin(now - TICK_MS / 2);
    const counts = countsOf(sources);
    for (const [name, value] of counts) {
      // What a reload has forgotten is less than before.
      const grown = Math.max(0, value - (this.#before.get(name) ?? 0));
      if (!name.startsWith(OF_CLIENT)) series.write(name, 'counter', grown);
      else if (!this.#hasRoom(name) || !series.write(name, 'counter', grown)) series.write(OTHERS, 'counter', grown);
    }
    this.#before = counts;
    for (const [name, value] of gaugesOf(sources)) series.write(name, 'gauge', value);
    const loop = performance.eventLoopUtilization();
    series.write('busy', 'gauge', performance.eventLoopUtilization(loop, this.#loop).utilization);
    this.#loop = loop;
    series.write('memory', 'gauge', process.memoryUsage.rss());
  }

  /** One place is for all others. */
  #hasRoom(name: string): boolean {
    const clients = this.#series.names.filter((one) => one.startsWith(OF_CLIENT) && one !== OTHERS);
    return clients.length < MOST_CLIENTS - 1 || clients.includes(name);
  }
}

/** Counters by their columns, since the start. */
function countsOf({ samples }: CounterSources): Map<string, number> {
  const counts = new Map<string, number>(
    ['ok', 'refused', 'limited', 'failed', 'seconds', 'retries', 'seen429', 'absorbed429'].map((name) => [name, 0]),
  );
  const add = (name: string, value: number) => counts.set(name, (counts.get(name) ?? 0) + value);
  for (const { labels, value } of samples('gcg_requests_total')) {
    const { route = '', status = '', client = '' } = labels;
    if (isOwn(route)) continue;
    add(OUTCOMES[status] ?? 'refused', value);
    add(`${OF_CLIENT}${client}`, value);
  }
  for (const { labels, value } of samples('gcg_requests_seconds_total'))
    if (!isOwn(labels.route ?? '')) add('seconds', value);
  for (const { value } of samples('gcg_retries_total')) add('retries', value);
  for (const { value } of samples('gcg_upstream_429_total')) add('seen429', value);
  for (const { value } of samples('gcg_upstream_429_absorbed_total')) add('absorbed429', value);
  return counts;
}

/** Status, probes, metrics and this page are no calls to the platform. */
function isOwn(route: string): boolean {
  return route.startsWith('/') && !route.startsWith('/api/');
}

function* gaugesOf({ samples, used }: CounterSources): Iterable<readonly [name: string, value: number]> {
  const sum = (name: string) => {
    let total = 0;
    for (const { value } of samples(name)) total += value;
    return total;
  };
  yield ['running', sum('gcg_requests_in_flight')];
  yield ['queued', sum('gcg_queue_length')];
  for (const { labels, value } of samples('gcg_upstream_connections')) yield [labels.state ?? '', value];
  let credentials = 0;
  for (const [credential, value] of used()) {
    if (++credentials > MOST_CREDENTIALS) return;
    yield [`used:${credential}`, value];
  }
}
