// The limits that are known: of tokens, of routes; what each holds back, and what of that is told in the status.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { credentialOfLimit, QueueCapacity, type UpstreamRequest } from '../call.ts';
import type { LimitNotice } from './limit-notice.ts';
import { PlatformLimit } from './platform-limit.ts';
import { RateLimiter } from './rate-limiter.ts';
import { RateWindow } from './rate-window.ts';
import { Shares } from './shares.ts';
import { spreadOver, type TokenLimitState, WindowPool } from './window-pool.ts';

const MOST_ENDPOINTS = 1_000;
/** As many as there may be sessions, each of which has a limit of its own. */
const MOST_CREDENTIALS = 10_000;

/** What a limit is doing, for `status`. */
export interface LimitState {
  readonly name: string;
  /** The key that the limit is known by; null for a client's own limit. */
  readonly credential: string | null;
  /** Null while no limit is known. */
  readonly perMinute: number | null;
  /** Calls of the last minute. */
  readonly used: number;
  readonly waiting: number;
  /** Milliseconds until calls go on, 0 when they are not paused. */
  readonly pausedMs: number;
}

/** What of a call decides by which limits it is counted. */
export type LimitedCall = Pick<UpstreamRequest, 'limitKey' | 'method' | 'target'>;

/** `[rate_limit]` without what is the gate's. */
export type LimitSettings = Omit<GatewayConfig['rateLimit'], 'connections'>;

/** `routeOf` gives method and route template: few different ones. */
export interface LimitsDeps {
  readonly clock: Clock;
  readonly settings: LimitSettings;
  readonly clients: readonly ClientConfig[];
  readonly routeOf: (method: string, target: string) => string;
}

/**
 * The limits of the configuration before: what they counted and learnt of the credentials that are kept goes on to
 * count.
 */
export interface PreviousLimits {
  readonly limits: Limits;
  readonly isKept: (credential: string) => boolean;
}

/** All limits that are known. Opens no timer until somebody waits. */
export class Limits {
  /** Where calls wait, for connections as well. */
  readonly capacity: QueueCapacity;
  /** The configured clients. */
  readonly names: readonly string[];
  readonly #clock: Clock;
  readonly #routeOf: LimitsDeps['routeOf'];
  /** Calls a minute that the configuration allows a credential; Infinity for `auto`. */
  readonly #configured: number;
  /** By limit key. */
  readonly #credentials = new Map<string, PlatformLimit>();
  /** By limit key, blank, route. */
  readonly #endpoints = new Map<string, PlatformLimit>();
  /** Clients' own, by name. */
  readonly #clients = new Map<string, RateLimiter>();

  constructor({ clock, settings, clients, routeOf }: LimitsDeps, previous?: PreviousLimits) {
    this.#clock = clock;
    this.#routeOf = routeOf;
    this.#configured = settings.requestsPerMinute === 'auto' ? Number.POSITIVE_INFINITY : settings.requestsPerMinute;
    this.capacity = previous?.limits.capacity ?? new QueueCapacity();
    this.capacity.max = settings.queueMax;
    this.names = clients.map(({ name }) => name);
    if (previous !== undefined) this.#takeOver(previous);
    this.#limitClients(clients);
  }

  /** The limit of a whole credential, or of a session's. */
  ofCredential(limitKey: string): RateLimiter {
    return this.#current(this.#credentialLimit(limitKey));
  }

