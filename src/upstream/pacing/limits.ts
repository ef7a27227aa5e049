// All limits that are at work or being watched: one lane per credential, per limited endpoint, per client with a limit of its own.
// Lanes that hold nothing are forgotten when there are too many.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { credentialOfLimit, type UpstreamRequest } from '../call.ts';
import { createLane, type Lane, type WaitingRoom } from './lane.ts';
import type { LimitNotice } from './limit-notice.ts';
import { createRateWindow, type RateWindow } from './rate-window.ts';
import { MINUTE_MS } from './rolling-count.ts';
import { createShares } from './shares.ts';

const MAX_LANES = 1_000;
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

/** `routeOf` gives method and route template: few different ones. */
export interface LimitsDeps {
  readonly clock: Clock;
  readonly settings: GatewayConfig['rateLimit'];
  readonly clients: readonly ClientConfig[];
  readonly routeOf: (method: string, target: string) => string;
}

/** The limits of the configuration before: what they counted and learnt of the credentials that are kept goes on to count. */
export interface PreviousLimits {
  readonly limits: Limits;
  readonly isKept: (credential: string) => boolean;
}

/** A lane and what it is for. `route` is null for the limit of a whole credential; `credential` is null for a client's own limit. */
interface HeldLane {
  readonly credential: string | null;
  readonly route: string | null;
  readonly client: string | null;
  readonly lane: Lane;
  readonly learntAt: number | undefined;
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
  /** For the limits of the next configuration. */
  held(): Iterable<HeldLane>;
}

/** Opens no timer until somebody waits. */
export function createLimits({ clock, settings, clients, routeOf }: LimitsDeps, previous?: PreviousLimits): Limits {
  const room: WaitingRoom = { waiting: 0, max: settings.queueMax };
  const names = clients.map(({ name }) => name);
  const configured = settings.requestsPerMinute === 'auto' ? Number.POSITIVE_INFINITY : settings.requestsPerMinute;
  const credentials = new Map<string, Lane>();
  const endpoints = new Map<string, Lane>();
  const own = new Map<string, Lane>();
  const learntAt = new WeakMap<Lane, number>();
  for (const { name, requestsPerMinute } of clients) {
    if (requestsPerMinute === null) continue;
    const window = clientWindow(previous, name) ?? createRateWindow({ perMinute: requestsPerMinute, isCautious: false });
    window.perMinute = requestsPerMinute;
    own.set(name, createLane({ name: `requests_per_minute of client ${name}`, clock, window, room, shares: null }));
  }

  const make = (lanes: Map<string, Lane>, key: string, name: string, perMinute: number): Lane => {
    if (lanes.size >= MAX_LANES) forgetIdle(lanes, clock.monotonic());
    const window = createRateWindow({ perMinute, isCautious: lanes === credentials });
    const lane = createLane({ name, clock, window, room, shares: names.length > 0 ? createShares(names) : null });
    lanes.set(key, lane);
    return lane;
  };

  // The windows are shared, not copied: calls that still run under the configuration before go on to count.
  for (const { credential, route, lane, learntAt: at } of previous?.limits.held() ?? []) {
    if (credential === null || !previous?.isKept(credentialOfLimit(credential))) continue;
    const { window, name, pausedUntil } = lane;
    if (route === null) window.perMinute = at === undefined ? configured : Math.min(window.perMinute, configured);
    const taken = createLane({ name, clock, window, room, shares: names.length > 0 ? createShares(names) : null });
    if (pausedUntil > clock.monotonic()) taken.pauseUntil(pausedUntil);
    if (at !== undefined) learntAt.set(taken, at);
    if (route === null) credentials.set(credential, taken);
    else endpoints.set(`${credential} ${route}`, taken);
  }

  function* held(): Iterable<HeldLane> {
    const none = { route: null, client: null };
    for (const [credential, lane] of credentials) yield { ...none, credential, lane, learntAt: learntAt.get(lane) };
    for (const [key, lane] of endpoints) {
      const space = key.indexOf(' ');
      yield { ...none, credential: key.slice(0, space), route: key.slice(space + 1), lane, learntAt: learntAt.get(lane) };
    }
    for (const [client, lane] of own) yield { ...none, credential: null, client, lane, learntAt: undefined };
  }

  const forgetOld = (lane: Lane, initial: number) => {
    const at = learntAt.get(lane);
    if (at === undefined || clock.monotonic() - at < LEARNT_FOR_MS) return;
    learntAt.delete(lane);
    lane.window.perMinute = initial;
    lane.reconsider();
  };

  const ofCredential = (credential: string): Lane => {
    const lane = credentials.get(credential) ?? make(credentials, credential, `the platform's limit of credential ${credential}`, configured);
    if (lane.window.perMinute !== configured) forgetOld(lane, configured);
    return lane;
  };

  return {
    ofCredential,
    ofClient: (client) => (client === null || own.size === 0 ? undefined : own.get(client)),
    ofEndpoint: ({ credential, method, target }) => (endpoints.size === 0 ? undefined : endpoints.get(`${credential} ${routeOf(method, target)}`)),
    learn({ credential, method, target }, { scope, key, perMinute }) {
      let lane: Lane;
      if (scope === 'token') lane = ofCredential(credential);
      else {
        const route = routeOf(method, target);
        const key = `${credential} ${route}`;
        lane = endpoints.get(key) ?? make(endpoints, key, `the platform's limit of ${route} for credential ${credential}`, Number.POSITIVE_INFINITY);
      }
      if (key !== null && scope === 'token') lane.name = `the platform's limit ${key} of credential ${credential}`;
      if (perMinute === null) return lane;
      lane.window.perMinute = scope === 'token' ? Math.min(perMinute, configured) : perMinute;
      learntAt.set(lane, clock.monotonic());
      return lane;
    },
    held,
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

function clientWindow(previous: PreviousLimits | undefined, name: string): RateWindow | undefined {
  for (const { client, lane } of previous?.limits.held() ?? []) if (client === name) return lane.window;
  return undefined;
}

function forgetIdle(lanes: Map<string, Lane>, now: number): void {
  for (const [key, lane] of lanes) if (lane.waiting === 0 && lane.pausedUntil <= now && lane.window.used(now) === 0) lanes.delete(key);
}
