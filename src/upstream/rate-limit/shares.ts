// Reserves part of a limit for clients with low demand, so that one client's burst cannot starve the others for a whole
// minute (max-min fairness). A client's calls are never counted against its own part, and a part that nobody comes for
// is given to whoever waits.

import { MINUTE_MS, RollingCount } from './rate-window.ts';

/** The part of a limit that is reserved for configured clients that have not been seen lately. */
const NEWCOMERS_PART = 0.01;
const NEWCOMER_CALLS = 3;
/** The most that is reserved in all. */
const LARGEST_PART = 0.5;
/**
 * Reserved beyond a client's demand: calls that had to wait into this minute have used up a part of what is reserved
 * for its own, and a minute's count of calls goes up and down by one as it slides along. Measured: with fewer, one call
 * in 200 finds nothing left.
 */
const SPARE_CALLS = 4;
/** How many of its usual pauses a client may stay away before nothing is reserved for it. */
const PAUSES = 2;

/** What one client asks for, and gets. */
interface Demand {
  readonly asked: RollingCount;
  readonly served: RollingCount;
  /** When it last asked for, or was given, a call. */
  lastSeenAt: number;
}

/**
 * The demands of one limit's clients. Times are monotonic ms. The clients it is made with are the configured names; any
 * others have demands too, but nothing is reserved for them before they were seen.
 */
export class Shares {
  readonly #clients: readonly string[];
  readonly #demands = new Map<string, Demand>();

  constructor(clients: readonly string[]) {
    this.#clients = clients;
  }

  /** A client asks for a call, whether or not it gets it. */
  noteAsked(client: string, now: number): void {
    const demand = this.#demandOf(client);
    demand.asked.add(now);
    demand.lastSeenAt = now;
  }

  noteServed(client: string, now: number): void {
    const demand = this.#demandOf(client);
    demand.served.add(now);
    demand.lastSeenAt = now;
  }

  /** How many slots `client` has to leave to others. `queue` tells who waits in it, and so has not gone away. */
  reservedForOthers(client: string, perMinute: number, now: number, queue: { has(client: string): boolean }): number {
    let seen = 0;
    for (const demand of this.#demands.values()) if (isSeen(demand, now)) seen += 1;
    let absent = 0;
    for (const name of this.#clients) {
      const demand = this.#demands.get(name);
      if (name !== client && (demand === undefined || !isSeen(demand, now))) absent += 1;
    }
    // One more than are there, as long as one more may come.
    const equalShare = perMinute / Math.max(1, seen + Math.min(1, absent));
    const own = this.#demands.get(client);
    // A client whose own part is not used up may also take reserved slots.
    if (isNewcomer(own, now) || (own !== undefined && reserved(own, equalShare, now, true) > 0)) return 0;
    let sum = 0;
    for (const [name, demand] of this.#demands)
      if (name !== client) sum += reserved(demand, equalShare, now, queue.has(name));
    const forNewcomers = Math.min(absent * NEWCOMER_CALLS, Math.ceil(perMinute * NEWCOMERS_PART));
    return Math.min(sum + forNewcomers, Math.floor(perMinute * LARGEST_PART));
  }

  #demandOf(client: string): Demand {
    let demand = this.#demands.get(client);
    if (demand === undefined) {
      demand = {
        asked: new RollingCount({ keepsEarlier: true }),
        served: new RollingCount(),
        lastSeenAt: Number.NEGATIVE_INFINITY,
      };
      this.#demands.set(client, demand);
    }
    return demand;
  }
}

function isSeen({ asked }: Demand, now: number): boolean {
  return asked.recent(now) + asked.earlier(now) > 0;
}

function isNewcomer(demand: Demand | undefined, now: number): boolean {
  return demand === undefined || (demand.asked.earlier(now) === 0 && demand.served.recent(now) < NEWCOMER_CALLS);
}

/** Slots reserved for a client that asks for no more than an equal share; 0 for any other. */
function reserved(demand: Demand, equalShare: number, now: number, isWaiting: boolean): number {
  const wanted = Math.max(demand.asked.recent(now), demand.asked.earlier(now));
  if (wanted === 0 || wanted > equalShare) return 0;
  if (!isWaiting && now - demand.lastSeenAt > (PAUSES * MINUTE_MS) / wanted) return 0;
  return Math.max(0, Math.min(equalShare, wanted + SPARE_CALLS) - demand.served.recent(now));
}
