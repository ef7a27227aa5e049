// The "grant" without a request: a token the user gives, inline, by file or by environment. Its life is not known.

import type { SecretSource } from '../../config/secret-source.ts';
import { createToken, isHeaderSafeToken, type Token } from '../token.ts';
import { TokenFailure } from '../token-failure.ts';

/** Reads the token anew each time. Throws GatewayError `gateway.credential.rejected` (unreadable) or TokenFailure (unusable). */
export function readAccessToken(source: SecretSource, nowMs: number): Token {
  const accessToken = source.read();
  if (!isHeaderSafeToken(accessToken.reveal())) {
    throw new TokenFailure('refused', `the access token from ${source.origin} holds spaces, line breaks or other characters no token has`);
  }
  return createToken({ accessToken, obtainedAt: nowMs, expiresAt: Number.POSITIVE_INFINITY });
}
