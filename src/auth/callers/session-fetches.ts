// Sessions that are asked of a shared store because they are not known here: each once at a time, so many at most, and
// what is not there is remembered for a while. Handles are random, so one that nobody knows will not be known soon.

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';

/** So many are asked at once; more wait for their turn. */
const MOST_AT_ONCE = 100;
/** So many may wait. */
const MOST_WAITING = 10_000;
/** How long it is remembered that there is no such session, and of how many. */
const MISSED_MS = 60_000;
const MOST_MISSED = 10_000;

/**
 * Thrown in place of "this handle is unknown" while the store has not been asked: whoever catches it waits for
 * `fetched`, and then asks again.
 */
export class SessionElsewhere extends Error {
  override readonly name = 'SessionElsewhere';
  /** Rejects with gateway.credential.unavailable where the store cannot be asked. */
  readonly fetched: Promise<void>;

  constructor(fetched: Promise<void>) {
    super('a session that is not known here is asked of the store');
    this.fetched = fetched;
    // Whoever has left does not wait for it.
    fetched.catch(() => undefined);
  }
}

/** Does what may need a session of another instance: again when that was fetched, or was found not to be there. */
export async function withFetchedSession<T>(work: () => T): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof SessionElsewhere)) throw error;
      if (tries >= MOST_FETCHES) throw storeAway();
      await error.fetched;
    }
  }
}

/** A call shows two handles at most. */
export const MOST_FETCHES = 3;

/** The error of what cannot be decided while the store does not answer: never that a handle is unknown. */
export function storeAway(): GatewayError {
  return new GatewayError(
    'gateway.credential.unavailable',
    'the store that the instances of this gateway share does not answer: try again',
    { retryAfterMs: 1_000 },
  );
}

/** The fetches of one gateway. */
export class SessionFetches {
  readonly #ask: (hash: string) => Promise<boolean>;
  readonly #missed: LRUCache<string, true>;
  readonly #running = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #atOnce = 0;

  /** `ask` resolves with whether there is one, having made it known; it may throw. */
  constructor(clock: Pick<Clock, 'monotonic'>, ask: (hash: string) => Promise<boolean>) {
    this.#ask = ask;
    this.#missed = new LRUCache({
      // With `max` instead, it would have room for all of them at once.
      maxSize: MOST_MISSED,
      sizeCalculation: () => 1,
      ttl: MISSED_MS,
      ttlResolution: 0,
      perf: { now: () => clock.monotonic() + 1 },
    });
  }

  /** Whether it was asked for lately, and is not there. */
  isMissed(hash: string): boolean {
    return this.#missed.has(hash);
  }

  /** What was missing may be there now. */
  forgetMissed(): void {
    this.#missed.clear();
  }

  /** Notes that a session has ended: nobody need ask for it. */
  noteEnded(hash: string): void {
    this.#missed.set(hash, true);
  }

  /** Resolves when it is known here, or known to be missing. Throws gateway.credential.unavailable. */
  fetch(hash: string): Promise<void> {
    let running = this.#running.get(hash);
    if (running === undefined) {
      if (this.#waiting.length >= MOST_WAITING) return Promise.reject(storeAway());
      running = this.inTurn(() => this.#fetch(hash)).finally(() => this.#running.delete(hash));
      this.#running.set(hash, running);
    }
    return running;
  }

  /** Does `work` when fewer than so many are under way. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#atOnce >= MOST_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#atOnce += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#atOnce -= 1;
      else next();
    }
  }

  async #fetch(hash: string): Promise<void> {
    let isThere: boolean;
    try {
      isThere = await this.#ask(hash);
    } catch {
      throw storeAway();
    }
    if (!isThere) this.#missed.set(hash, true);
  }
}
