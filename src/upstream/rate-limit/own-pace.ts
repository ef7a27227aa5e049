// How an instance goes on with a limit that several share while they cannot tell each other what they send: each of its
// calls stands for one of every instance, on top of what was known last.

import { MINUTE_MS, RollingCount } from './rate-window.ts';

/** When places open: ascending monotonic times, and how many. */
export type Openings = readonly (readonly [at: number, count: number])[];

/** A call that starts now counts from its arrival, and in buckets. */
const COUNTS_MS = MINUTE_MS + 1_200;
/** A limit that was idle is taken for one that others have used evenly. */
const RAMP_STEPS = 60;

/** What is known when it begins. Times are monotonic ms. */
export interface OwnPaceSettings {
  /** What all instances together had used, and when it stops to count. */
  readonly known: Openings;
  /** Calls that were started since then. */
  readonly started: number;
  readonly instances: number;
}

/** One limit in that time. */
export class OwnPace {
  readonly #known: Openings;
  readonly #started = new RollingCount({ bucketMs: 100, periodMs: COUNTS_MS });
  #instances: number;
  /** Of `known`, those that count still, from this one on. */
  #at = 0;
  #left: number;

  constructor({ known, started, instances }: OwnPaceSettings, now: number) {
    this.#known = known;
    this.#instances = instances;
    this.#left = known.reduce((sum, [, count]) => sum + count, 0);
    for (let call = 0; call < started; call += 1) this.#started.add(now);
  }

  /** There may be more instances than was known; not fewer. */
  grow(instances: number): void {
    this.#instances = Math.max(this.#instances, instances);
  }

  start(now: number): void {
    this.#started.add(now);
  }

  /** How many calls may start now. */
  free(now: number, limit: number): number {
    return Math.floor(this.#room(now, limit));
  }

  /** What opens later, in parts of a place, and what is open now: for `openingsOf`. */
  outlook(now: number, limit: number): { readonly open: number; readonly later: Openings } {
    const open = this.#room(now, limit);
    const later: [number, number][] = [];
    for (const [at, count] of this.#known.slice(this.#at)) later.push([at, count / this.#instances]);
    this.#started.each(now, (endsAt, count) => later.push([endsAt, count]) > 0);
    return { open, later: later.sort(([a], [b]) => a - b) };
  }

  #room(now: number, limit: number): number {
    for (let next = this.#known[this.#at]; next !== undefined && next[0] <= now; next = this.#known[this.#at]) {
      this.#left -= next[1];
      this.#at += 1;
    }
    return (limit - this.#left) / this.#instances - this.#started.recent(now);
  }
}

/** What is to be assumed of a limit of which nothing was heard lately: others used all of it, evenly, until `at`. */
export function evenlyUsed(limit: number, at: number): Openings {
  return Array.from({ length: RAMP_STEPS }, (_, step) => [at + (step * MINUTE_MS) / RAMP_STEPS, limit / RAMP_STEPS]);
}

/** When one place after the other opens, `everyMs` apart after all that is known. As `LimitWindow.openings`. */
export function openingsOf(now: number, open: number, later: Openings, everyMs: number): () => number {
  let credit = open;
  let at = 0;
  let last = now;
  return () => {
    // Parts of places add up to whole ones but for what is lost in the sum.
    while (credit < 1 - 1e-9 && at < later.length) {
      const [opensAt, count] = later[at] as readonly [number, number];
      last = Math.max(last, opensAt);
      credit += count;
      at += 1;
    }
    if (credit < 1 - 1e-9) {
      last += everyMs * (1 - credit);
      credit = 1;
    }
    credit -= 1;
    return last;
  };
}
