// What the inspector's routes answer, and its feed sends: the types that the server, the page and the terminal commands
// share. Types only: nothing of it is there at run time.

/**
 * Who or what a call failed by, or was slow by. `limit` is the platform's rate limits, `reader` the caller's own slow
 * reading.
 */
export type Culprit = 'caller' | 'rule' | 'token' | 'limit' | 'proxy' | 'network' | 'platform' | 'gateway' | 'reader';

/**
 * One finished call: the fields of its log record (docs/logging.md), redacted as there, and what the inspector adds.
 * Times in ms, sizes in bytes. What there is nothing to say about is absent.
 */
export interface Call {
  /** Its number in this instance, larger than those of calls that ended before. */
  readonly seq: number;
  readonly level: string;
  readonly time: string;
  readonly requestId: string;
  readonly client?: string;
  readonly credential?: string;
  readonly method: string;
  readonly path: string;
  readonly route: string;
  readonly status: number;
  readonly durationMs: number;
  readonly upstreamMs: number;
  readonly tokenWaitMs: number;
  readonly queueMs: number;
  readonly attempts: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly correlationId?: string;
  readonly tokenFingerprint?: string;
  readonly peer?: string;
  readonly userAgent?: string;
  readonly source: 'upstream' | 'gateway';
  readonly errorCode?: string;
  readonly error?: string;
  readonly rule?: string;
  /** The Host or the Origin that was not let in. */
  readonly refused?: string;
  /** When the answer said to try again. */
  readonly retryAfterMs?: number;
  readonly secretFingerprint?: string;
  readonly claimedClient?: string;
  readonly sessionUser?: string;
  readonly authorizationReplaced?: boolean;
  readonly operation?: string;
  readonly explanation?: string;
  readonly retries?: readonly string[];
  readonly closeCode?: number;
  readonly heldBy?: string;
  /** The platform's name of the limit that refused it. */
  readonly limit?: string;
  readonly aborted?: boolean;
  readonly traceId?: string;
  readonly spanId?: string;
  /** The platform's own words for a failure. */
  readonly platform?: { readonly code?: string; readonly message?: string };
  /** Where its time went; only while somebody watches, and of a flood only of some calls. */
  readonly trace?: CallTrace;
  /** The request id of the call that it repeats, and who asked for that. */
  readonly replayOf?: string;
  readonly replayedBy?: string;
}

/** A stretch of a call's time: ms from when the call was accepted, and how long. */
export interface Stretch {
  readonly at: number;
  readonly ms: number;
}

/** Where the time of one call went. */
export interface CallTrace {
  /** From accept until it was handed to the layers: admission, rules, a small body. */
  readonly rules: number;
  /** Waits for a limit, a token, before another try, in their order. */
  readonly waits: readonly (Stretch & { readonly for: 'queue' | 'token' | 'pause' })[];
  readonly attempts: readonly Attempt[];
  /** How long the answer stood still because the caller did not read it. */
  readonly stalled: number;
}

/** One attempt. Durations are absent for phases that it did not come to. */
export interface Attempt extends Stretch {
  /** Waited for a connection. */
  readonly pool?: number;
  /** How its connection was made; absent where it was there already. `proxy` is the CONNECT of a corporate proxy. */
  readonly dial?: { readonly dns?: number; readonly tcp?: number; readonly proxy?: number; readonly tls?: number };
  /** For a connection that was there already: its age, and how long it had been idle, where that is known. */
  readonly age?: number;
  readonly idle?: number;
  readonly send?: number;
  /** From the request's last octet to the answer's first. */
  readonly wait?: number;
  readonly body?: number;
  readonly status?: number;
  readonly error?: string;
  /** What the platform asked to wait, in ms. */
  readonly retryAfter?: number;
}

/** `GET /-/calls`, newest first. */
export interface CallsAnswer {
  /** Another one after each start of the gateway: numbers of two instances are not comparable. */
  readonly instance: string;
  /**
   * Numbers of the oldest and newest call that are kept, for whoever sees only some: of this answer; null where there
   * is none.
   */
  readonly oldest: number | null;
  readonly newest: number | null;
  /** Time of the oldest call that is kept, where earlier ones fell out. */
  readonly keptSince: string | null;
  /** Whether older calls match as well. */
  readonly more: boolean;
  readonly calls: readonly Call[];
}

