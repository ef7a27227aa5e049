// DELETE /api/v2/tokens/me, in every spelling a server might take for it: ends the caller's own handle or session and never reaches the
// upstream, where it would revoke the token that everybody shares.

import { readPath } from '../auth/clients/path-readings.ts';
import type { Handles } from '../auth/handles/handles.ts';
import type { Sessions } from '../auth/sessions/sessions.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { sendJson } from './answer.ts';
import type { Exchange } from './exchange.ts';

const OWN_TOKEN = JSON.stringify(['api', 'v2', 'tokens', 'me']);

/** Whether an exchange would end the token it is sent with. Throws gateway.request.invalid for a path that nobody can be sure about. */
export function endsOwnToken({ record, route, request }: Exchange): boolean {
  if (route.kind !== 'forward') return false;
  const { method } = record;
  if (method !== 'DELETE' && (method !== 'POST' || !isOverridden(request.headers))) return false;
  const queryAt = route.target.indexOf('?');
  const readings = readPath(queryAt < 0 ? route.target : route.target.slice(0, queryAt));
  if (readings === null) throw new GatewayError('gateway.request.invalid', 'this DELETE can be read in more than one way: send its path plainly');
  return readings.some((reading) => JSON.stringify(reading.filter((segment) => segment !== '')) === OWN_TOKEN);
}

function isOverridden(headers: Exchange['request']['headers']): boolean {
  return [headers['x-http-method-override'], headers['x-method-override'], headers['x-http-method']].some(
    (value) => typeof value === 'string' && value.trim().toUpperCase() === 'DELETE',
  );
}

/** What may end. */
export interface OwnTokens {
  readonly handles: Handles;
  readonly sessions: Sessions;
  readonly finish: (record: ExchangeRecord) => void;
}

/** Ends it and answers 200, also where there was nothing to end: a secret or an anonymous caller has no handle. */
export async function answerOwnTokenEnd(exchange: Exchange, { handles, sessions, finish }: OwnTokens): Promise<void> {
  const { identity, request, response, record } = exchange;
  request.resume();
  if (identity.session !== null) sessions.end(identity.session);
  else if (identity.handle !== null) await handles.end(identity.handle);
  record.status = 200;
  record.route = '/api/v2/tokens/me';
  sendJson(response, 200, {}, record.requestId);
  finish(record);
}
