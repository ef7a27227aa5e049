// How often something may be done. `Allowance` is a token bucket: so much at once, then so much in a time; it counts,
// and leaves it to others who waits and who is refused. `GrantPace` holds the grants of applications to two of them:
// the platform's login throttles an OAuth client as a whole, so without it one caller's made-up codes would keep the
// logins of all others from succeeding, and the renewals of the credential that has the same client.

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { TokenFailure } from '../credentials/token-source.ts';

/** How much there may be. */
export interface AllowanceLimit {
  /** At once, from a full bucket. */
  readonly burst: number;
  /** One more is allowed after each of these. */
  readonly everyMs: number;
}

/** One bucket, full when it is made. Keeps no timer. */
export class Allowance {
  readonly #clock: Clock;
  readonly #limit: AllowanceLimit;
  #left: number;
  #countedMono: number;

  constructor(clock: Clock, limit: AllowanceLimit) {
    this.#clock = clock;
    this.#limit = limit;
    this.#left = limit.burst;
    this.#countedMono = clock.monotonic();
  }

  /** How long until one may be taken, ms; 0: now. More than `everyMs`: some were taken in advance. */
  waitMs(): number {
    const nowMono = this.#clock.monotonic();
    this.#left = Math.min(this.#limit.burst, this.#left + (nowMono - this.#countedMono) / this.#limit.everyMs);
    this.#countedMono = nowMono;
    // A rounding error must not ask for one more wait of nothing.
    return this.#left > 1 - 1e-9 ? 0 : (1 - this.#left) * this.#limit.everyMs;
  }

  /** Takes one, or more, also in advance: then it is longer until the next. A negative count gives back. */
  take(count = 1): void {
    this.waitMs();
    this.#left -= count;
  }
}

/**
 * Grants with one OAuth client: about half of what the platform's login bears (50 at once cost a minute of refusals).
 */
const OF_OAUTH_CLIENT = { burst: 20, everyMs: 1_000 };
/** The longest wait of a grant for its turn: a person is waiting. */
const LONGEST_WAIT_MS = 10_000;
/** Grants of one caller that were refused, or are under way. */
const REFUSED_OF_CALLER = { burst: 20, everyMs: 5_000 };
/** What a refused grant takes from its OAuth client's allowance beside the one that it is. */
const REFUSAL_COST = 1;
/** Of each kind; the longest unused go first. */
const MAX_KEPT = 1_000;

/** The allowances of one gateway's applications; they outlive its configurations. Nothing to close. */
export class GrantPace {
  readonly #clock: Clock;
  readonly #oauthClients = new LRUCache<string, Allowance>({ max: MAX_KEPT });
  readonly #callers = new LRUCache<string, Allowance>({ max: MAX_KEPT });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Performs a grant in its turn. `oauthClient` and `caller` are any texts that tell them apart. Throws
   * gateway.rate.limited, without performing it, where the caller had too many refused, or where it would wait for
   * longer than 10 s; else what `perform` throws.
   */
  async perform<T>(oauthClient: string, caller: string, perform: () => Promise<T>): Promise<T> {
    const refusals = this.#allowance(this.#callers, caller, REFUSED_OF_CALLER);
    const ofOAuthClient = this.#allowance(this.#oauthClients, oauthClient, OF_OAUTH_CLIENT);
    assertTurn(refusals.waitMs(), 0, 'too many grants of this caller were refused, or are under way');
    const waitMs = ofOAuthClient.waitMs();
    assertTurn(waitMs, LONGEST_WAIT_MS, 'too many grants are asked for with this OAuth client');
    ofOAuthClient.take();
    // Given back unless it is refused: of many at once nobody knows yet how they end.
    refusals.take();
    if (waitMs > 0) await new Promise<void>((resolve) => this.#clock.after(waitMs, resolve));
    try {
      const done = await perform();
      refusals.take(-1);
      return done;
    } catch (error) {
      if (error instanceof TokenFailure && error.kind !== 'transient') ofOAuthClient.take(REFUSAL_COST);
      else refusals.take(-1);
      throw error;
    }
  }

  #allowance(kept: LRUCache<string, Allowance>, key: string, limit: AllowanceLimit): Allowance {
    let allowance = kept.get(key);
    if (allowance === undefined) {
      allowance = new Allowance(this.#clock, limit);
      kept.set(key, allowance);
    }
    return allowance;
  }
}

function assertTurn(waitMs: number, longestMs: number, what: string): void {
  if (waitMs > longestMs)
    throw new GatewayError('gateway.rate.limited', `${what}: try again later`, { retryAfterMs: waitMs - longestMs });
}
