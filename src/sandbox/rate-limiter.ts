// The platform's limits of calls a minute: per token, and where the switch names some, of endpoints and services. It
// counts and refuses; the switch decides whether it is used.

import type { RateLimit, ServiceLimit } from './switches.ts';

/**
 * Windows are fixed unless the switch lets them slide: one starts with the first call of a token (or of a token on an
 * endpoint) and lasts 60 s of the simulation's clock; the first call after its end starts the next. Within one, the
 * first `perMinute` calls pass, in any burst; the rest are refused and not counted. In one that slides each call counts
 * for 60 s of its own. `retryAfterS` is the time until there is room, rounded up, so that a call after it always passes
 * where no other came before.
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
  const windows = new Map<string, Window>();

  function windowOf(name: string, isSliding: boolean): Window {
    const now = clock.now();
    const known = windows.get(name);
    if (known !== undefined && known.isSliding === isSliding) {
      known.forget(now);
      if (known.calls.length > 0) return known;
    }
    const window = new Window(isSliding);
    windows.delete(name);
    windows.set(name, window);
    for (const oldest of windows.keys()) {
      if (windows.size <= MAX_WINDOWS) break;
      windows.delete(oldest);
    }
    return window;
  }

  return {
    take(token, route, limit, { grant, pageSize = USUAL_PAGE } = {}) {
      const { isSliding = false } = limit;
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
      const now = clock.now();
      for (const { name, perMinute, key, namespace, cost } of checks) {
        const window = windowOf(name, isSliding);
        if (window.calls.length + cost <= perMinute) continue;
        const waitMs = window.opensAt(perMinute - cost, now) - now;
        return { key, namespace, value: perMinute, retryAfterS: Math.max(1, Math.ceil(waitMs / 1000)) };
      }
      for (const { name, cost } of checks) windowOf(name, isSliding).add(now, cost);
      return undefined;
    },
    reset: () => windows.clear(),
  };
}

/** The calls of one limit that count. */
class Window {
  readonly isSliding: boolean;
  /** When each came: ascending. */
  calls: number[] = [];

  constructor(isSliding: boolean) {
    this.isSliding = isSliding;
  }

  add(now: number, cost: number): void {
    for (let call = 0; call < cost; call += 1) this.calls.push(now);
  }

  /** Lets go of those that count no more. */
  forget(now: number): void {
    const first = this.calls[0] ?? now;
    if (now < first + WINDOW_MS) return;
    const past = this.calls.findIndex((at) => at + WINDOW_MS > now);
    if (this.isSliding && past > 0) this.calls.splice(0, past);
    else this.calls = [];
  }

  /** When no more than `most` calls count. */
  opensAt(most: number, now: number): number {
    const last = this.isSliding ? Math.max(0, this.calls.length - 1 - Math.max(0, most)) : 0;
    return (this.calls[last] ?? now) + WINDOW_MS;
  }
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
