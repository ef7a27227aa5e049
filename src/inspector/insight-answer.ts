// What `GET /-/insight` answers: how calls, tokens and limits went over a span of time. Types only. Times are ISO 8601,
// spans in ms, sizes in bytes.

import type { Culprit } from './wire.ts';

/** A column of a series, one value for each step; null where nothing was noted. */
export type SeriesValues = readonly (number | null)[];

/** Values over time, by their names; those of clients are `client:NAME`, those of limits `used:CREDENTIAL`. */
export interface InsightSeries {
  /** Where the first step begins, epoch ms, and how long each is. */
  readonly from: number;
  readonly stepMs: number;
  readonly columns: Readonly<Record<string, SeriesValues>>;
}

/** What the tables are made of: the calls that are kept, as far as they reach back. */
export interface InsightReach {
  readonly calls: number;
  /** Where they begin; null where there is none. */
  readonly since: string | null;
  /** Whether they are all calls of the span. */
  readonly isWhole: boolean;
}

/** The calls of one method and route. */
export interface RouteInsight {
  readonly method: string;
  readonly route: string;
  readonly calls: number;
  readonly failures: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Attempts beyond the first. */
  readonly retries: number;
  /** Answers 429 of the platform, whether the caller saw them or not. */
  readonly limited: number;
  /** Calls, and failures among them, by parts of the span. */
  readonly spark: readonly (readonly [calls: number, failures: number])[];
}

/** The calls of one client; `client` null stands for callers who are none. */
export interface ClientInsight {
  readonly client: string | null;
  readonly calls: number;
  readonly failures: number;
  /** Of all attempts at the platform of the span: from 0 to 1. */
  readonly share: number;
  readonly culprits: Readonly<Partial<Record<Culprit, number>>>;
  /** Answers 429 that the gateway gave, and that the platform did. */
  readonly limitedByGateway: number;
  readonly limitedByPlatform: number;
  /** By rule, those with most first: calls that were refused, and that would be (mode `report`). */
  readonly denied: readonly RuleCount[];
  readonly wouldBeDenied: readonly RuleCount[];
  /** How long its calls waited for limits, and how long those of others did because of it. */
  readonly queueMs: number;
  readonly causedMs: number;
  readonly lastSeenAt: string | null;
  /** Since the gateway's start; absent for who may not know. */
  readonly sinceStart?: { readonly calls: number; readonly refused: number; readonly rejected: number };
  readonly state?: 'active' | 'blocked' | 'expired';
  readonly sockets?: number;
}

/** How often a rule was met. */
export interface RuleCount {
  readonly rule: string;
  readonly calls: number;
}

/** A limit, and who uses it. */
export interface LimitInsight {
  readonly name: string;
  readonly scope: string;
  readonly limit: string | null;
  readonly credential: string | null;
  readonly organization: string | null;
  readonly routes: readonly string[] | null;
  readonly perMinute: number | null;
  readonly source: 'configured' | 'asked' | 'met' | 'shared' | null;
  readonly used: number;
  readonly waiting: number;
  readonly pausedMs: number;
  /** Calls of the last minute by client, most first; null where that is not known. */
  readonly usedBy: readonly { readonly client: string | null; readonly calls: number }[] | null;
  /** Those that wait, in their order, and when each may start as things stand. At most 50. */
  readonly line: readonly QueuedCall[];
  /** Answers 429 in the span that named it: seen, absorbed by another try, and passed on; and the last of them. */
  readonly refusals: { readonly seen: number; readonly absorbed: number; readonly passed: number };
  readonly lastRefusalAt: string | null;
}

/** A call that waits. `client`, `requestId`: as far as the viewer may know. */
export interface QueuedCall {
  readonly client: string | null;
  readonly requestId?: string;
  readonly waitedMs: number;
  readonly startsInMs: number;
}

/** A state of a token, from a time on. */
export interface LaneState {
  readonly at: number;
  readonly token: string;
  readonly renewal: string;
}

/** What happened to it: it was renewed, or an attempt failed, with the code. */
export interface LaneMark {
  readonly at: number;
  readonly kind: 'renewed' | 'failed';
  readonly code?: string;
}

/** A credential over a day. */
export interface CredentialInsight {
  readonly name: string;
  readonly grantType: string;
  readonly token: string;
  readonly renewal: string;
  readonly expiresAt: string | null;
  readonly fingerprint: string | null;
  readonly nextAttemptAt: string | null;
  readonly lastError: { readonly code: string; readonly message: string; readonly at: string } | null;
  readonly renewals: number;
  readonly failures: number;
  readonly required: boolean;
  readonly hasLogin: boolean;
  /** What to call it: the organisation, the client or the user that the platform named; null where nobody knows. */
  readonly identity: string | null;
  readonly region: string;
  /** Its tokens by number, where it may have several. */
  readonly tokens: readonly { readonly number: number; readonly token: string; readonly used: number }[] | null;
  readonly lane: { readonly states: readonly LaneState[]; readonly marks: readonly LaneMark[] };
  /** Calls of the span that waited for its token. */
  readonly waited: { readonly calls: number; readonly ms: number; readonly longestMs: number };
}

/** The gateway itself. */
export interface GatewayInsight {
  readonly status: string;
  readonly version: string;
  readonly node: string;
  readonly startedAt: string;
  readonly memoryBytes: number;
  readonly connections: { readonly active: number; readonly idle: number; readonly unused: number };
  readonly origins: readonly {
    readonly origin: string;
    readonly breaker: string;
    readonly running: number;
    readonly waiting: number;
    /** The way that its calls leave by, and why. */
    readonly via: string;
    readonly reason: string;
  }[];
  readonly sockets: number;
  readonly store: { readonly type: string; readonly error: string | null };
  readonly audit: { readonly failure: string | null; readonly lost: number } | null;
  readonly logDropped: number;
  readonly files: readonly string[];
  /** Whether it can be told to read them again. */
  readonly canReload: boolean;
  readonly reloads: readonly {
    readonly at: string;
    readonly trigger?: string;
    readonly applied: boolean;
    readonly changed?: readonly string[];
    readonly restart?: readonly string[];
    readonly problems?: readonly string[];
  }[];
  readonly certificates: readonly { readonly use: string; readonly subject: string; readonly expiresAt: string }[];
  readonly watchers: readonly {
    readonly client: string | null;
    readonly peer: string | null;
    readonly since: string;
  }[];
  readonly keys: readonly { readonly client: string; readonly givenAt: string; readonly lastUsedAt: string }[];
}

/** `GET /-/insight?span=15m`. */
export interface Insight {
  readonly instance: string;
  readonly now: string;
  readonly startedAt: string;
  readonly spanMs: number;
  readonly reach: InsightReach;
  readonly series: InsightSeries;
  readonly routes: readonly RouteInsight[];
  /** Routes beyond those. */
  readonly moreRoutes: number;
  readonly clients: readonly ClientInsight[];
  readonly limits: readonly LimitInsight[];
  readonly credentials: readonly CredentialInsight[];
  /** Null for who may see only calls of its own. */
  readonly gateway: GatewayInsight | null;
}
