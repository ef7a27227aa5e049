// What an explanation needs beyond the call's own line: things that only the running gateway knows, as they are now.
// Types only; the server fills them in, without a secret, and without names that the viewer may not see.

/** The credential of a call, as it is now. Times in epoch ms. */
export interface CredentialFacts {
  readonly name: string;
  readonly grantType: string;
  /** The region's domain. */
  readonly region: string;
  /** Host of the login server. */
  readonly loginHost: string;
  readonly token: string;
  readonly renewal: string;
  readonly nextAttemptAt: number | null;
  readonly lastError: string | null;
  /** Where its client secret comes from: `client_secret_file /run/secrets/x`; null without one. */
  readonly secretFrom: string | null;
  /** Since when the token that the call was sent with is in use; null where that is another one by now. */
  readonly tokenSince: number | null;
  readonly hasLogin: boolean;
}

/** A limit that the call is counted by. */
export interface LimitFacts {
  readonly name: string;
  /** Null while the platform has named no number. */
  readonly perMinute: number | null;
  /** Calls of the last minute, and those that wait, now. */
  readonly used: number;
  readonly waiting: number;
  readonly pausedMs: number;
}

/** How many calls of a client went through in the minute before the call. */
export interface UsedBy {
  /** Null: callers who are no client. */
  readonly client: string | null;
  readonly calls: number;
}

/** How connections to the platform leave this network. */
export interface WayOut {
  /** `direct`, `http://proxy:3128`, `PAC file …`. */
  readonly via: string;
  /** The setting that decided: `proxy.url`, `HTTPS_PROXY`, `no proxy is configured`. */
  readonly reason: string;
}

/** Settings that bound what calls may do; times in ms, sizes in bytes. */
export interface LimitingSettings {
  readonly totalWaitMs: number;
  readonly connectMs: number;
  readonly headersMs: number;
  readonly tokenWaitMs: number;
  /** 0: none. */
  readonly maxBodyBytes: number;
  readonly queueMax: number;
  readonly connections: number;
  readonly retryMax: number;
}

/** All of them. What is not known is null. */
export interface WhyFacts {
  /** Epoch ms. */
  readonly now: number;
  readonly credential: CredentialFacts | null;
  /** The limit that held the call or refused it. */
  readonly limit: LimitFacts | null;
  /** With the same credential; most first. Null where calls of that minute are not kept. */
  readonly usedBy: readonly UsedBy[] | null;
  /** Whether only the viewer's own are in it: others may have used the rest. */
  readonly areOthersHidden: boolean;
  readonly wayOut: WayOut | null;
  readonly settings: LimitingSettings | null;
  /** Names of the credentials that the caller may use. */
  readonly usable: readonly string[];
}

/** For an explanation by the call alone. */
export const NO_FACTS: WhyFacts = {
  now: 0,
  credential: null,
  limit: null,
  usedBy: null,
  areOthersHidden: false,
  wayOut: null,
  settings: null,
  usable: [],
};
