// Keeps a part of a limit for clients that ask for little, so that the bursts of others do not leave them a minute of
// nothing. A client's calls are never counted against its own part, and a part that nobody comes for is given to
// whoever waits.

import { createRollingCount, MINUTE_MS, type RollingCount } from './rate-window.ts';

/** Of the limit, so much is kept for configured clients that have not been seen lately. */
const NEWCOMERS_PART = 0.01;
const NEWCOMER_CALLS = 3;
/** What is kept in all, at most. */
const LARGEST_PART = 0.5;
/**
 * Kept beyond a client's habit: calls that had to wait into this minute have used up a part of what is kept for its
 * own, and a minute's count of calls goes up and down by one as it slides along. Measured: with fewer, one call in 200
 * finds nothing left.
 */
const SPARE_CALLS = 4;
/** A client that stays away for so many of its usual pauses is not waited for. */
const PAUSES = 2;

interface Habit {
  readonly asked: RollingCount;
  readonly served: RollingCount;
  /** When it last asked for, or was given, a call. */
  lastSeenAt: number;
}

/** The habits of the clients of one limit. Times are monotonic ms. */
export interface Shares {
  /** A client asks for a call, whether or not it gets it. */
  asked(client: string, now: number): void;
  served(client: string, now: number): void;
  /**
   * How many slots `client` has to leave to others. `waits` tells who stands in the queue, and so has not gone away.
   */
  keptFrom(client: string, perMinute: number, now: number, waits: (client: string) => boolean): number;
}

/**
 * `clients` are the configured names; any others get habits too, but nothing is kept for them before they were seen.
 */
export function createShares(clients: readonly string[]): Shares {
  const habits = new Map<string, Habit>();

  const habitOf = (client: string): Habit => {
    let habit = habits.get(client);
    if (habit === undefined) {
      habit = {
        asked: createRollingCount({ keepsEarlier: true }),
        served: createRollingCount(),
        lastSeenAt: Number.NEGATIVE_INFINITY,
      };
      habits.set(client, habit);
    }
    return habit;
  };

  const isSeen = ({ asked }: Habit, now: number) => asked.recent(now) + asked.earlier(now) > 0;

  /** Slots kept for a client that asks for no more than an equal share; 0 for any other. */
  const kept = (habit: Habit, equalShare: number, now: number, isWaiting: boolean): number => {
    const wanted = Math.max(habit.asked.recent(now), habit.asked.earlier(now));
    if (wanted === 0 || wanted > equalShare) return 0;
    if (!isWaiting && now - habit.lastSeenAt > (PAUSES * MINUTE_MS) / wanted) return 0;
    return Math.max(0, Math.min(equalShare, wanted + SPARE_CALLS) - habit.served.recent(now));
  };

  const isNewcomer = (client: string, now: number) => {
    const habit = habits.get(client);
    return habit === undefined || (habit.asked.earlier(now) === 0 && habit.served.recent(now) < NEWCOMER_CALLS);
  };

  return {
    asked(client, now) {
      const habit = habitOf(client);
      habit.asked.add(now);
      habit.lastSeenAt = now;
    },
    served(client, now) {
      const habit = habitOf(client);
      habit.served.add(now);
      habit.lastSeenAt = now;
    },
    keptFrom(client, perMinute, now, waits) {
      let seen = 0;
      for (const habit of habits.values()) if (isSeen(habit, now)) seen += 1;
      let absent = 0;
      for (const name of clients) {
        const habit = habits.get(name);
        if (name !== client && (habit === undefined || !isSeen(habit, now))) absent += 1;
      }
      // One more than are there, as long as one more may come.
      const equalShare = perMinute / Math.max(1, seen + Math.min(1, absent));
      const own = habits.get(client);
      // Whoever has a part of its own open may take what is kept: it is kept for such as it.
      if (isNewcomer(client, now) || (own !== undefined && kept(own, equalShare, now, true) > 0)) return 0;
      let sum = 0;
      for (const [name, habit] of habits) if (name !== client) sum += kept(habit, equalShare, now, waits(name));
      const forNewcomers = Math.min(absent * NEWCOMER_CALLS, Math.ceil(perMinute * NEWCOMERS_PART));
      return Math.min(sum + forNewcomers, Math.floor(perMinute * LARGEST_PART));
    },
  };
}
