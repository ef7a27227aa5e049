// Judges an answer of the token endpoint that is not a success: what it means, what to do, and whether trying again can help.
// The platform says nearly everything with HTTP 400, throttling included. Texts here are ours: nothing of the body is passed on.

import type { UpstreamHosts } from '../config/gateway-config.ts';
import { parseRetryAfter } from '../retry-after.ts';
import { type OAuthErrorCode, TokenFailure } from './token-failure.ts';
import { parseTokenError, type TokenErrorReply } from './token-reply.ts';

interface ErrorReply {
  readonly statusCode: number;
  readonly headers: Record<string, string | undefined>;
  readonly body: Buffer;
}

/** The failure an answer outside 200–299 stands for. */
export function judgeErrorReply(call: { grant: string; hosts: UpstreamHosts }, reply: ErrorReply, nowMs: number): TokenFailure {
  const { statusCode, headers } = reply;
  const parsed = parseTokenError(reply.body);
  const host = new URL(call.hosts.login.origin).host;
  const transient = (message: string) =>
    new TokenFailure('transient', message, { retryAfterMs: parseRetryAfter(headers['retry-after'], nowMs, headers.date) });
  if (statusCode === 429 || parsed.isRateLimit) return transient(`the token endpoint ${host} throttles logins of this client`);
  if (statusCode >= 500 || statusCode === 408 || statusCode === 425) return transient(`the token endpoint ${host} answered ${statusCode}`);
  if (statusCode < 400) return transient(`the token endpoint ${host} answered ${statusCode}, which is not followed: is the host right?`);
  const message = refusal(call, statusCode, parsed, host);
  return new TokenFailure('refused', message, { oauthError: parsed.oauthError });
}

function refusal(call: { grant: string; hosts: UpstreamHosts }, statusCode: number, parsed: TokenErrorReply, host: string): string {
  const { domain } = call.hosts;
  if (parsed.isClientUnknown) return `client not found: wrong client id, or wrong region (${domain})`;
  const meaning: Record<OAuthErrorCode, string> = {
    invalid_client: `client authentication failed: wrong client secret, or a disabled client, or wrong region (${domain})`,
    unauthorized_client: `this client may not use the grant ${call.grant}: change the grant type of the OAuth client, or grant_type here`,
    invalid_grant: 'the grant was refused: the code, assertion or refresh token is used up, expired or revoked',
    invalid_request: `the token endpoint refused the request (${statusCode} invalid_request): check the keys of this credential`,
    other: `the token endpoint ${host} refused the request with ${statusCode}: check host, client id and any IP allow-list of the client`,
  };
  return meaning[parsed.oauthError];
}
