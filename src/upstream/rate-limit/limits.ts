// The limits that are known: of tokens, of routes; what each holds back, and what of that is said in logs and status.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import type { Log } from '../../logging/log.ts';
import { credentialOfLimit, type UpstreamRequest, WaitingRoom } from '../call.ts';
import type { LimitNotice } from '../platform-error.ts';
import { createLane, type Lane } from './rate-limiter.ts';
import { createRateWindow, MINUTE_MS } from './rate-window.ts';
import { createShares } from './shares.ts';

const MOST_ENDPOINTS = 1_000;
/** As many as there may be sessions, each of which has a limit of its own (auth/sessions). */
const MOST_CREDENTIALS = 10_000;
/** A limit that was learnt is forgotten after this, in case the platform has raised it. */
const LEARNT_FOR_MS = 30 * MINUTE_MS;

/** What a limit is doing, for `status`. */
export interface LimitState {
  readonly name: string;
  /** Null for a client's own limit. */
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
export type LimitedCall = Pick<UpstreamRequest, 'credential' | 'method' | 'target'>;

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

/**
 * A lane and what it is for. `route` is null for the limit of a whole credential; `credential` is null for a client's
 * own limit.
 */
interface HeldLane {
  readonly credential: string | null;
  readonly route: string | null;
  readonly client: string | null;
  readonly lane: Lane;
  readonly learnt: Learnt | undefined;
}

/** What the platform said of a limit, and when (monotonic ms). */
interface Learnt {
  readonly perMinute: number;
  readonly at: number;
}

/** The registry. */
export interface Limits {
  ofCredential(credential: string): Lane;
  /** The client's own limit, where it has one. */
  ofClient(client: string | null): Lane | undefined;
  /** The limit of the call's method and route, where one is known. */
  ofEndpoint(call: LimitedCall): Lane | undefined;
  /** Takes note of a refusal: learns the limit and its size; gives the lane that is concerned. Pauses nothing. */
  learn(call: LimitedCall, notice: LimitNotice): Lane;
  states(): LimitState[];
  /**
   * For the limits of the next configuration, which go on with the same lanes: calls that still run or wait here are
   * counted, and served in turn, with its own.
   */
  held(): Iterable<HeldLane>;
  /** Where calls wait for connections as well. */
  readonly room: WaitingRoom;
  readonly names: readonly string[];
}

/** Opens no timer until somebody waits. */
export function createLimits({ clock, settings, clients, routeOf }: LimitsDeps, previous?: PreviousLimits): Limits {
  const room: WaitingRoom = previous?.limits.room ?? new WaitingRoom();
  room.max = settings.queueMax;
  const names = clients.map(({ name }) => name);
  const areNamesKept = names.join() === previous?.limits.names.join();
  const configured = settings.requestsPerMinute === 'auto' ? Number.POSITIVE_INFINITY : settings.requestsPerMinute;
  const credentials = new Map<string, Lane>();
  const endpoints = new Map<string, Lane>();
  const own = new Map<string, Lane>();
  const learnt = new WeakMap<Lane, Learnt>();

  /** A session is one client's. */
  const sharesOf = (credential: string) => (names.length === 0 || isSession(credential) ? null : createShares(names));

  const make = (lanes: Map<string, Lane>, credential: string, key: string, name: string, perMinute: number): Lane => {
    if (lanes.size >= (lanes === credentials ? MOST_CREDENTIALS : MOST_ENDPOINTS))
      thinOut(lanes, lanes === credentials, clock.monotonic());
    const window = createRateWindow({ perMinute, isCautious: lanes === credentials });
    const lane = createLane({ name, clock, window, room, shares: sharesOf(credential) });
    lanes.set(key, lane);
    return lane;
  };

  for (const { credential, route, client, lane, learnt: was } of previous?.limits.held() ?? []) {
    if (client !== null) own.set(client, lane);
    if (credential === null || !previous?.isKept(credentialOfLimit(credential))) continue;
    if (was !== undefined) learnt.set(lane, was);
    if (!areNamesKept) lane.shares = sharesOf(credential);
    if (route === null) {
      lane.window.perMinute = Math.min(was?.perMinute ?? Number.POSITIVE_INFINITY, configured);
      credentials.set(credential, lane);
    } else endpoints.set(`${credential} ${route}`, lane);
    lane.reconsider();
  }

  for (const name of own.keys())
    if (!clients.some((client) => client.name === name && client.requestsPerMinute !== null)) own.delete(name);
  for (const { name, requestsPerMinute } of clients) {
    if (requestsPerMinute === null) continue;
    const window = createRateWindow({ perMinute: requestsPerMinute, isCautious: false });
    const lane =
      own.get(name) ?? createLane({ name: `requests_per_minute of client ${name}`, clock, window, room, shares: null });
    lane.window.perMinute = requestsPerMinute;
    own.set(name, lane);
    lane.reconsider();
  }

  function* held(): Iterable<HeldLane> {
    const none = { route: null, client: null };
    for (const [credential, lane] of credentials) yield { ...none, credential, lane, learnt: learnt.get(lane) };
    for (const [key, lane] of endpoints) {
      const space = key.indexOf(' ');
      yield { ...none, credential: key.slice(0, space), route: key.slice(space + 1), lane, learnt: learnt.get(lane) };
    }
    for (const [client, lane] of own) yield { ...none, credential: null, client, lane, learnt: undefined };
  }

  const forgetOld = (lane: Lane, initial: number) => {
    const was = learnt.get(lane);
    if (was === undefined || clock.monotonic() - was.at < LEARNT_FOR_MS) return;
    learnt.delete(lane);
    lane.window.perMinute = initial;
    lane.reconsider();
  };

  const ofCredential = (credential: string): Lane => {
    const lane =
      credentials.get(credential) ??
      make(credentials, credential, credential, `the platform's limit of credential ${credential}`, configured);
    if (lane.window.perMinute !== configured) forgetOld(lane, configured);
    return lane;
  };

  return {
    ofCredential,
    ofClient: (client) => (client === null || own.size === 0 ? undefined : own.get(client)),
    ofEndpoint({ credential, method, target }) {
      if (endpoints.size === 0) return undefined;
      const lane = endpoints.get(`${credential} ${routeOf(method, target)}`);
      if (lane !== undefined && lane.window.perMinute !== Number.POSITIVE_INFINITY)
        forgetOld(lane, Number.POSITIVE_INFINITY);
      return lane;
    },
    learn({ credential, method, target }, { scope, key, perMinute }) {
      let lane: Lane;
      if (scope === 'token') lane = ofCredential(credential);
      else {
        const route = routeOf(method, target);
        const key = `${credential} ${route}`;
        const name = `the platform's limit of ${route} for credential ${credential}`;
        lane = endpoints.get(key) ?? make(endpoints, credential, key, name, Number.POSITIVE_INFINITY);
      }
      if (key !== null && scope === 'token') lane.name = `the platform's limit ${key} of credential ${credential}`;
      if (perMinute === null) return lane;
      lane.window.perMinute = scope === 'token' ? Math.min(perMinute, configured) : perMinute;
      learnt.set(lane, { perMinute, at: clock.monotonic() });
      return lane;
    },
    held,
    room,
    names,
    states() {
      const now = clock.monotonic();
      return [...held()].map(({ credential, lane: { name, window, waiting, pausedUntil } }) => ({
        name,
        credential,
        perMinute: window.perMinute === Number.POSITIVE_INFINITY ? null : window.perMinute,
        used: window.used(now),
        waiting,
        pausedMs: Math.max(0, Math.round(pausedUntil - now)) || 0,
      }));
    },
  };
}

function isSession(credential: string): boolean {
  return credentialOfLimit(credential) !== credential;
}

/**
 * Makes room for a tenth more, so that it is not looked for again at once. What is forgotten of a limit costs one more
 * refusal; the limits of configured credentials are few, and stay.
 */
function thinOut(lanes: Map<string, Lane>, areCredentials: boolean, now: number): void {
  const goal = lanes.size * 0.9;
  const isIdle = (lane: Lane) => lane.pausedUntil <= now && lane.window.used(now) === 0;
  for (const mayGo of [isIdle, () => true]) {
    for (const [key, lane] of lanes) {
      if (lanes.size <= goal) return;
      if (lane.waiting === 0 && mayGo(lane) && !(areCredentials && !isSession(key))) lanes.delete(key);
    }
  }
}

const PERIOD_MS = 10_000;

/** Counts in between; the next line tells the number. */
export function createReport(log: Log, clock: Clock): { held(limit: string): void } {
  let saidAt = Number.NEGATIVE_INFINITY;
  let count = 0;
  return {
    held(limit) {
      count += 1;
      if (clock.monotonic() - saidAt < PERIOD_MS) return;
      saidAt = clock.monotonic();
      log.warn({ limit, calls: count }, 'calls would have been held back (rate_limit.mode = report)');
      count = 0;
    },
  };
}
