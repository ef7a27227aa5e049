// What a token is, what yields tokens, the states of both, and how acquiring one fails. Types and values only.

import { type ErrorCode, GatewayError, isGatewayError } from '../../errors.ts';
import type { Secret } from '../../secret.ts';

/**
 * Whether there is a token and how good it is (docs/tokens.md). `suspect`: valid by the clocks, but the upstream
 * refused it.
 */
export type TokenState = 'none' | 'fresh' | 'due' | 'suspect' | 'expired';

/** Whether calls are sent with a token in this state. */
export function isUsable(token: TokenState): boolean {
  return token === 'fresh' || token === 'due' || token === 'suspect';
}

/** The required credentials without a usable token. The gateway is ready when there are none. */
export function withoutToken<T extends { readonly required: boolean; readonly token: TokenState }>(
  credentials: readonly T[],
): T[] {
  return credentials.filter(({ required, token }) => required && !isUsable(token));
}

/** The state of the renewal (docs/tokens.md). */
export type RenewalState = 'idle' | 'running' | 'backoff' | 'rejected' | 'login_required';

/** A snapshot for `status`, health, metrics and records. Holds no secret. */
export interface CredentialState {
  readonly token: TokenState;
  readonly renewal: RenewalState;
  /** Epoch ms, null without a token or when its life is unknown. */
  readonly expiresAt: number | null;
  readonly fingerprint: string | null;
  /** Epoch ms of the next attempt, null when none is planned. */
  readonly nextAttemptAt: number | null;
  /** Message of the last failed attempt, safe to show; null after a success. */
  readonly lastError: { readonly code: string; readonly message: string; readonly at: number } | null;
  readonly renewals: number;
  readonly failures: number;
  /** What is wrong with the store that should hold this token; null or absent when nothing is. */
  readonly storeError?: string | null;
}

/** One change of a credential's state, for the log and for metrics. Holds no secret. */
export interface TokenTransition {
  readonly credential: string;
  /** Of one of several tokens, from 2 on; absent for the first. */
  readonly number?: number;
  readonly fromToken: TokenState;
  readonly toToken: TokenState;
  readonly fromRenewal: RenewalState;
  readonly toRenewal: RenewalState;
  readonly fingerprint: string | null;
  /** The failure that caused it, where one did. */
  readonly errorCode: ErrorCode | null;
  readonly nextAttemptInMs: number | null;
}

/**
 * What yields access tokens for one credential or session, shared by all callers. Throws GatewayError with a code of
 * the token group. Nothing that a caller does (abort, disconnect) affects a renewal that runs.
 */
export interface TokenSource {
  /** The valid token in use, or null. Synchronous: the data path's short cut. */
  current(): Token | null;
  /** Milliseconds for which that is good, by both clocks; 0 without one, `Infinity` when it is not known. */
  leftMs(): number;
  /**
   * Waits for a valid token up to `refresh_token_wait_max`, and `withinMs`: over several attempts, where one fails for
   * a passing reason and the next begins in time. Throws the last attempt's error, or gateway.credential.timeout.
   */
  token(withinMs?: number): Promise<Token>;
  /**
   * The upstream answered 401 to `token`. True when the call should be sent again with `await successor(token)`: the
   * token is suspect and a renewal was begun, or it is gone already. The others go on with a suspect one until its
   * successor is there, or until it is refused on another route too. `route` is where it was refused, null for an
   * answer that is no evidence by itself: it makes no token suspect. False too within 60 seconds after a token that was
   * suspect was replaced: the 401 then passes through untouched.
   */
  invalidate(token: Token, route: string | null): boolean;
  /**
   * As `token`, for a caller whose own was refused: waits for another, or for the same where that was read again and
   * found unchanged.
   */
  successor(refused: Token, withinMs?: number): Promise<Token>;
  /**
   * Forces a renewal: ends any cool-down; resolves when it ended, throws its error. `isPatient` is for whoever asks by
   * itself and may do so in a loop (an application, unlike a person at the status page): it keeps the distance to the
   * last attempt, and throws the error of one that is to be tried again later instead of trying now.
   */
  refresh(options?: { readonly isPatient?: boolean }): Promise<Token>;
  state(): CredentialState;
  /** Begins acquiring the first token; never throws. */
  start(): void;
  /** Stops timers. A running attempt is left to end and its result still stored. */
  close(): void;
}

/**
 * Why a token is acquired. `start`: the first one, a stored one will do. `due`, `expired`, `retry`: the previous one is
 * running out or has ended. `invalidated`: the upstream refused the previous one. `changed`: a secret changed.
 * `forced`: somebody asked; no stored one will do.
 */
export type AcquireReason = 'start' | 'due' | 'expired' | 'retry' | 'invalidated' | 'changed' | 'forced';

