// The API's bearer check, with the platform's three refusals. It does not look at permissions or scopes.

import type { IncomingMessage } from 'node:http';
import { PlatformError } from './faults.ts';
import type { AccessToken } from './tokens.ts';
import type { World } from './world.ts';

/** The refusals of the bearer check, also used by the switch that refuses good tokens. */
export function createUnauthorized(code: 'authentication.required' | 'bad.credentials' | 'credentials.expired'): PlatformError {
  const messages = {
    'authentication.required': 'No authentication bearer token specified in authorization header.',
    'bad.credentials': 'Invalid login credentials.',
    'credentials.expired': 'The supplied credentials have expired.',
  };
  return new PlatformError(401, code, messages[code]);
}

/** The valid token a call shows. Throws PlatformError 401, and 400 when there are two Authorization lines; counts what it refuses. */
export function checkBearer(world: World, req: IncomingMessage): AccessToken {
  if ((req.headersDistinct.authorization?.length ?? 0) > 1) throw new PlatformError(400, 'bad.request', 'Two Authorization headers.');
  const value = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? '')?.[1];
  if (value === undefined) {
    world.stats.add('unauthenticatedCalls');
    throw createUnauthorized('authentication.required');
  }
  const checked = world.tokens.check(value);
  if (checked.kind === 'unknown') {
    world.stats.add('unknownTokenCalls');
    throw createUnauthorized('bad.credentials');
  }
  if (checked.kind === 'expired') {
    world.stats.add('expiredTokenCalls');
    throw createUnauthorized('credentials.expired');
  }
  return checked.token;
}
