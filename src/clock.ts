// Time as an argument: the two clocks and the timer that auth and upstream use, so that tests can own all three. And a
// deadline by such a clock around work that may never end.

/** A pending timer. */
export interface Timer {
  cancel(): void;
}

/**
 * `now` is the wall clock (epoch ms; may be stepped), `monotonic` only moves forward (ms, arbitrary zero; may stop
 * while the machine sleeps). `after` runs `fn` once, no sooner than `delayMs`; delays beyond Node's 24.8-day limit are
 * honoured. Timers do not keep the process alive.
 */
export interface Clock {
  now(): number;
  monotonic(): number;
  after(delayMs: number, fn: () => void): Timer;
}

/** setTimeout fires at once when the delay does not fit 31 bits; longer waits are made of several. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  after(delayMs, fn) {
    let remainingMs = Math.max(0, delayMs);
    let handle: NodeJS.Timeout;
    const arm = () => {
      const stepMs = Math.min(remainingMs, LONGEST_TIMER_MS);
      remainingMs -= stepMs;
      handle = setTimeout(remainingMs > 0 ? arm : fn, stepMs);
      handle.unref();
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  },
};

/**
 * Settles as `work` does, or rejects with `late()` after `timeoutMs`; the work goes on. A later failure of `work` is
 * swallowed, because nobody waits for it any more.
 */
export function withDeadline<T>(clock: Clock, timeoutMs: number, late: () => Error, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(late()));
    work.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}
