// Shares one limit among clients: part of it opens evenly over the minute, so that whoever asks for little finds a
// place soon after any burst of others. Keeps no queue and no time of its own.
//
// The rule, and why it holds: a burst takes places only as long as the next ones, those that are free and those that
// come back, lie no further apart than a gap (`evened`). A client that asks no more often than its share allows is due:
// it takes the first place there is. So of n clients that are due at the same time none waits longer than n gaps. What
// a burst may not take at once it is given place by place, all of it within a minute; given evenly, places come back
// evenly, and nothing more has to be kept.

import { MINUTE_MS } from './rate-window.ts';

/** Calls a minute that a client may ask for and be served at once; less where an equal share is less. */
export const LITTLE = 20;
/** A minute's count goes up and down by one as it slides along, and no client's clock is exact. */
export const LENIENCY = 1.1;
/** How soon a place comes for one client, and how soon at half of the limit: under 3 s, and 120 s over the limit. */
export const CLIENT_GAP_MS = 2_700;
export const HALF_GAP_MS = 115_000;
/** For how long a place that opens earlier than was computed may go unnoticed. */
const LOOK_AGAIN_MS = 100;

/** When a waiting client is served: lower ones first; below 0, not as its turn. */
export const DUE = Number.NEGATIVE_INFINITY;
export const IN_TURN = 0;
export const NOT_YET = Number.POSITIVE_INFINITY;

/** What is shared. */
export interface SharedWindow {
  readonly perMinute: number;
  openings(now: number): () => number;
}

/**
 * What clients asked of one limit lately, and what follows. Times are monotonic ms. It is made with the configured
 * names; others join with their first call. Holds one number a client.
 */
export class Shares {
  /** By client, until when its calls have used up its share: each moves it one spacing on, at most a span ahead. */
  readonly #aheadUntil = new Map<string, number>();
  /** For how many clients and which limit the two times are. */
  #clients = 0;
  #perMinute = Number.NaN;
  /** A client's calls are within its share where they come no closer than this. */
  #spacingMs = 0;
  /** A minute, or longer where a share is less than a call a minute. */
  #spanMs = 0;
  /** When the next place opens, by how many others it is left to; computed lately, when so many places were free. */
  #opensAt: number[] = [];
  /** How many clients are ahead by less than until then; NaN when that has to be counted. */
  #lessUntil = Number.NaN;
  #withLess = 0;
  #seenAt = Number.NEGATIVE_INFINITY;
  #seenFree = 0;

  constructor(clients: readonly string[]) {
    for (const client of clients) this.#aheadUntil.set(client, Number.NEGATIVE_INFINITY);
  }

  /** How many clients share. */
  get size(): number {
    return this.#aheadUntil.size;
  }

  /** Counts a call: one that is due when it is asked for, any other when it is served or given up. */
  count(client: string, window: SharedWindow, now: number): void {
    const ahead = this.#aheadUntil.get(client);
    if (ahead === undefined) this.#aheadUntil.set(client, now);
    this.#fit(window);
    this.#lessUntil = Number.NaN;
    this.#aheadUntil.set(client, Math.min(Math.max(ahead ?? now, now) + this.#spacingMs, now + this.#spanMs));
  }

