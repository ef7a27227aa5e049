// How the token endpoint of the facade answers: the platform's own shape for tokens and for OAuth errors (RFC 6749 section 5). Decides nothing.

import type { ServerResponse } from 'node:http';
import { TokenFailure } from '../auth/token-failure.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import { errorHeaders, sendJson } from './answer.ts';

/** An error in OAuth's words; `description` is safe to show. Carries the gateway's own code beside it. */
export class OAuthRefusal extends Error {
  override readonly name = 'OAuthRefusal';
  readonly oauthError: string;
  readonly error: GatewayError;

  constructor(oauthError: string, error: GatewayError) {
    super(error.message);
    this.oauthError = oauthError;
    this.error = error;
  }
}

/** A refusal with HTTP 400, as the platform has it. */
export function refuse(oauthError: string, message: string): OAuthRefusal {
  return new OAuthRefusal(oauthError, new GatewayError('gateway.request.invalid', message));
}

/** Any failure in OAuth's words. Of the platform's own refusals only the error code is kept; the text is ours. */
export function toOAuthRefusal(thrown: unknown): OAuthRefusal {
  if (thrown instanceof OAuthRefusal) return thrown;
  if (thrown instanceof TokenFailure) {
    const { kind, message, oauthError, retryAfterMs, error } = thrown;
    if (kind !== 'transient') return refuse(oauthError === undefined || oauthError === 'other' ? 'invalid_request' : oauthError, message);
    return new OAuthRefusal('temporarily_unavailable', new GatewayError(error.code, message, { retryAfterMs }));
  }
  if (!isGatewayError(thrown)) return new OAuthRefusal('server_error', new GatewayError('gateway.internal', 'the gateway failed'));
  return new OAuthRefusal(oauthErrorOf(thrown), thrown);
}

function oauthErrorOf({ code, statusCode }: GatewayError): string {
  if (code === 'gateway.client.unauthenticated') return 'invalid_client';
  if (code === 'gateway.client.forbidden') return 'unauthorized_client';
  if (code === 'gateway.session.ended') return 'invalid_grant';
  if (code === 'gateway.rate.limited') return 'temporarily_unavailable';
  return statusCode < 500 ? 'invalid_request' : statusCode === 500 ? 'server_error' : 'temporarily_unavailable';
}

/** Sends a refusal as the whole answer. */
export function sendOAuthRefusal(response: ServerResponse, { oauthError, error }: OAuthRefusal, requestId: string, close = false): void {
  if (response.headersSent || response.destroyed) return;
  const body = JSON.stringify({ error: oauthError, description: error.message, error_description: error.message });
  const headers = errorHeaders(error, requestId, Buffer.byteLength(body));
  headers.push('Pragma', 'no-cache');
  if (close) headers.push('Connection', 'close');
  response.writeHead(error.statusCode, headers);
  response.end(body);
}

/** What an application gets in the place of a token. */
export interface LocalToken {
  readonly handle: string;
  readonly expiresInS: number;
  readonly refreshHandle: string | null;
}

/** Sends it. */
export function sendLocalToken(response: ServerResponse, { handle, expiresInS, refreshHandle }: LocalToken, requestId: string): void {
  const reply = {
    access_token: handle,
    token_type: 'bearer',
    expires_in: expiresInS,
    ...(refreshHandle !== null && { refresh_token: refreshHandle }),
  };
  sendJson(response, 200, reply, requestId);
}
