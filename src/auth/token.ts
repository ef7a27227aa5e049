// The access token as the gateway holds it. Opaque: never parsed.

import type { Secret } from '../config/secret.ts';

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

/** Whether `value` can be sent in an Authorization header as it is: visible ASCII, no spaces, bounded (RFC 6750 section 2.1, but wider). */
export function isHeaderSafeToken(value: string): boolean {
  return value.length <= LARGEST_TOKEN_CHARS && /^[\x21-\x7e]+$/.test(value);
}

/** Makes a token. `authorization` is not enumerable, so that a token printed or spread by mistake shows only the fingerprint. */
export function createToken(parts: { accessToken: Secret; obtainedAt: number; expiresAt: number }): Token {
  const { accessToken, obtainedAt, expiresAt } = parts;
  const token = { accessToken, fingerprint: accessToken.fingerprint(), obtainedAt, expiresAt };
  Object.defineProperty(token, 'authorization', { value: `Bearer ${accessToken.reveal()}`, enumerable: false });
  return Object.freeze(token) as Token;
}
