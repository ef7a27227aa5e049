// Events for tests to wait for instead of sleeping, and counters.
// `rawHeaders` of an event carries what the client sent, credentials included: for assertions, never for a log.

import { EventEmitter } from 'node:events';

/** One request to the simulation. `status` is 0 when the connection was closed before an answer was complete. */
export interface SandboxRequest {
  id: number;
  kind: 'token' | 'login' | 'api' | 'socket' | 'control' | 'other';
  method: string;
  /** The request target as it came. */
  target: string;
  rawHeaders: readonly string[];
  correlationId: string;
  grant?: string;
  clientId?: string;
  /** Serial number of the access token that was shown, or that was given out. */
  tokenSerial?: number;
  status?: number;
}

/**
 * `request` on arrival, `held` when it begins to wait for `release`, `answer` when the exchange has ended in any way;
 * `message`, `pong` and `socketClose` for what a channel's socket received.
 */
interface SandboxEventMap {
  request: [SandboxRequest];
  held: [SandboxRequest];
  answer: [SandboxRequest];
  message: [{ channelId: string; text: string }];
  pong: [{ channelId: string; payload: Buffer }];
  socketClose: [{ channelId: string; code: number; reason: string }];
}

/** The recent requests, and waiting for coming ones. */
export interface EventLog {
  readonly emitter: EventEmitter<SandboxEventMap>;
  /** The latest 1,000 requests, oldest first. */
  readonly recent: readonly SandboxRequest[];
  record(request: Omit<SandboxRequest, 'id'>): SandboxRequest;
  /** Resolves with the next event that matches; looks only forward. Rejects when the simulation closes. */
  next(event: 'request' | 'held' | 'answer', matches?: (request: SandboxRequest) => boolean): Promise<SandboxRequest>;
  close(): void;
}

const KEPT = 1000;
const MAX_WAITERS = 10_000;

export function createEventLog(): EventLog {
  const emitter = new EventEmitter<SandboxEventMap>();
  emitter.setMaxListeners(MAX_WAITERS);
  const recent: SandboxRequest[] = [];
  const waiting = new Set<() => void>();
  let id = 0;
  return {
    emitter,
    recent,
    record(fields) {
      const request: SandboxRequest = { id: ++id, ...fields };
      recent.push(request);
      if (recent.length > KEPT) recent.shift();
      emitter.emit('request', request);
      return request;
    },
    next(event, matches = () => true) {
      return new Promise((resolve, reject) => {
        const listener = (request: SandboxRequest) => {
          if (!matches(request)) return;
          forget();
          resolve(request);
        };
        const abandon = () => {
          forget();
          reject(new Error(`the simulation closed before the awaited ${event}`));
        };
        const forget = () => {
          emitter.off(event, listener);
          waiting.delete(abandon);
        };
        waiting.add(abandon);
        emitter.on(event, listener);
      });
    },
    close() {
      for (const abandon of waiting) abandon();
    },
  };
}

/** A copy of the counters at one moment. */
export interface SandboxStats {
  /**
   * By grant (`client_credentials`, `authorization_code`, `pkce`, `saml2_bearer`, `refresh_token`, `implicit`,
   * `unknown`), then by result (`ok`, an OAuth error, or `fault:NAME`).
   */
  tokenRequests: Record<string, Record<string, number>>;
  tokenRequestsTotal: number;
  tokensIssued: number;
  /** Tokens that would be accepted now. */
  validTokens: number;
  /** By status; `closed` counts calls whose connection was closed before an answer. */
  apiCalls: Record<string, number>;
  apiCallsTotal: number;
  /** Calls with no Bearer token at all. */
  unauthenticatedCalls: number;
  /** Calls with a token that had expired. */
  expiredTokenCalls: number;
  /** Calls with a token that is unknown here, or was revoked. */
  unknownTokenCalls: number;
  rateLimitedCalls: number;
  /** A rotated refresh token shown again outside the grace window: the family was revoked. */
  refreshReuse: number;
  /** A rotated refresh token shown again within the grace window: the same successor was given. */
  refreshGraceUses: number;
  inFlight: { token: number; api: number };
  /** The highest numbers of `inFlight` so far. */
  peak: { token: number; api: number };
  sockets: number;
}

/** Counts what the simulation does. */
export interface StatsCounter {
  tokenRequest(grant: string, result: string): void;
  apiCall(status: string): void;
  add(
    name:
      | 'unauthenticatedCalls'
      | 'expiredTokenCalls'
      | 'unknownTokenCalls'
      | 'rateLimitedCalls'
      | 'refreshReuse'
      | 'refreshGraceUses',
  ): void;
  /** Marks a request as under way; call the result once when it ends. */
  enter(kind: 'token' | 'api'): () => void;
  snapshot(live: { tokensIssued: number; validTokens: number; sockets: number }): SandboxStats;
  reset(): void;
}

const ZERO = {
  unauthenticatedCalls: 0,
  expiredTokenCalls: 0,
  unknownTokenCalls: 0,
  rateLimitedCalls: 0,
  refreshReuse: 0,
  refreshGraceUses: 0,
};

export function createStats(): StatsCounter {
  const counts = { ...ZERO };
  const inFlight = { token: 0, api: 0 };
  const peak = { token: 0, api: 0 };
  let tokenRequests: Record<string, Record<string, number>> = {};
  let apiCalls: Record<string, number> = {};
  const sum = (record: Record<string, number>) => Object.values(record).reduce((total, count) => total + count, 0);
  return {
    tokenRequest(grant, result) {
      const results = tokenRequests[grant] ?? {};
      tokenRequests[grant] = results;
      results[result] = (results[result] ?? 0) + 1;
    },
    apiCall(status) {
      apiCalls[status] = (apiCalls[status] ?? 0) + 1;
    },
    add(name) {
      counts[name]++;
    },
    enter(kind) {
      inFlight[kind]++;
      peak[kind] = Math.max(peak[kind], inFlight[kind]);
      let left = false;
      return () => {
        if (!left) inFlight[kind]--;
        left = true;
      };
    },
    snapshot: (live) => ({
      tokenRequests: structuredClone(tokenRequests),
      tokenRequestsTotal: Object.values(tokenRequests).reduce((total, results) => total + sum(results), 0),
      apiCalls: { ...apiCalls },
      apiCallsTotal: sum(apiCalls),
      ...counts,
      ...live,
      inFlight: { ...inFlight },
      peak: { ...peak },
    }),
    reset() {
      Object.assign(counts, ZERO);
      Object.assign(peak, inFlight);
      tokenRequests = {};
      apiCalls = {};
    },
  };
}
