// Counts the calls of a sliding minute against a limit whose size and other users are not known for certain.

/** The period that the platform's limits speak of. */
export const MINUTE_MS = 60_000;

/** Times are monotonic ms and may be a little older than ones seen before. */
export interface RollingCount {
  add(at: number): void;
  /** Events of the last minute. */
  recent(now: number): number;
  /** Events of the minute before that; 0 unless `keepsEarlier`. */
  earlier(now: number): number;
  /**
   * Calls `visit` for each bucket of the last minute that is not empty, oldest first, until it returns false: when it
   * stops to count, and its events.
   */
  each(now: number, visit: (endsAt: number, count: number) => boolean): void;
}

/** `periodMs` is a whole number of buckets. */
export function createRollingCount({ bucketMs = 100, periodMs = MINUTE_MS, keepsEarlier = false } = {}): RollingCount {
  const span = Math.round(periodMs / bucketMs);
  const size = keepsEarlier ? 2 * span + 2 : span + 1;
  const buckets = new Uint32Array(size);
  let last = 0;
  let recent = 0;
  let earlier = 0;

  const slot = (index: number) => ((index % size) + size) % size;

  const advance = (now: number) => {
    const index = Math.floor(now / bucketMs);
    if (index - last > size) {
      buckets.fill(0);
      recent = 0;
      earlier = 0;
      last = index;
    }
    while (last < index) {
      last += 1;
      const expiring = buckets[slot(last - span - 1)] as number;
      recent -= expiring;
      if (keepsEarlier) earlier += expiring - (buckets[slot(last)] as number);
      buckets[slot(last)] = 0;
    }
  };

  return {
    add(at) {
      const index = Math.floor(at / bucketMs);
      if (index > last) advance(at);
      const kept = slot(Math.max(index, last - span));
      buckets[kept] = (buckets[kept] as number) + 1;
      recent += 1;
    },
    recent(now) {
      advance(now);
      return recent;
    },
    earlier(now) {
      advance(now);
      return earlier;
    },
    each(now, visit) {
      advance(now);
      for (let index = last - span; index <= last; index += 1) {
        const count = buckets[slot(index)] as number;
        if (count > 0 && !visit((index + 1 + span) * bucketMs, count)) return;
      }
    },
  };
}

/** Below so many calls a minute no limit of the platform is near: 300 is the least that it grants a token. */
const CALM_PER_MINUTE = 240;
/** So many calls may be in doubt at once while a limit is near that is not known: they are what a refusal can cost. */
const FIRST_DOUBTS = 8;
const WARY_DOUBTS = 4;
/** A refusal comes at once: a call that has been under way for longer than this is not in doubt. */
const DOUBT_MS = 500;
const DOUBT_BUCKET_MS = 100;
/** A place that is taken opens again after this, at the latest: calls are counted in buckets of 100 ms. */
const REOPENS_MS = MINUTE_MS + 100;

/** Times are monotonic ms. Every `take` is followed by one `settle` or one `refund`. */
export interface RateWindow {
  /** Calls a minute; Infinity while no limit is known. */
  perMinute: number;
  take(now: number): void;
  /** The call has reached the platform, `arrivedAt` at the latest: from then on it counts for a minute. */
  settle(arrivedAt: number): void;
  /** The call never reached it, or was refused uncounted. */
  refund(): void;
  /** How many calls may start now; may be Infinity, or negative after a limit has come down. */
  free(now: number): number;
  /**
   * When calls may start, one after the other: each call of the result gives the next time, `now` for those that may
   * start at once.
   */
  openings(now: number): () => number;
  /** Somebody else uses up the same limit, or its size is not known: until `until` few calls are risked at once. */
  beWary(until: number): void;
  /** Calls of the last minute, those under way included. */
  used(now: number): number;
}

/**
 * `isCautious`: while `perMinute` is unknown and the rate is near the platform's usual limits, few calls are risked at
 * once.
 */
export function createRateWindow({ perMinute, isCautious }: { perMinute: number; isCautious: boolean }): RateWindow {
  const counted = createRollingCount();
  const started = createRollingCount({ bucketMs: DOUBT_BUCKET_MS, periodMs: DOUBT_MS });
  let inFlight = 0;
  let doubts = FIRST_DOUBTS;
  let waryUntil = Number.NEGATIVE_INFINITY;

  const isInDoubt = (now: number) =>
    now < waryUntil ||
    (isCautious && window.perMinute === Number.POSITIVE_INFINITY && counted.recent(now) + inFlight >= CALM_PER_MINUTE);

  const window: RateWindow = {
    perMinute,
    take(now) {
      // As with congestion windows: one more for each round.
      doubts = isInDoubt(now) ? doubts + 1 / doubts : FIRST_DOUBTS;
      inFlight += 1;
      started.add(now);
    },
    settle(arrivedAt) {
      inFlight -= 1;
      counted.add(arrivedAt);
    },
    refund() {
      inFlight -= 1;
    },
    free(now) {
      const left = window.perMinute - inFlight - counted.recent(now);
      return isInDoubt(now) ? Math.min(left, Math.floor(doubts) - Math.min(inFlight, started.recent(now))) : left;
    },
    openings(now) {
      const { perMinute: limit } = window;
      if (limit === Number.POSITIVE_INFINITY) return doubtfulOpenings(now);
      const known: number[] = [];
      counted.each(now, (endsAt, count) => known.push(endsAt, count) > 0);
      const used = inFlight + counted.recent(now);
      let atOnce = Math.max(0, limit - used);
      let flying = inFlight;
      let at = 0;
      const places: number[] = [];
      const next = (): number => {
        while (at < known.length && known[at + 1] === 0) at += 2;
        let opensAt: number;
        if (atOnce > 0) {
          atOnce -= 1;
          opensAt = now;
        } else if (at < known.length) {
          known[at + 1] = (known[at + 1] as number) - 1;
          opensAt = known[at] as number;
        } else if (flying > 0) {
          flying -= 1;
          opensAt = now + REOPENS_MS;
        } else {
          // Every place is given away once: the first of them opens again.
          opensAt = (places[places.length - Math.max(1, Math.floor(limit))] ?? now) + REOPENS_MS;
        }
        places.push(opensAt);
        return opensAt;
      };
      // A limit that came down has to be caught up with before anything starts.
      for (let owed = used - limit; owed > 0; owed -= 1) next();
      places.length = 0;
      return next;
    },
    beWary(until) {
      waryUntil = Math.max(waryUntil, until);
      doubts = WARY_DOUBTS;
    },
    used: (now) => inFlight + counted.recent(now),
  };

  /** A guess. It is never late enough to refuse a call: doubt alone is no reason to. */
  function doubtfulOpenings(now: number): () => number {
    let nth = 0;
    const free = window.free(now);
    return () => {
      nth += 1;
      return nth <= free ? now : now + DOUBT_BUCKET_MS;
    };
  }

  return window;
}
