// Deliberate waits: requests that are held until a test releases them, and delays that end with the simulation. All
// timers are unref'd, and none survives `close`.

/** Holds requests. `close` rejects every wait; later ones wait again. */
export interface HoldingPlace {
  /**
   * Waits until `release`; calls `onHeld` once the wait has begun. Rejects when `gone` fires or the simulation closes.
   */
  held(gone: AbortSignal, onHeld: () => void): Promise<void>;
  /** Waits for real milliseconds. Rejects as `held` does. */
  delay(ms: number, gone: AbortSignal): Promise<void>;
  /** Lets everything go on that is held; returns how many. */
  release(): number;
  close(): void;
}

export function createHoldingPlace(): HoldingPlace {
  const held = new Set<() => void>();
  let closing = new AbortController();

  function wait(gone: AbortSignal, start: (resolve: () => void) => () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.any([gone, closing.signal]);
      if (signal.aborted) return reject(new Error('the client has disconnected'));
      const onAbort = () => {
        stop();
        reject(new Error('the client has disconnected'));
      };
      const stop = start(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  return {
    held(gone, onHeld) {
      const waiting = wait(gone, (resolve) => {
        held.add(resolve);
        return () => held.delete(resolve);
      });
      onHeld();
      return waiting;
    },
    delay: (ms, gone) =>
      wait(gone, (resolve) => {
        const timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1));
        timer.unref();
        return () => clearTimeout(timer);
      }),
    release() {
      const count = held.size;
      for (const resolve of held) resolve();
      held.clear();
      return count;
    },
    close() {
      closing.abort();
      closing = new AbortController();
      held.clear();
    },
  };
}