  /** The limit of the tokens that a call may be sent with: of all of its credential's, or of the first. */
  ofCall({ limitKey, pool = null }: Pick<UpstreamRequest, 'limitKey' | 'pool'>): RateLimiter {
    const limiter = this.ofCredential(limitKey);
    if (pool === null) return limiter.first ?? limiter;
    if (limiter.first === null) spreadOver(pool, limiter, { clock: this.#clock, capacity: this.capacity });
    return limiter;
  }

  /** What the limit of each token of a credential that has several is doing, in their order; null for any other. */
  ofTokens(limitKey: string): TokenLimitState[] | null {
    const window = this.#credentials.get(limitKey)?.limiter.window;
    return window instanceof WindowPool ? window.states(this.#clock.monotonic()) : null;
  }

  /** The client's own limit, where it has one. */
  ofClient(client: string | null): RateLimiter | undefined {
    return client === null || this.#clients.size === 0 ? undefined : this.#clients.get(client);
  }

  /** The limit of the call's method and route, where one is known. */
  ofEndpoint({ limitKey, method, target }: LimitedCall): RateLimiter | undefined {
    if (this.#endpoints.size === 0) return undefined;
    const limit = this.#endpoints.get(`${limitKey} ${this.#routeOf(method, target)}`);
    return limit && this.#current(limit);
  }

  /** Takes note of a refusal: learns the limit and its size; gives the limiter that is concerned. Pauses nothing. */
  learn({ limitKey, method, target }: LimitedCall, { scope, key, perMinute }: LimitNotice): RateLimiter {
    const limit =
      scope === 'token'
        ? this.#credentialLimit(limitKey)
        : this.#endpointLimit(limitKey, this.#routeOf(method, target));
    if (key !== null && scope === 'token') limit.limiter.name = `the platform's limit ${key} of credential ${limitKey}`;
    if (perMinute !== null) limit.meet(perMinute, this.#clock.monotonic());
    return limit.limiter;
  }

  states(): LimitState[] {
    const now = this.#clock.monotonic();
    const state = (credential: string | null, { name, window, waiting, pausedUntil }: RateLimiter): LimitState => ({
      name,
      credential,
      perMinute: window.perMinute === Number.POSITIVE_INFINITY ? null : window.perMinute,
      used: window.used(now),
      waiting,
      pausedMs: Math.max(0, Math.round(pausedUntil - now)) || 0,
    });
    return [
      ...Array.from(this.#credentials, ([limitKey, { limiter }]) => state(limitKey, limiter)),
      ...Array.from(this.#endpoints, ([key, { limiter }]) => state(limitKeyOf(key), limiter)),
      ...Array.from(this.#clients.values(), (limiter) => state(null, limiter)),
    ];
  }

  #current(limit: PlatformLimit): RateLimiter {
    if (limit.isMet) limit.refresh(this.#clock.monotonic());
    return limit.limiter;
  }

  /**
   * Goes on with the same limiters: calls that still run or wait by the configuration before are counted, and served in
   * turn, with its own.
   */
  #takeOver({ limits, isKept }: PreviousLimits): void {
    const areNamesKept = this.names.join() === limits.names.join();
    const keep = (into: Map<string, PlatformLimit>, key: string, limit: PlatformLimit, limitKey: string) => {
      if (!isKept(credentialOfLimit(limitKey))) return;
      if (!areNamesKept) limit.limiter.shares = this.#sharesOf(limitKey);
      into.set(key, limit);
      limit.configure(into === this.#credentials ? this.#configured : Number.POSITIVE_INFINITY);
    };
    for (const [limitKey, limit] of limits.#credentials) keep(this.#credentials, limitKey, limit, limitKey);
    for (const [key, limit] of limits.#endpoints) keep(this.#endpoints, key, limit, limitKeyOf(key));
    for (const [client, limiter] of limits.#clients) this.#clients.set(client, limiter);
  }

  #limitClients(clients: readonly ClientConfig[]): void {
    const limited = new Map<string, number>();
    for (const { name, requestsPerMinute } of clients)
      if (requestsPerMinute !== null) limited.set(name, requestsPerMinute);
    for (const name of this.#clients.keys()) if (!limited.has(name)) this.#clients.delete(name);
    for (const [name, perMinute] of limited) {
      const limiter =
        this.#clients.get(name) ??
        new RateLimiter({
          name: `requests_per_minute of client ${name}`,
          clock: this.#clock,
          window: new RateWindow({ perMinute, isCautious: false }),
          capacity: this.capacity,
          shares: null,
        });
      limiter.window.limit = perMinute;
      this.#clients.set(name, limiter);
      limiter.reconsider();
    }
  }

  /** Null where nobody shares: a session is one client's. */
  #sharesOf(limitKey: string): Shares | null {
    return this.names.length === 0 || isSession(limitKey) ? null : new Shares(this.names);
  }

  #credentialLimit(limitKey: string): PlatformLimit {
    const known = this.#credentials.get(limitKey);
    if (known !== undefined) return known;
    if (this.#credentials.size >= MOST_CREDENTIALS) thinOut(this.#credentials, this.#clock.monotonic(), isSession);
    const limit = this.#make(limitKey, `the platform's limit of credential ${limitKey}`, true);
    limit.configure(this.#configured);
    this.#credentials.set(limitKey, limit);
    return limit;
  }

  #endpointLimit(limitKey: string, route: string): PlatformLimit {
    const key = `${limitKey} ${route}`;
    const known = this.#endpoints.get(key);
    if (known !== undefined) return known;
    if (this.#endpoints.size >= MOST_ENDPOINTS) thinOut(this.#endpoints, this.#clock.monotonic(), () => true);
    const limit = this.#make(limitKey, `the platform's limit of ${route} for credential ${limitKey}`, false);
    this.#endpoints.set(key, limit);
    return limit;
  }

  #make(limitKey: string, name: string, isCautious: boolean): PlatformLimit {
    return new PlatformLimit(
      new RateLimiter({
        name,
        clock: this.#clock,
        window: new RateWindow({ perMinute: Number.POSITIVE_INFINITY, isCautious }),
        capacity: this.capacity,
        shares: this.#sharesOf(limitKey),
      }),
    );
  }
}

/** Of the key of an endpoint's limit. */
function limitKeyOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}

function isSession(limitKey: string): boolean {
  return credentialOfLimit(limitKey) !== limitKey;
}

/**
 * Makes room for a tenth more, so that it is not looked for again at once. What is forgotten of a limit costs one more
 * refusal; the limits of configured credentials are few, and stay.
 */
function thinOut(limits: Map<string, PlatformLimit>, now: number, mayForget: (key: string) => boolean): void {
  const goal = limits.size * 0.9;
  const isIdle = ({ pausedUntil, window }: RateLimiter) => pausedUntil <= now && window.used(now) === 0;
  for (const mayGo of [isIdle, () => true]) {
    for (const [key, { limiter }] of limits) {
      if (limits.size <= goal) return;
      if (limiter.waiting === 0 && mayGo(limiter) && mayForget(key)) limits.delete(key);
    }
  }
}