/**
 * Acquires a token, by whatever grant. `previous` is the token last in use, also when it was just dropped. Throws
 * TokenFailure or GatewayError.
 */
export type Acquire = (request: { reason: AcquireReason; previous: Token | null }) => Promise<Token>;

/** An access token and how long it is good for. Immutable. */
export interface Token {
  readonly accessToken: Secret;
  /** Precomputed `Bearer …` header value, so that nothing is built per request. Never log it. */
  readonly authorization: string;
  /** Short SHA-256 fingerprint for records. */
  readonly fingerprint: string;
  /** Epoch ms when it was received. */
  readonly obtainedAt: number;
  /** Epoch ms; `Infinity` when the life is not known (a token given by the user). */
  readonly expiresAt: number;
}

/** Upper bound of an access or refresh token: far above the platform's 86 characters, small enough for a header. */
export const LARGEST_TOKEN_CHARS = 16 * 1024;

/**
 * Whether `value` can be sent in an Authorization header as it is: visible ASCII, no spaces, bounded (RFC 6750 section
 * 2.1, but wider).
 */
export function isHeaderSafeToken(value: string): boolean {
  return value.length <= LARGEST_TOKEN_CHARS && /^[\x21-\x7e]+$/.test(value);
}

/**
 * Makes a token. `authorization` is not enumerable, so that a token printed or spread by mistake shows only the
 * fingerprint.
 */
export function createToken(parts: { accessToken: Secret; obtainedAt: number; expiresAt: number }): Token {
  const { accessToken, obtainedAt, expiresAt } = parts;
  const token = { accessToken, fingerprint: accessToken.fingerprint(), obtainedAt, expiresAt };
  Object.defineProperty(token, 'authorization', { value: `Bearer ${accessToken.reveal()}`, enumerable: false });
  return Object.freeze(token) as Token;
}

/**
 * `transient`: trying again may help, with backoff. `refused`: only a changed credential helps; tried again after a
 * cool-down. `login_required`: only a person helps; not tried again by itself.
 */
export type TokenFailureKind = 'transient' | 'refused' | 'login_required';

/** The OAuth error codes (RFC 6749 section 5.2) that make a difference; anything else is `other`. */
export type OAuthErrorCode = 'invalid_client' | 'unauthorized_client' | 'invalid_grant' | 'invalid_request' | 'other';

/**
 * Thrown by whatever acquires tokens. `error` is what callers get, its message safe to show.
 * `retryAfterMs` is what the token endpoint asked for, already bounded.
 */
export class TokenFailure extends Error {
  override readonly name = 'TokenFailure';
  readonly kind: TokenFailureKind;
  readonly error: GatewayError;
  readonly retryAfterMs: number | undefined;
  readonly oauthError: OAuthErrorCode | undefined;
  /** Somebody ended the token elsewhere: the one in use is not to be used any more either. */
  readonly isEnded: boolean;
  /** What is missing comes back by itself, and is noticed then: callers need not wait for the next planned attempt. */
  readonly comesBack: boolean;

  constructor(
    kind: TokenFailureKind,
    message: string,
    options: {
      code?: ErrorCode;
      retryAfterMs?: number | undefined;
      oauthError?: OAuthErrorCode | undefined;
      isEnded?: boolean;
      comesBack?: boolean;
    } = {},
  ) {
    super(message);
    this.kind = kind;
    this.error = new GatewayError(options.code ?? CODE_OF_KIND[kind], message);
    this.retryAfterMs = options.retryAfterMs;
    this.oauthError = options.oauthError;
    this.isEnded = options.isEnded ?? false;
    this.comesBack = options.comesBack ?? false;
  }
}

const CODE_OF_KIND = {
  transient: 'gateway.credential.unavailable',
  refused: 'gateway.credential.rejected',
  login_required: 'gateway.login.required',
} as const satisfies Record<TokenFailureKind, ErrorCode>;

/**
 * The failure for anything thrown while a token was acquired. An error that is not ours keeps only its system code
 * (`ECONNREFUSED`), because its message may quote a body.
 */
export function toTokenFailure(thrown: unknown): TokenFailure {
  if (thrown instanceof TokenFailure) return thrown;
  if (isGatewayError(thrown)) {
    if (thrown.code === 'gateway.credential.rejected') return new TokenFailure('refused', thrown.message);
    if (thrown.code === 'gateway.login.required') return new TokenFailure('login_required', thrown.message);
    return new TokenFailure('transient', thrown.message, { retryAfterMs: thrown.retryAfterMs });
  }
  return new TokenFailure('transient', `no token could be obtained (${systemCode(thrown)})`);
}

/** The system error code of a thrown value, `ECONNRESET`, or the class name; never its message. */
export function systemCode(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'unknown failure';
  const { code } = thrown as NodeJS.ErrnoException;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : 'unexpected failure';
}
