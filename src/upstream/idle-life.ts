// How long idle connections to one host live, learnt from what happened to those before. Keeps no connections.

import type { Clock } from '../clock.ts';

/** A connection ends this long before others did: what is under way when it ends would be lost. */
const MARGIN_MS = 2_000;
/** As long as this, nothing need be known: no server ends connections sooner, unless one did. */
const ALWAYS_MS = 4_000;
/** So long after the other side was gone without a word, the system has noticed by its own probes. */
const UNNOTICED_MS = 30_000;
/** Ends that are this near to each other are of one rule, not of chance. */
const SAME_MS = 1_500;
/** A connection that ends sooner was not idle: the response before it ended it. */
const SHORTEST_MS = 500;
/** One end is remembered this long; a rule longer, and then tried anew. */
const END_KEPT_MS = 10 * 60_000;
const RULE_KEPT_MS = 60 * 60_000;

/**
 * What is known of idle connections to one host. Ages are the ms a connection has been idle. Servers end them after a
 * time of their own, which they seldom tell: a request that is sent just then is lost.
 */
export class IdleLife {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** The greatest age at which a connection was still good. */
  #goodMs = ALWAYS_MS;
  /** The age at which the other side ended one last, and when that was. */
  #endedMs = Number.POSITIVE_INFINITY;
  #endedAt = Number.NEGATIVE_INFINITY;
  /** The age at which it ends each: two ended at this age. */
  #ruleMs = Number.POSITIVE_INFINITY;
  #ruleAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** The other side has ended a connection of this age. */
  ended(ageMs: number): void {
    if (ageMs < SHORTEST_MS) return;
    const now = this.#clock.monotonic();
    const isSame = Math.abs(ageMs - this.#lastEndMs(now)) <= Math.max(SAME_MS, ageMs / 20);
    if (isSame) {
      this.#ruleMs = Math.min(ageMs, this.#endedMs);
      this.#ruleAt = now;
    }
    this.#endedMs = ageMs;
    this.#endedAt = now;
  }

  /** A request was answered over a connection of this age. */
  answered(ageMs: number): void {
    this.#goodMs = Math.max(this.#goodMs, ageMs - MARGIN_MS);
  }

  /** A connection of this age is open, as far as is known. */
  seenOpen(ageMs: number): void {
    this.#goodMs = Math.max(this.#goodMs, ageMs - UNNOTICED_MS);
  }

  /** The age at which a connection is better ended here, before the other side does. */
  get limitMs(): number {
    const isKnown = this.#clock.monotonic() - this.#ruleAt < RULE_KEPT_MS;
    return isKnown ? Math.max(this.#ruleMs - MARGIN_MS, this.#ruleMs / 2) : Number.POSITIVE_INFINITY;
  }

  /** Whether connections of this age are known to be good: what must not be sent twice may go by one. */
  isProven(ageMs: number): boolean {
    return (
      ageMs <= this.#goodMs && ageMs <= this.#lastEndMs(this.#clock.monotonic()) - MARGIN_MS && ageMs < this.limitMs
    );
  }

  #lastEndMs(now: number): number {
    return now - this.#endedAt < END_KEPT_MS ? this.#endedMs : Number.POSITIVE_INFINITY;
  }
}
