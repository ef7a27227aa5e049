// The limits that are known: of tokens, of routes; what each holds back, and what of that is told in the status.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { credentialOfLimit, QueueCapacity, type UpstreamRequest } from '../call.ts';
import type { LimitNotice } from '../platform-error.ts';
import { RateLimiter } from './rate-limiter.ts';
import { MINUTE_MS, RateWindow } from './rate-window.ts';
import { Shares } from './shares.ts';

const MOST_ENDPOINTS = 1_000;
/** As many as there may be sessions, each of which has a limit of its own. */
const MOST_CREDENTIALS = 10_000;
/** A limit that was learnt is forgotten after this, in case the platform has raised it. */
const LEARNT_FOR_MS = 30 * MINUTE_MS;

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

/** A limiter and what it is for. Exactly one of `limitKey` and `client` is set. */
interface KnownLimit {
  /** Null for a client's own limit. */
  readonly limitKey: string | null;
  /** Null for the limit of a whole credential. */
  readonly route: string | null;
  readonly client: string | null;
  readonly limiter: RateLimiter;
  readonly learnt: Learnt | undefined;
}

/** What the platform said of a limit, and when (monotonic ms). */
interface Learnt {
  readonly perMinute: number;
  readonly at: number;
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
  readonly #credentials = new Map<string, RateLimiter>();
  /** By limit key, blank, route. */
  readonly #endpoints = new Map<string, RateLimiter>();
  /** Clients' own, by name. */
  readonly #clients = new Map<string, RateLimiter>();
  readonly #learnt = new WeakMap<RateLimiter, Learnt>();

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
    const limiter =
      this.#credentials.get(limitKey) ??
      this.#make(
        this.#credentials,
        limitKey,
        limitKey,
        `the platform's limit of credential ${limitKey}`,
        this.#configured,
      );
    if (limiter.window.perMinute !== this.#configured) this.#forgetOld(limiter, this.#configured);
    return limiter;
  }

  /** The client's own limit, where it has one. */
  ofClient(client: string | null): RateLimiter | undefined {
    return client === null || this.#clients.size === 0 ? undefined : this.#clients.get(client);
  }

  /** The limit of the call's method and route, where one is known. */
  ofEndpoint({ limitKey, method, target }: LimitedCall): RateLimiter | undefined {
    if (this.#endpoints.size === 0) return undefined;
    const limiter = this.#endpoints.get(`${limitKey} ${this.#routeOf(method, target)}`);
    if (limiter !== undefined && limiter.window.perMinute !== Number.POSITIVE_INFINITY)
      this.#forgetOld(limiter, Number.POSITIVE_INFINITY);
    return limiter;
  }

  /** Takes note of a refusal: learns the limit and its size; gives the limiter that is concerned. Pauses nothing. */
  learn({ limitKey, method, target }: LimitedCall, { scope, key, perMinute }: LimitNotice): RateLimiter {
    const limiter =
      scope === 'token' ? this.ofCredential(limitKey) : this.#makeEndpoint(limitKey, this.#routeOf(method, target));
    if (key !== null && scope === 'token') limiter.name = `the platform's limit ${key} of credential ${limitKey}`;
    if (perMinute === null) return limiter;
    limiter.window.perMinute = scope === 'token' ? Math.min(perMinute, this.#configured) : perMinute;
    this.#learnt.set(limiter, { perMinute, at: this.#clock.monotonic() });
    return limiter;
  }

  /**
   * For the limits of the next configuration, which go on with the same limiters: calls that still run or wait here are
   * counted, and served in turn, with its own.
   */
  *entries(): Iterable<KnownLimit> {
    const learnt = this.#learnt;
    for (const [limitKey, limiter] of this.#credentials)
      yield { limitKey, route: null, client: null, limiter, learnt: learnt.get(limiter) };
    for (const [key, limiter] of this.#endpoints) {
      const space = key.indexOf(' ');
      const [limitKey, route] = [key.slice(0, space), key.slice(space + 1)];
      yield { limitKey, route, client: null, limiter, learnt: learnt.get(limiter) };
    }
    for (const [client, limiter] of this.#clients)
      yield { limitKey: null, route: null, client, limiter, learnt: undefined };
  }

  states(): LimitState[] {
    const now = this.#clock.monotonic();
    return [...this.entries()].map(({ limitKey, limiter: { name, window, waiting, pausedUntil } }) => ({
      name,
      credential: limitKey,
      perMinute: window.perMinute === Number.POSITIVE_INFINITY ? null : window.perMinute,
      used: window.used(now),
      waiting,
      pausedMs: Math.max(0, Math.round(pausedUntil - now)) || 0,
    }));
  }

  #takeOver({ limits, isKept }: PreviousLimits): void {
    const areNamesKept = this.names.join() === limits.names.join();
    for (const { limitKey, route, client, limiter, learnt } of limits.entries()) {
      if (client !== null) this.#clients.set(client, limiter);
      if (limitKey === null || !isKept(credentialOfLimit(limitKey))) continue;
      if (learnt !== undefined) this.#learnt.set(limiter, learnt);
      if (!areNamesKept) limiter.shares = this.#sharesOf(limitKey);
      if (route === null) {
        limiter.window.perMinute = Math.min(learnt?.perMinute ?? Number.POSITIVE_INFINITY, this.#configured);
        this.#credentials.set(limitKey, limiter);
      } else this.#endpoints.set(`${limitKey} ${route}`, limiter);
      limiter.reconsider();
    }
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
      limiter.window.perMinute = perMinute;
      this.#clients.set(name, limiter);
      limiter.reconsider();
    }
  }

  /** Null where nobody shares: a session is one client's. */
  #sharesOf(limitKey: string): Shares | null {
    return this.names.length === 0 || isSession(limitKey) ? null : new Shares(this.names);
  }

  #makeEndpoint(limitKey: string, route: string): RateLimiter {
    const key = `${limitKey} ${route}`;
    const name = `the platform's limit of ${route} for credential ${limitKey}`;
    return this.#endpoints.get(key) ?? this.#make(this.#endpoints, limitKey, key, name, Number.POSITIVE_INFINITY);
  }

  #make(
    limiters: Map<string, RateLimiter>,
    limitKey: string,
    key: string,
    name: string,
    perMinute: number,
  ): RateLimiter {
    const areCredentials = limiters === this.#credentials;
    if (limiters.size >= (areCredentials ? MOST_CREDENTIALS : MOST_ENDPOINTS))
      thinOut(limiters, areCredentials, this.#clock.monotonic());
    const limiter = new RateLimiter({
      name,
      clock: this.#clock,
      window: new RateWindow({ perMinute, isCautious: areCredentials }),
      capacity: this.capacity,
      shares: this.#sharesOf(limitKey),
    });
    limiters.set(key, limiter);
    return limiter;
  }

  #forgetOld(limiter: RateLimiter, initial: number): void {
    const learnt = this.#learnt.get(limiter);
    if (learnt === undefined || this.#clock.monotonic() - learnt.at < LEARNT_FOR_MS) return;
    this.#learnt.delete(limiter);
    limiter.window.perMinute = initial;
    limiter.reconsider();
  }
}

function isSession(limitKey: string): boolean {
  return credentialOfLimit(limitKey) !== limitKey;
}

/**
 * Makes room for a tenth more, so that it is not looked for again at once. What is forgotten of a limit costs one more
 * refusal; the limits of configured credentials are few, and stay.
 */
function thinOut(limiters: Map<string, RateLimiter>, areCredentials: boolean, now: number): void {
  const goal = limiters.size * 0.9;
  const isIdle = (limiter: RateLimiter) => limiter.pausedUntil <= now && limiter.window.used(now) === 0;
  for (const mayGo of [isIdle, () => true]) {
    for (const [key, limiter] of limiters) {
      if (limiters.size <= goal) return;
      if (limiter.waiting === 0 && mayGo(limiter) && !(areCredentials && !isSession(key))) limiters.delete(key);
    }
  }
}
