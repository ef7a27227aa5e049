// A clock that tests own: both clocks move only when told, timers fire in order, and every promise gets its turn
// between two of them.

import type { Clock } from '../../src/clock.ts';

export interface FakeClock extends Clock {
  /** Moves both clocks forward, firing timers in order and letting promises settle after each. */
  advance(ms: number): Promise<void>;
  /** Steps the wall clock alone, as NTP or a person would; negative is back. No timer fires. */
  stepWall(ms: number): void;
  /** Lets promises settle without moving time. */
  settle(): Promise<void>;
  /** Timers that are set. */
  readonly pending: number;
}

/** Starts at a fixed date; `startAt` is epoch ms. */
export function createFakeClock(startAt = Date.UTC(2026, 0, 1)): FakeClock {
  let mono = 0;
  let wall = startAt;
  let order = 0;
  const timers = new Set<{ at: number; order: number; fn: () => void }>();

  const earliest = () => {
    let first: { at: number; order: number; fn: () => void } | undefined;
    for (const timer of timers) {
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    return first;
  };
  const settle = async () => {
    await new Promise<void>((resolve) => setImmediate(resolve));
    await new Promise<void>((resolve) => setImmediate(resolve));
  };
  const moveTo = (at: number) => {
    wall += at - mono;
    mono = at;
  };

  return {
    now: () => wall,
    monotonic: () => mono,
    after(delayMs, fn) {
      order += 1;
      const timer = { at: mono + Math.max(0, delayMs), order, fn };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
    async advance(ms) {
      const end = mono + ms;
      await settle();
      for (let next = earliest(); next !== undefined && next.at <= end; next = earliest()) {
        timers.delete(next);
        moveTo(Math.max(mono, next.at));
        next.fn();
        await settle();
      }
      moveTo(end);
      await settle();
    },
    stepWall(ms) {
      wall += ms;
    },
    settle,
    get pending() {
      return timers.size;
    },
  };
}
