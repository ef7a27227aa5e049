// The layer that puts the token on a call and meets a 401 with one renewal and one replay (docs/tokens.md).

import type { Token } from '../auth/credentials/token-source.ts';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { noteRetry } from '../logging/exchange-record.ts';
import { type Send, type UpstreamRequest, type UpstreamResponse, waitFor, waitLeftMs } from './call.ts';
import { TOKEN_ENDED } from './errors.ts';
import { platformCode } from './platform-error.ts';

/** 401 codes of the platform that speak of the token; any other code with a 401 is not cured by a new one. */
const TOKEN_CODES = new Set(['authentication.required', 'bad.credentials', 'credentials.expired']);

/**
 * What the layer is made of. `routeOf` gives method and route template: what is refused on two of them is not the
 * routes' fault.
 */
export interface TokenLayerDeps {
  readonly clock: Clock;
  readonly routeOf: (method: string, target: string) => string;
}

/**
 * Wraps `send`: no call leaves without a valid token; a 401 about the token costs one renewal and, where the body
 * allows, one replay.
 */
export function withToken(send: Send, { clock, routeOf }: TokenLayerDeps): Send {
  return async (request) => {
    const response = await sendWithToken(send, request, clock);
    if (response.statusCode !== 401) return response;
    // If the body cannot be read there is no error code; the failure shows again when the response is passed on.
    const code = await platformCode(response, clock, waitLeftMs(request, clock)).catch(() => null);
    if (code !== null && !TOKEN_CODES.has(code)) return response;
    const refused = request.token as Token;
    // The response to HEAD has no body, so nobody can tell what it speaks of.
    const route = request.method === 'HEAD' ? null : routeOf(request.method, request.target);
    if (!request.source.invalidate(refused, route) || !request.body.canReplay) return response;
    response.discard();
    // Another token at hand is as good as the successor of this one, and the call need not wait for it.
    if (!moveOn(request, clock))
      await awaitToken(request, clock, (withinMs) => request.source.successor(refused, withinMs));
    noteRetry(request.record, '401');
    return sendWithToken(send, request, clock);
  };
}

/** Sends with the current token, and with the next one where that ended before there was a connection to send it on. */
async function sendWithToken(send: Send, request: UpstreamRequest, clock: Clock): Promise<UpstreamResponse> {
  for (;;) {
    let token = request.source.current();
    if (token === null && moveOn(request, clock)) token = request.source.current();
    token ??= await awaitToken(request, clock, (withinMs) => request.source.token(withinMs));
    try {
      return await sendWith(send, request, token);
    } catch (error) {
      if (error !== TOKEN_ENDED) throw error;
    }
  }
}

/** Gives the call another of its credential's tokens; false where none is good and has room. */
function moveOn(request: UpstreamRequest, clock: Clock): boolean {
  return request.choice?.moveOn(request, clock.monotonic()) ?? false;
}

function sendWith(send: Send, request: UpstreamRequest, token: Token): Promise<UpstreamResponse> {
  request.token = token;
  request.headers[request.headers.length - 1] = token.authorization;
  request.record.tokenFingerprint = token.fingerprint;
  return send(request);
}

/**
 * Waits for a token as long as the client stays connected and `total_wait` lasts; the renewal itself belongs to no
 * caller and goes on.
 */
async function awaitToken(
  request: UpstreamRequest,
  clock: Clock,
  obtain: (withinMs: number) => Promise<Token>,
): Promise<Token> {
  const startedAt = performance.now();
  const { record } = request;
  const from = record.trace?.now() ?? 0;
  const late = () =>
    new GatewayError(
      'gateway.credential.timeout',
      `no token for credential ${record.credential} came before timeouts.total_wait ended: try again`,
    );
  let token: Token | null = null;
  try {
    token = await waitFor(request, clock, obtain(waitLeftMs(request, clock)), 'a token', late);
    return token;
  } finally {
    record.tokenWaitMs += performance.now() - startedAt;
    record.trace?.waited('token', from, token?.fingerprint);
  }
}
