// A deadline by the injected clock around work that may never end. It does not stop the work.

import type { Clock } from './clock.ts';

/**
 * Settles as `work` does, or rejects with `late()` after `timeoutMs`. A later failure of `work` is swallowed, because
 * nobody waits for it any more.
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
