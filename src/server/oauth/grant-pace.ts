// How often applications may have grants performed at the platform. Its login throttles an OAuth client as a whole:
// without this, one caller's made-up codes would keep the logins of all others from succeeding, and the renewals of the
// credential that has the same client.

import { LRUCache } from 'lru-cache';
import { Allowance } from '../../allowance.ts';
import { TokenFailure } from '../../auth/credentials/token-source.ts';
import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';

/**
 * Grants with one OAuth client: about half of what the platform's login bears (50 at once cost a minute of refusals).
 */
const OF_OAUTH_CLIENT = { burst: 20, everyMs: 1_000 };
/** So long a grant waits for its turn; a person is before it. */
const LONGEST_WAIT_MS = 10_000;
/** Grants of one caller that were refused, or are under way. */
const REFUSED_OF_CALLER = { burst: 20, everyMs: 5_000 };
/** What a refused grant counts in its OAuth client's lane beside the one that it is. */
const REFUSAL_COST = 1;
/** Of each kind; the longest unused go first. */
const MAX_KEPT = 1_000;

/** The lanes of one gateway; they outlive its configurations. Nothing to close. */
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
    const lane = this.#allowance(this.#oauthClients, oauthClient, OF_OAUTH_CLIENT);
    assertTurn(refusals.waitMs(), 0, 'too many grants of this caller were refused, or are under way');
    const waitMs = lane.waitMs();
    assertTurn(waitMs, LONGEST_WAIT_MS, 'too many grants are asked for with this OAuth client');
    lane.take();
    // Given back unless it is refused: of many at once nobody knows yet how they end.
    refusals.take();
    if (waitMs > 0) await new Promise<void>((resolve) => this.#clock.after(waitMs, resolve));
    try {
      const done = await perform();
      refusals.take(-1);
      return done;
    } catch (error) {
      if (error instanceof TokenFailure && error.kind !== 'transient') lane.take(REFUSAL_COST);
      else refusals.take(-1);
      throw error;
    }
  }

  #allowance(kept: LRUCache<string, Allowance>, key: string, terms: typeof OF_OAUTH_CLIENT): Allowance {
    let allowance = kept.get(key);
    if (allowance === undefined) {
      allowance = new Allowance(this.#clock, terms);
      kept.set(key, allowance);
    }
    return allowance;
  }
}

function assertTurn(waitMs: number, longestMs: number, what: string): void {
  if (waitMs > longestMs)
    throw new GatewayError('gateway.rate.limited', `${what}: try again later`, { retryAfterMs: waitMs - longestMs });
}
