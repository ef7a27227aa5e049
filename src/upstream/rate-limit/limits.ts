// The limits that are known, of credentials, of parts of the platform, of clients: what each holds back, and what of that
// is told in the status.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { credentialOfLimit, QueueCapacity, type UpstreamRequest } from '../call.ts';
import { type Lane, type LaneMaker, Lanes, type LimitedCall, organizationOfOwner } from './lanes.ts';
import { type LimitNotice, type LimitScope, limitName } from './limit-notice.ts';
import { type LimitSource, PlatformLimit } from './platform-limit.ts';
import { type QueuedStart, RateLimiter } from './rate-limiter.ts';
import { LOCAL_WINDOWS, type WindowMaker } from './rate-window.ts';
import { Shares } from './shares.ts';
import { spreadOver, type TokenLimitState, WindowPool } from './window-pool.ts';

/** As many as there may be sessions, each of which has a limit of its own. */
const MOST_CREDENTIALS = 10_000;
/**
 * A limit so many times as large as what was used when it refused depends on more than calls: on the size of pages, or
 * on what others use. Then it is no pace to keep to, and Retry-After alone counts.
 */
const FAR_ABOVE = 2;
/** Routes of a limit that the status names. */
const MOST_SHOWN_ROUTES = 20;

/** What a limit is doing, for `status`. */
export interface LimitState {
  readonly name: string;
  /** Whose it is: `client` a client's own, `token` all calls of a credential, else as the platform's 429 said. */
  readonly scope: Exclude<LimitScope, 'user'> | 'client';
  /** The platform's name of the limit, `directory:user.rate.per.minute`; null where none is known. */
  readonly limit: string | null;
  /** The key that the limit is known by; null for a client's own limit, and for one that an organisation shares. */
  readonly credential: string | null;
  /** The organisation whose credentials share it, by its id; null for any other. */
  readonly organization: string | null;
  /** Method and route of the calls that draw on it, at most 20; null for all calls. */
  readonly routes: readonly string[] | null;
  /** Null while no limit is known. */
  readonly perMinute: number | null;
  /** Where that is known from; null while it is not known. */
  readonly source: LimitSource | null;
  /** Calls of the last minute. */
  readonly used: number;
  readonly waiting: number;
  /** Milliseconds until calls go on, 0 when they are not paused. */
  readonly pausedMs: number;
}

/** `[rate_limit]` without what is the gate's. */
export type LimitSettings = Omit<GatewayConfig['rateLimit'], 'connections'>;

/** `routeOf` gives method and route template: few different ones. */
export interface LimitsDeps {
  readonly clock: Clock;
  readonly settings: LimitSettings;
  readonly clients: readonly ClientConfig[];
  readonly routeOf: (method: string, target: string) => string;
  /** The organisations of credentials, as far as the configuration tells. Default: none. */
  readonly organizations?: ReadonlyMap<string, string> | undefined;
  /** Makes what limits are counted in. Default: counted by this instance alone. */
  readonly windows?: WindowMaker | undefined;
}

const NO_LIMITERS: readonly RateLimiter[] = [];

/**
 * The limits of the configuration before: what they counted and learnt of the credentials that are kept goes on to
 * count.
 */
export interface PreviousLimits {
  readonly limits: Limits;
  readonly isKept: (credential: string) => boolean;
}

/** All limits that are known. Opens no timer until somebody waits. */
export class Limits implements LaneMaker {
  /** Where calls wait, for connections as well. */
  readonly capacity: QueueCapacity;
  /** The configured clients. */
  readonly names: readonly string[];
  readonly #clock: Clock;
  readonly #windows: WindowMaker;
  /** Calls a minute that the configuration allows a credential; Infinity for `auto`. */
  readonly #configured: number;
  /** By limit key. */
  readonly #credentials = new Map<string, PlatformLimit>();
  readonly #lanes: Lanes;
  /** Clients' own, by name. */
  readonly #clients = new Map<string, RateLimiter>();
  /** The limits of the configuration after: what calls that still run here learn is theirs to know. */
  #next: PreviousLimits | null = null;

