// DELETE /api/v2/tokens/me, in every spelling a server might take for it: ends the caller's own handle or session and
// never reaches the upstream, where it would revoke the token that everybody shares.

import type { IncomingHttpHeaders } from 'node:http';
import { readPath } from '../../auth/callers/path-readings.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { asksForOtherMethod, otherPathAsked } from '../authorize.ts';
import { type Exchange, finishExchange } from '../exchange.ts';
import { respondWithError, sendJson } from '../responses.ts';

const OWN_TOKEN = JSON.stringify(['api', 'v2', 'tokens', 'me']);

/** What every spelling of the path has in it: its word, or something to be decoded or left out. */
const PERHAPS = /tokens|[%;\\]|\/\//i;

/**
 * Whether an exchange would end the token it is sent with. Throws gateway.request.invalid for a path that nobody can be
 * sure about, and for a call of another method that asks to be taken for one it does not name.
 */
export function isTokenRevocation({ record, route, request }: Exchange): boolean {
  if (route.kind !== 'forward') return false;
  const other = otherPathAsked(request.headers);
  if (other !== null) assertNoOtherToken(other, record.method, request.headers, route.target);
  if (!PERHAPS.test(route.target)) return false;
  const isDelete = record.method === 'DELETE';
  if (!isDelete && !asksForOtherMethod(request.headers, route.target)) return false;
  const queryAt = route.target.indexOf('?');
  const readings = readPath(queryAt < 0 ? route.target : route.target.slice(0, queryAt));
  if (readings === null) {
    const what = isDelete ? 'this DELETE' : 'the path of a call that overrides its method';
    throw new GatewayError(
      'gateway.request.invalid',
      `${what} can be read in more than one way: send its path plainly`,
    );
  }
  const isOwnToken = readings.some(
    (reading) => JSON.stringify(reading.filter((segment) => segment !== '')) === OWN_TOKEN,
  );
  if (!isOwnToken || isDelete) return isOwnToken;
  throw new GatewayError(
    'gateway.request.invalid',
    'at /api/v2/tokens/me no method can be overridden: send DELETE itself to end your own handle',
  );
}

/**
 * Throws gateway.request.invalid for a DELETE of something else that may ask, by a header, to be taken for one of the
 * shared token.
 */
function assertNoOtherToken(asked: string, method: string, headers: IncomingHttpHeaders, target: string): void {
  // The slashes behind a scheme are no part of a path.
  if (!PERHAPS.test(asked.replaceAll('://', ':'))) return;
  if (method !== 'DELETE' && !asksForOtherMethod(headers, target)) return;
  throw new GatewayError(
    'gateway.request.invalid',
    'a header asks for this call to be taken for another path: send that path itself',
  );
}

/**
 * Ends the caller's own token and responds with 200, also where there was nothing to end: a secret or an anonymous
 * caller has no handle. What could not be ended, or not for good, is not confirmed: then the response is the error.
 * Never rejects.
 */
export async function revokeOwnToken(exchange: Exchange): Promise<void> {
  const { caller, request, response, record } = exchange;
  const { handles, sessions } = exchange.runtime;
  request.resume();
  try {
    if (caller.session !== null) await sessions.end(caller.session);
    else if (caller.handle !== null) await handles.end(caller.handle);
    record.status = 200;
    sendJson(response, 200, {}, record);
  } catch (error) {
    const failure = isGatewayError(error)
      ? error
      : new GatewayError('gateway.internal', 'the handle could not be ended: try again');
    respondWithError(exchange, failure);
  }
  finishExchange(exchange);
}