/** Why a call failed or was slow: who, what happened, what to do. Plain texts, without markup. */
export interface Why {
  readonly who: Culprit;
  /** One line: `the corporate proxy wants a password`. */
  readonly title: string;
  /** A sentence or two with the facts of this call. */
  readonly text: string;
  /** What to do, the best first: sentences, lines of configuration, commands. */
  readonly todo: readonly string[];
}

/** `GET /-/calls/ID`. */
export interface CallAnswer {
  readonly instance: string;
  readonly call: Call;
  /** Null for a call that went well and was not slow. */
  readonly why: Why | null;
  readonly replay: { readonly possible: boolean; readonly needsConfirmation: boolean; readonly reason: string | null };
  /** What a copy of it is made with. */
  readonly copy: CopyFacts;
  /** What a capture kept, redacted; absent where none ran. */
  readonly captured?: {
    readonly requestHeaders?: readonly (readonly [name: string, value: string])[];
    /** As they went to the platform. */
    readonly sentHeaders?: readonly (readonly [name: string, value: string])[];
    readonly responseHeaders?: readonly (readonly [name: string, value: string])[];
    readonly requestBody?: string;
    /** It stands there as it came, octet for octet. */
    readonly isRequestBodyWhole?: true;
    readonly responseBody?: string;
  };
}

/** Where a copy of a call goes, and which operation it is. */
export interface CopyFacts {
  /** The gateway's address for calls, without a slash at its end. */
  readonly base: string;
  /** Whether callers have to prove who they are. */
  readonly needsKey: boolean;
  /** Null for one that is not in the table. */
  readonly operation: { readonly id: string; readonly tag: string; readonly path: string } | null;
}

/** What `POST /-/calls/ID/replay` takes. */
export interface ReplayWish {
  /** `METHOD path`, as the call has them, for a call that may change something. */
  readonly confirm?: string;
  /** Also while a limit that the call counts for is paused. */
  readonly anyway?: boolean;
}

/** What it answers: the request id of the new call, which may still run. */
export interface ReplayAnswer {
  readonly id: string;
}

/** What a watcher may do and see. */
export interface Rights {
  /** `own`: calls of its own client only. */
  readonly sees: 'all' | 'own';
  readonly client: string | null;
  readonly capture: boolean;
  readonly replay: 'off' | 'safe' | 'confirm';
  readonly clear: boolean;
}

/** A running call, while somebody has the list open. */
export interface RunningCall {
  readonly requestId: string;
  readonly client?: string;
  readonly credential?: string;
  readonly method: string;
  readonly path: string;
  readonly startedAt: string;
  /** What it waits for now, in words; null while it is on its way. */
  readonly waitsFor: string | null;
}

/** The answer of `POST` and `DELETE /-/capture`: what is captured just now, null where nothing is. */
export interface CaptureState {
  readonly what: 'headers' | 'bodies' | null;
  readonly until: string | null;
  /** The client that asked; null for who has no name. */
  readonly by: string | null;
  /** How many calls more it takes. */
  readonly left: number;
  /** Calls whose headers, or bodies, are kept. */
  readonly kept: number;
  /** Calls that found no room. */
  readonly missed: number;
}

/** The events of `GET /-/events`: `event` is the key, `data` the value as JSON; `id` is INSTANCE-SEQ. */
export interface FeedEvents {
  readonly hello: {
    readonly instance: string;
    readonly version: string;
    readonly now: string;
    readonly oldest: number | null;
    readonly newest: number | null;
    readonly rights: Rights;
    readonly watchers: number;
    /** What was asked for is not kept any more, or was another instance's: read the list again. */
    readonly reset: boolean;
  };
  /** A frame of calls, oldest first. `sampled` n: of the successes only each n-th is told. */
  readonly calls: { readonly calls: readonly Call[]; readonly sampled?: number };
  /** At most 100 of `count`, those that began first. */
  readonly running: { readonly calls: readonly RunningCall[]; readonly count: number };
  readonly token: Readonly<Record<string, unknown>>;
  readonly limit: Readonly<Record<string, unknown>>;
  readonly stats: { readonly callsPerSecond: number; readonly running: number; readonly watchers: number };
  readonly reload: Readonly<Record<string, unknown>>;
  readonly capture: CaptureState;
  readonly gap: { readonly missed: number; readonly resumeAt: number };
  readonly bye: { readonly reason: string };
}
