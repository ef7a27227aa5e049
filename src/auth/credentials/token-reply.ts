// What a token endpoint says, read: the token of a good reply, the meaning of an error body (RFC 6749 sections 5.1 and
// 5.2). Quotes nothing of a body, and sends nothing.

import { Secret } from '../../secret.ts';
import { isHeaderSafeToken, LARGEST_TOKEN_CHARS, type OAuthErrorCode } from './token-source.ts';

/** Used when the reply does not say how long the token is good for: the platform's shortest setting. */
export const DEFAULT_LIFE_MS = 300_000;

/** The platform's longest setting, 450 days. */
export const LONGEST_LIFE_MS = 450 * 24 * 60 * 60 * 1000;

/** A validated token reply. */
export interface TokenReply {
  readonly accessToken: Secret;
  readonly lifeMs: number;
  readonly refreshToken: Secret | null;
}

/**
 * Life in ms from `expires_in`: a number or digits, capped at 450 days; anything else (missing, null, words) is 300 s.
 * Undefined when it says zero or less: such a token is no token.
 */
export function parseExpiresIn(value: unknown): number | undefined {
  const isNumeric = typeof value === 'number' || (typeof value === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(value));
  if (!isNumeric || Number.isNaN(value)) return DEFAULT_LIFE_MS;
  const lifeMs = Number(value) * 1000;
  return lifeMs > 0 ? Math.min(lifeMs, LONGEST_LIFE_MS) : undefined;
}

/** The reply in `body`, or what is wrong with it in `problem`, which quotes nothing of it. */
export function parseTokenReply(body: Buffer): TokenReply | { readonly problem: string } {
  if (body.length === 0) return { problem: 'an empty body' };
  const fields = parseJsonObject(body);
  if (fields === undefined) return { problem: 'a body that is not a JSON object' };
  const { access_token: accessToken, token_type: tokenType, refresh_token: refreshToken } = fields;
  if (typeof accessToken !== 'string' || accessToken === '') return { problem: 'no access_token' };
  if (!isHeaderSafeToken(accessToken)) return { problem: 'an access_token that cannot be sent in a header' };
  if (tokenType !== undefined && tokenType !== null && !isBearer(tokenType))
    return { problem: 'a token_type other than bearer' };
  const lifeMs = parseExpiresIn(fields.expires_in);
  if (lifeMs === undefined) return { problem: 'a token that has already expired (expires_in of zero or less)' };
  const isRefreshTokenGiven = typeof refreshToken === 'string' && refreshToken !== '';
  if (isRefreshTokenGiven && refreshToken.length > LARGEST_TOKEN_CHARS)
    return { problem: 'a refresh_token that is too long' };
  return {
    accessToken: new Secret(accessToken),
    lifeMs,
    refreshToken: isRefreshTokenGiven ? new Secret(refreshToken) : null,
  };
}

/** What an error body means. Its text is only compared, never passed on. */
export interface TokenErrorReply {
  readonly oauthError: OAuthErrorCode;
  readonly isRateLimit: boolean;
  readonly isClientUnknown: boolean;
}

const KNOWN_ERRORS = new Set<OAuthErrorCode>([
  'invalid_client',
  'unauthorized_client',
  'invalid_grant',
  'invalid_request',
]);

/** Reads `{error, description, error_description}`; any other body is `other`. Never throws. */
export function parseTokenError(body: Buffer): TokenErrorReply {
  const fields = parseJsonObject(body) ?? {};
  const words = [fields.description, fields.error_description].filter((word) => typeof word === 'string').join(' ');
  const oauthError = KNOWN_ERRORS.has(fields.error as OAuthErrorCode) ? (fields.error as OAuthErrorCode) : 'other';
  return {
    oauthError,
    isRateLimit: oauthError === 'invalid_request' && /rate limit/i.test(words),
    isClientUnknown: oauthError === 'invalid_client' && /client not found/i.test(words),
  };
}

function isBearer(value: unknown): boolean {
  return typeof value === 'string' && value.toLowerCase() === 'bearer';
}

function parseJsonObject(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
    return Object.assign(Object.create(null), value);
  } catch {
    // Not UTF-8 or not JSON: both are the same to the callers, and the parser's message quotes the body.
    return undefined;
  }
}