  /** Whether a client that has no call waiting may have one at once: its last ones lie as far back as they should. */
  isDue(client: string, now: number): boolean {
    return (this.#aheadUntil.get(client) ?? now) <= now;
  }

  /**
   * When a client that is not due is to be served, of those that wait: the less it was served, the sooner, until it had
   * its share of a minute. `waiting` counts its calls, the one in question too; `free` is more than 0.
   */
  precedence(client: string, waiting: number, window: SharedWindow, now: number, free: number): number {
    this.#fit(window);
    const asksLittle = this.#excessMs(client, waiting, now) < 0;
    const others = asksLittle ? this.#othersWithLess(client, now) : this.#clients - 1;
    // With so many left there is nothing to look at.
    const isPlenty = free > MINUTE_MS / this.#gapMs(others) + 1;
    if (!isPlenty && this.#opensTo(others, window, now, free) > now) return NOT_YET;
    return Math.min(this.#excessMs(client, 1, now), IN_TURN);
  }

  /** The same where nothing is to be kept back: only the order of those that wait. */
  order(client: string, window: SharedWindow, now: number): number {
    this.#fit(window);
    return Math.min(this.#excessMs(client, 1, now), IN_TURN);
  }

  /** When the next place opens to a client that asks for much. */
  opensAt(window: SharedWindow, now: number): number {
    this.#fit(window);
    return evened(window.openings(now), 1, this.#gapMs(this.#clients - 1))[0] as number;
  }

  /**
   * When waiting calls start, as things stand; what others ask for meanwhile makes it later. `count` is how many of them
   * are asked about.
   */
  forecast(window: SharedWindow, now: number, count: number): Forecast {
    this.#fit(window);
    const starts: number[][] = [];
    const startsOf = (others: number) => {
      starts[others] ??= evened(window.openings(now), count, this.#gapMs(others));
      return starts[others];
    };
    return (position, client, waiting) => {
      const inTurn = startsOf(this.#clients - 1)[position - 1] as number;
      const little = startsOf(this.#othersWithLess(client, now));
      // No more than a minute's share is counted, so it is over that soon after the call before has started.
      const soonest = waiting === 1 ? Number.POSITIVE_INFINITY : (little[waiting - 2] as number) + this.#spacingMs;
      const littleAt = Math.min(soonest, now + this.#excessMs(client, waiting, now));
      return Math.min(inTurn, Math.max(littleAt, little[waiting - 1] as number));
    };
  }

  /** How many other clients have asked for less than their share of a minute: to them places are left. */
  #othersWithLess(client: string, now: number): number {
    const until = now + this.#spanMs - this.#spacingMs;
    // The same for all that wait, of whom there may be many.
    if (until !== this.#lessUntil) {
      this.#lessUntil = until;
      this.#withLess = 0;
      for (const aheadUntil of this.#aheadUntil.values()) if (aheadUntil < until) this.#withLess += 1;
    }
    return (this.#aheadUntil.get(client) ?? until) < until ? this.#withLess - 1 : this.#withLess;
  }

  /** The longest time between two places, where they are left to so many others. */
  #gapMs(others: number): number {
    if (others === 0 || this.#perMinute === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    return Math.max(CLIENT_GAP_MS / others, HALF_GAP_MS / this.#perMinute);
  }

  /** How long it takes until what the client has asked for is no more than its share of a minute; 0 or less if so. */
  #excessMs(client: string, waiting: number, now: number): number {
    const aheadMs = Math.max(0, (this.#aheadUntil.get(client) ?? now) - now);
    return aheadMs + (waiting - 1) * this.#spacingMs - (this.#spanMs - this.#spacingMs);
  }

  /** An answer that is later than `now` holds for a moment: a burst asks with each of its calls. */
  #opensTo(others: number, window: SharedWindow, now: number, free: number): number {
    const known = this.#opensAt[others] ?? now;
    if (known > now && free <= this.#seenFree && now < this.#seenAt + LOOK_AGAIN_MS) return known;
    if (now !== this.#seenAt || free !== this.#seenFree) this.#opensAt.length = 0;
    this.#seenAt = now;
    this.#seenFree = free;
    this.#opensAt[others] ??= evened(window.openings(now), 1, this.#gapMs(others))[0] as number;
    return this.#opensAt[others];
  }

  #fit({ perMinute }: SharedWindow): void {
    if (perMinute === this.#perMinute && this.#clients === this.#aheadUntil.size) return;
    this.#perMinute = perMinute;
    this.#clients = this.#aheadUntil.size;
    this.#opensAt.length = 0;
    this.#spacingMs = MINUTE_MS / (LENIENCY * Math.min(LITTLE, Math.max(1, perMinute) / this.#clients));
    this.#spanMs = Math.max(MINUTE_MS, this.#spacingMs);
  }
}

/** When the call starts that is at this position of all that wait, and the `waiting`th of its client. */
export type Forecast = (position: number, client: string, waiting: number) => number;

/**
 * The first `count` openings, each late enough that the next one comes at most `gapMs` after it. After a minute all
 * places have come back, so that is as far as it looks.
 */
export function evened(next: () => number, count: number, gapMs: number): number[] {
  const beyond = Math.ceil(MINUTE_MS / gapMs);
  const at: number[] = [];
  while (at.length < count + beyond) at.push(next());
  for (let index = at.length - 2; index >= 0; index -= 1)
    at[index] = Math.max(at[index] as number, (at[index + 1] as number) - gapMs);
  at.length = count;
  return at;
}
