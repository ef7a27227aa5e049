// The implicit grant: takes the token that the callback page found in its fragment. The platform is retiring it; no renewal is possible.

import { GatewayError } from '../../errors.ts';
import { createToken, type Token } from '../token.ts';
import { parseTokenReply } from '../token-reply.ts';

/** `fields` are the fragment's, as the page posted them. Throws gateway.request.invalid for what is no token. */
export function acceptFragmentToken(fields: Readonly<Record<string, string | undefined>>, nowMs: number): Token {
  const { access_token, expires_in, token_type } = fields;
  const parsed = parseTokenReply(Buffer.from(JSON.stringify({ access_token, expires_in, token_type })));
  if ('problem' in parsed) throw new GatewayError('gateway.request.invalid', `the login page answered with ${parsed.problem}: start the login again`);
  return createToken({ accessToken: parsed.accessToken, obtainedAt: nowMs, expiresAt: nowMs + parsed.lifeMs });
}
