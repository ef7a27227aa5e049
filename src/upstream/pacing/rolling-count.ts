// Counts events over the last minute, and over the minute before, in a ring of short buckets: constant memory whatever the rate.
// An event counts for a minute and at most one bucket more, never for less.

/** The period that the platform's limits speak of. */
export const MINUTE_MS = 60_000;

/** Times are monotonic ms and may be a little older than ones seen before. */
export interface RollingCount {
  add(at: number): void;
  /** Events of the last minute. */
  recent(now: number): number;
  /** Events of the minute before that; 0 unless `keepsEarlier`. */
  earlier(now: number): number;
  /** Calls `visit` for each bucket of the last minute that is not empty, oldest first, until it returns false: when it stops to count, and its events. */
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
