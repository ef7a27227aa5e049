// A token bucket: so much at once, then so much in a time. It counts; who waits, and who is refused, others decide.

import type { Clock } from './clock.ts';

/** How much there may be. */
export interface AllowanceTerms {
  /** At once, from a full bucket. */
  readonly burst: number;
  /** One more is allowed after each of these. */
  readonly everyMs: number;
}

/** One bucket, full when it is made. Keeps no timer. */
export class Allowance {
  readonly #clock: Clock;
  readonly #terms: AllowanceTerms;
  #left: number;
  #countedMono: number;

  constructor(clock: Clock, terms: AllowanceTerms) {
    this.#clock = clock;
    this.#terms = terms;
    this.#left = terms.burst;
    this.#countedMono = clock.monotonic();
  }

  /** How long until one may be taken, ms; 0: now. More than one has been taken in advance when it exceeds `everyMs`. */
  waitMs(): number {
    const nowMono = this.#clock.monotonic();
    this.#left = Math.min(this.#terms.burst, this.#left + (nowMono - this.#countedMono) / this.#terms.everyMs);
    this.#countedMono = nowMono;
    // A rounding error must not ask for one more wait of nothing.
    return this.#left > 1 - 1e-9 ? 0 : (1 - this.#left) * this.#terms.everyMs;
  }

  /** Takes one, or more, also in advance: then it is longer until the next. A negative count gives back. */
  take(count = 1): void {
    this.waitMs();
    this.#left -= count;
  }
}