  constructor(deps: LimitsDeps, previous?: PreviousLimits) {
    const { clock, settings, clients, routeOf, organizations = new Map(), windows = LOCAL_WINDOWS } = deps;
    this.#clock = clock;
    this.#windows = windows;
    this.#lanes = new Lanes({ maker: this, routeOf, organizations, now: () => clock.monotonic() });
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
    if (limiter.first === null) {
      const shares = this.#sharesOf(limitKey);
      const identityOf = (place: number) => identityOfToken(limitKey, place);
      spreadOver(
        { clock: this.#clock, capacity: this.capacity, shares },
        { tokens: pool, limiter, windows: this.#windows, identityOf },
      );
    }
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

  /** The limits of parts of the platform that the call's route has met: none for most. */
  ofParts(call: LimitedCall): readonly RateLimiter[] {
    const lanes = this.#lanes.of(call);
    return lanes.length === 0 ? NO_LIMITERS : lanes.map((limit) => this.#current(limit));
  }

  /** Takes note of a refusal: learns the limit and its size; gives the limiter that is concerned. Pauses nothing. */
  learn(call: LimitedCall, notice: LimitNotice): RateLimiter {
    const { limitKey } = call;
    const next = this.#next;
    if (next?.isKept(credentialOfLimit(limitKey))) return next.limits.learn(call, notice);
    const { scope, perMinute } = notice;
    const now = this.#clock.monotonic();
    const name = limitName(notice) ?? '';
    if (scope === 'token' || scope === 'user') {
      const limit = this.#credentialLimit(limitKey);
      if (perMinute !== null) limit.meet(name, perMinute, now);
      limit.limiter.name = `the platform's limit ${name} of credential ${limitKey}`;
      return limit.limiter;
    }
    const { limit } = this.#lanes.join(call, notice);
    if (perMinute !== null && perMinute <= FAR_ABOVE * this.#usedBy(limitKey, scope, now))
      limit.meet(name, perMinute, now);
    return limit.limiter;
  }

  /** Takes what the platform answered when it was asked for a credential's limits, by their names. */
  ask(credential: string, answer: ReadonlyMap<string, number>): void {
    this.#credentialLimit(credential).ask(answer);
  }

  /** Takes note of the organisation that a credential is of; null when it is not known any more. */
  setOrganization(credential: string, id: string | null): void {
    this.#lanes.setOrganization(credential, id);
  }

  states(): LimitState[] {
    const now = this.#clock.monotonic();
    const state = (
      { name, window, waiting, pausedUntil }: RateLimiter,
      what: Omit<LimitState, 'name' | 'used' | 'waiting' | 'pausedMs' | 'perMinute'>,
    ): LimitState => ({
      name,
      ...what,
      perMinute: window.perMinute === Number.POSITIVE_INFINITY ? null : window.perMinute,
      // Of no other source that is known: another instance has said so.
      source: what.source ?? (window.perMinute === Number.POSITIVE_INFINITY ? null : 'shared'),
      used: window.used(now),
      waiting,
      pausedMs: Math.max(0, Math.round(pausedUntil - now)) || 0,
    });
    const general = { organization: null, routes: null };
    const ofCredential = (credential: string, { limiter, size }: PlatformLimit) =>
      state(limiter, {
        ...general,
        ...{ scope: 'token', limit: size?.limit ?? null, credential, source: size?.source ?? null },
      });
    const ofLane = ({ limit: { scope, limiter, size }, name, owner, routes }: Lane) => {
      const organization = organizationOfOwner(owner);
      return state(limiter, {
        scope: scope === 'user' ? 'token' : scope,
        limit: name,
        credential: organization === null ? owner : null,
        organization,
        routes: [...routes].slice(0, MOST_SHOWN_ROUTES),
        source: size?.source ?? null,
      });
    };
    return [
      ...Array.from(this.#credentials, ([limitKey, limit]) => ofCredential(limitKey, limit)),
      ...Array.from(this.#lanes.all(), ofLane),
      ...Array.from(this.#clients.values(), (limiter) =>
        state(limiter, { ...general, scope: 'client', limit: null, credential: null, source: 'configured' }),
      ),
    ];
  }

  /** Who waits for each limit, by its name: at most `most` for one. Limits that nobody waits for are left out. */
  lines(most: number): Map<string, QueuedStart[]> {
    const lines = new Map<string, QueuedStart[]>();
    const add = (limiter: RateLimiter) => limiter.waiting > 0 && lines.set(limiter.name, limiter.line(most));
    for (const { limiter } of this.#credentials.values()) add(limiter);
    for (const { limit } of this.#lanes.all()) add(limit.limiter);
    for (const limiter of this.#clients.values()) add(limiter);
    return lines;
  }

  /** For the lanes. */
  make(scope: LimitScope): PlatformLimit {
    return new PlatformLimit(scope, this.#limiter(null));
  }

  /** For the lanes. */
  fit({ limit: { limiter, scope }, name, owner, mark, routes }: Lane): void {
    limiter.window.identify(JSON.stringify(['part', owner, mark]));
    const organization = organizationOfOwner(owner);
    const whose = organization === null ? `credential ${owner}` : `organisation ${organization}`;
    const [route] = routes;
    const what =
      scope !== 'route' && name !== null ? ` ${name} of` : `${name === null ? '' : ` ${name}`} of ${route} for`;
    limiter.name = `the platform's limit${what} ${whose}`;
    if ((limiter.shares === null) !== (this.#sharersOf(owner) === 0)) limiter.shares = this.#sharesOf(owner);
  }

  #current(limit: PlatformLimit): RateLimiter {
    limit.refresh(this.#clock);
    return limit.limiter;
  }

  /** Calls of the last minute that may have counted for a limit: it is not known which did. */
  #usedBy(limitKey: string, scope: LimitScope, now: number): number {
    const organization = scope === 'organization' ? this.#lanes.organizationOf(limitKey) : undefined;
    if (organization === undefined) return this.ofCredential(limitKey).window.used(now);
    let used = 0;
    for (const [key, { limiter }] of this.#credentials)
      if (this.#lanes.organizationOf(key) === organization) used += limiter.window.used(now);
    return used;
  }

  /**
   * Goes on with the same limiters: calls that still run or wait by the configuration before are counted, and served in
   * turn, with its own.
   */
  #takeOver({ limits, isKept }: PreviousLimits): void {
    const areNamesKept = this.names.join() === limits.names.join();
    for (const [limitKey, limit] of limits.#credentials) {
      if (!isKept(credentialOfLimit(limitKey))) continue;
      if (!areNamesKept) {
        const { limiter } = limit;
        limiter.shares = this.#sharesOf(limitKey);
        if (limiter.first !== null) limiter.first.shares = this.#sharesOf(limitKey);
      }
      this.#credentials.set(limitKey, limit);
      limit.configure(this.#configured);
    }
    this.#lanes.takeOver(limits.#lanes, isKept);
    for (const { owner, limit } of this.#lanes.all()) {
      if (!areNamesKept) limit.limiter.shares = this.#sharesOf(owner);
      limit.limiter.reconsider();
    }
    for (const [client, limiter] of limits.#clients) this.#clients.set(client, limiter);
    limits.#next = { limits: this, isKept };
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
          window: this.#windows.make({ perMinute, isCautious: false }),
          capacity: this.capacity,
          shares: null,
        });
      limiter.window.identify(JSON.stringify(['client', name]));
      limiter.window.limit = perMinute;
      this.#clients.set(name, limiter);
      limiter.reconsider();
    }
  }

  /** How many clients share what is a credential's or an organisation's: a session is one client's. */
  #sharersOf(owner: string): number {
    return organizationOfOwner(owner) === null && isSession(owner) ? 0 : this.names.length;
  }

  #sharesOf(owner: string): Shares | null {
    return this.#sharersOf(owner) === 0 ? null : new Shares(this.names);
  }

  #credentialLimit(limitKey: string): PlatformLimit {
    const known = this.#credentials.get(limitKey);
    if (known !== undefined) return known;
    if (this.#credentials.size >= MOST_CREDENTIALS) thinOut(this.#credentials, this.#clock.monotonic());
    const limiter = this.#limiter(this.#sharesOf(limitKey), true);
    limiter.name = `the platform's limit of credential ${limitKey}`;
    limiter.window.identify(identityOfToken(limitKey, 0));
    const limit = new PlatformLimit('token', limiter);
    limit.configure(this.#configured);
    this.#credentials.set(limitKey, limit);
    return limit;
  }

  #limiter(shares: Shares | null, isCautious = false): RateLimiter {
    return new RateLimiter({
      name: '',
      clock: this.#clock,
      window: this.#windows.make({ perMinute: Number.POSITIVE_INFINITY, isCautious }),
      capacity: this.capacity,
      shares,
    });
  }
}

/** What the limit of one of a credential's tokens is known by at all instances. */
function identityOfToken(limitKey: string, place: number): string {
  return JSON.stringify(['token', limitKey, place]);
}

function isSession(limitKey: string): boolean {
  return credentialOfLimit(limitKey) !== limitKey;
}

/**
 * Makes room for a tenth more, so that it is not looked for again at once. What is forgotten of a session's limit costs
 * one more refusal; the limits of configured credentials are few, and stay.
 */
function thinOut(limits: Map<string, PlatformLimit>, now: number): void {
  const goal = limits.size * 0.9;
  const isIdle = ({ pausedUntil, window }: RateLimiter) => pausedUntil <= now && window.used(now) === 0;
  for (const mayGo of [isIdle, () => true]) {
    for (const [key, { limiter }] of limits) {
      if (limits.size <= goal) return;
      if (limiter.waiting === 0 && mayGo(limiter) && isSession(key)) limits.delete(key);
    }
  }
}
