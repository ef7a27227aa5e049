// The platform's limits of calls a minute: per token, and per endpoint and token where the switch names some. It counts
// and refuses; the switch decides whether it is used.

import type { RateLimit } from './switches.ts';

/**
 * Windows are fixed, not sliding: one starts with the first call of a token (or of a token on an endpoint) and lasts 60
 * s of the simulation's clock; the first call after its end starts the next. Within one, the first `perMinute` calls
 * pass, in any burst; the rest are refused and not counted. `retryAfterS` is the time to the window's end, rounded up,
 * so that a call after it always meets a new window.
 */
const WINDOW_MS = 60_000;
const MAX_WINDOWS = 10_000;

/** A limit that was exceeded, in the form of the 429 body. */
interface LimitHit {
  key: string;
  namespace: string;
  value: number;
  retryAfterS: number;
}

/** Counts calls. */
export interface RateLimiter {
  /**
   * Takes one call of `token` on `route` (method and path template); returns the limit that refuses it, if any. An
   * endpoint's limit is checked first.
   */
  take(token: string, route: string, limit: RateLimit): LimitHit | undefined;
  reset(): void;
}

export function createRateLimiter(clock: { now(): number }): RateLimiter {
  const windows = new Map<string, { endsAt: number; count: number }>();

  function windowOf(name: string): { endsAt: number; count: number } {
    const now = clock.now();
    let window = windows.get(name);
    if (!window || window.endsAt <= now) {
      window = { endsAt: now + WINDOW_MS, count: 0 };
      windows.delete(name);
      windows.set(name, window);
      for (const oldest of windows.keys()) {
        if (windows.size <= MAX_WINDOWS) break;
        windows.delete(oldest);
      }
    }
    return window;
  }

  return {
    take(token, route, limit) {
      const endpoint = limit.endpoints?.find((candidate) => candidate.route === route);
      const checks = [
        ...(endpoint
          ? [{ name: `${token} ${route}`, key: `${route} rate`, namespace: 'platform.api', ...endpoint }]
          : []),
        {
          name: token,
          perMinute: limit.perMinute ?? 300,
          key: limit.key ?? 'token.rate',
          namespace: limit.namespace ?? 'platform.api',
        },
      ];
      for (const { name, perMinute, key, namespace } of checks) {
        const window = windowOf(name);
        if (window.count < perMinute) continue;
        return {
          key,
          namespace,
          value: perMinute,
          retryAfterS: Math.max(1, Math.ceil((window.endsAt - clock.now()) / 1000)),
        };
      }
      for (const { name } of checks) windowOf(name).count++;
      return undefined;
    },
    reset: () => windows.clear(),
  };
}
