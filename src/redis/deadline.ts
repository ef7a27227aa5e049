// A deadline around work whose outcome arrives by the network: what has arrived by then counts, even where this process
// was too busy to read it.

import type { Clock } from '../clock.ts';

/** Settles as `work` does, or rejects with `late()` after `ms`; a later outcome is swallowed. */
export function withinDeadline<T>(clock: Clock, ms: number, late: () => Error, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // Timers run before sockets are read, and immediates after that.
    const timer = clock.after(ms, () => void setImmediate(() => reject(late())));
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
