// Why no token was obtained, in the three kinds that the state machine tells apart. It knows nothing of HTTP or of the grants.

import { type ErrorCode, GatewayError, isGatewayError } from '../errors.ts';

/**
 * `transient`: trying again may help, with backoff. `refused`: only a changed credential helps; tried again after a cool-down.
 * `login_required`: only a person helps; not tried again by itself.
 */
export type TokenFailureKind = 'transient' | 'refused' | 'login_required';

/** The OAuth error codes (RFC 6749 section 5.2) that are told apart; anything else is `other`. */
export type OAuthErrorCode = 'invalid_client' | 'unauthorized_client' | 'invalid_grant' | 'invalid_request' | 'other';

/**
 * Thrown by whatever obtains tokens. `error` is what callers get, its message safe to show.
 * `retryAfterMs` is what the token endpoint asked for, already bounded.
 */
export class TokenFailure extends Error {
  override readonly name = 'TokenFailure';
  readonly kind: TokenFailureKind;
  readonly error: GatewayError;
  readonly retryAfterMs: number | undefined;
  readonly oauthError: OAuthErrorCode | undefined;

  constructor(
    kind: TokenFailureKind,
    message: string,
    options: { code?: ErrorCode; retryAfterMs?: number | undefined; oauthError?: OAuthErrorCode | undefined } = {},
  ) {
    super(message);
    this.kind = kind;
    this.error = new GatewayError(options.code ?? CODE_OF_KIND[kind], message);
    this.retryAfterMs = options.retryAfterMs;
    this.oauthError = options.oauthError;
  }
}

const CODE_OF_KIND = {
  transient: 'gateway.credential.unavailable',
  refused: 'gateway.credential.rejected',
  login_required: 'gateway.login.required',
} as const satisfies Record<TokenFailureKind, ErrorCode>;

/**
 * Makes a failure of anything thrown while a token was obtained. An error that is not ours keeps only its system code
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
