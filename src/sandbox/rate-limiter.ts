// The platform's limits of calls a minute: per token, and where the switch names some, of endpoints and services. It
// counts and refuses; the switch decides whether it is used.

import type { RateLimit, ServiceLimit } from './switches.ts';

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

/** What of a call its limits depend on beside token and route. */
export interface CountedCall {
  /** Of the token; default: no client's credentials. */
  readonly grant?: string;
  /** Default 25. */
  readonly pageSize?: number;
}

/** The names and namespace of the limits that every call draws on. */
export const PLATFORM_API = 'platform.api';
const OF_SERVICES = 'client.credentials.token.rate.per.minute';
const OF_TOKENS = 'token.rate.per.minute';
const USUAL_PER_MINUTE = 300;
/** A call for a page counts once for each so many entries. */
const USUAL_PAGE = 25;

/** Counts calls. */
export interface RateLimiter {
  /**
   * Takes one call of `token` on `route` (method and path template); returns the limit that refuses it, if any. An
   * endpoint's limit is checked first, then services', then the token's.
   */
  take(token: string, route: string, limit: RateLimit, call?: CountedCall): LimitHit | undefined;
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
    take(token, route, limit, { grant, pageSize = USUAL_PAGE } = {}) {
      const endpoint = limit.endpoints?.find((candidate) => candidate.route === route);
      const checks = [
        ...(endpoint
          ? [{ name: `${token} ${route}`, cost: 1, key: 'rate.per.minute', namespace: PLATFORM_API, ...endpoint }]
          : []),
        ...(limit.services ?? [])
          .filter(({ paths }) => paths.some((path) => (route.split(' ')[1] ?? '').startsWith(path)))
          .map((service) => ({ ...service, name: nameOf(service, token), cost: costOf(service, pageSize) })),
        {
          name: token,
          cost: 1,
          perMinute: limit.perMinute ?? USUAL_PER_MINUTE,
          key: limit.key ?? (grant === 'client_credentials' ? OF_SERVICES : OF_TOKENS),
          namespace: limit.namespace ?? PLATFORM_API,
        },
      ];
      for (const { name, perMinute, key, namespace, cost } of checks) {
        const window = windowOf(name);
        if (window.count + cost <= perMinute) continue;
        return {
          key,
          namespace,
          value: perMinute,
          retryAfterS: Math.max(1, Math.ceil((window.endsAt - clock.now()) / 1000)),
        };
      }
      for (const { name, cost } of checks) windowOf(name).count += cost;
      return undefined;
    },
    reset: () => windows.clear(),
  };
}

function nameOf({ namespace, key, isShared }: ServiceLimit, token: string): string {
  return `${isShared === true ? '' : token} ${namespace}:${key}`;
}

function costOf({ byPageSize, perMinute }: ServiceLimit, pageSize: number): number {
  return byPageSize === true ? Math.min(perMinute, Math.max(1, Math.ceil(pageSize / USUAL_PAGE))) : 1;
}

/** The limits of a namespace as the platform lists them: those that the switch makes it keep to. */
export function listLimits(namespace: string, limit: RateLimit | null): Record<string, string | number>[] {
  const of = (key: string, value: number) => ({ key, namespace, value });
  const listed = (limit?.services ?? [])
    .filter((one) => one.namespace === namespace)
    .map((one) => of(one.key, one.perMinute));
  if (namespace !== PLATFORM_API) return listed;
  const perMinute = limit?.perMinute ?? USUAL_PER_MINUTE;
  const keys = limit?.key === undefined ? [OF_SERVICES, OF_TOKENS] : [limit.key];
  return [
    ...listed,
    ...(limit === null ? [] : keys.map((key) => of(key, perMinute))),
    of('request.bytes.max', 512_000),
  ];
}
