// How the live page comes by its key: by a link that is good once, or for the secret of a client that may look.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { holdsHandle } from '../../../auth/callers/caller.ts';
import { isPageKey, type KeyHolder } from '../../../auth/callers/page-keys.ts';
import { GatewayError } from '../../../errors.ts';
import { delayFor } from '../../accept.ts';
import { AuthenticationError, wrongPageKey } from '../../authentication-error.ts';
import type { Exchange } from '../../exchange.ts';
import { readBodiesAsText } from '../access.ts';
import { inspectorExchange, rightsOf, sendInspection, viewerOf } from './viewer.ts';

/** Room for a code and no more. */
const LARGEST_BODY_BYTES = 1024;

/** What `POST /-/ui/session` answers. */
export interface PageSession {
  readonly key: string;
  /** Null for whoever holds the key of this start. */
  readonly client: string | null;
}

/** What `POST /-/ui/link` answers: the code of a link that opens the page, once, within so many seconds. */
export interface PageLink {
  readonly code: string;
  readonly seconds: number;
}

const LINK_SECONDS = 60;

/** Registers the routes. */
export function registerPageKeys(app: FastifyInstance): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_BODY_BYTES);
    scope.post('/-/ui/session', async (request, reply) => {
      const code = codeIn(request.body);
      const { exchange, session } = code === null ? exchanged(request) : await redeemed(request, code);
      reply.hijack();
      if (!exchange.connection.disconnected) sendInspection(exchange, JSON.stringify(session));
    });
    scope.delete('/-/ui/session', (request, reply) => {
      const { exchange } = viewerOf(request);
      const key = request.headers['x-gateway-key'];
      if (typeof key === 'string' && isPageKey(key)) exchange.gateway.pageKeys.end(key);
      reply.hijack();
      sendInspection(exchange, JSON.stringify({ status: 'ended' }));
    });
    scope.post('/-/ui/link', (request, reply) => {
      const { exchange } = viewerOf(request);
      const link: PageLink = { code: exchange.gateway.pageKeys.invite(holderOf(exchange)), seconds: LINK_SECONDS };
      reply.hijack();
      sendInspection(exchange, JSON.stringify(link));
    });
  });
}

/** The code in a body; null for one that is empty. */
function codeIn(body: unknown): string | null {
  if (typeof body !== 'string' || body.trim() === '') return null;
  let code: unknown;
  try {
    ({ code } = JSON.parse(body) ?? {});
  } catch {
    // It is told below.
  }
  if (code === undefined || code === null || typeof code !== 'string')
    throw new GatewayError('gateway.request.invalid', 'the body must be {"code": "…"}, or empty', { statusCode: 400 });
  return code;
}

/** A key for what a client has proved itself with. */
function exchanged(request: FastifyRequest): { exchange: Exchange; session: PageSession } {
  const { exchange } = viewerOf(request);
  return { exchange, session: sessionOf(exchange, holderOf(exchange)) };
}

/** A key for the code of a link. Wrong codes are refused ever more slowly. */
async function redeemed(request: FastifyRequest, code: string): Promise<{ exchange: Exchange; session: PageSession }> {
  const { exchange } = inspectorExchange(request);
  const { gateway, record } = exchange;
  const result = gateway.pageKeys.redeem(code);
  if ('holder' in result) return { exchange, session: sessionOf(exchange, result.holder) };
  if (result.refused === 'used') gateway.log.warn({ peer: record.peer }, 'link to the live page was used again');
  const { until, isOverflow } = delayFor(exchange, null);
  if (isOverflow) request.raw.socket.destroy();
  await until;
  throw new AuthenticationError(REFUSALS[result.refused], false);
}

const REFUSALS = {
  used:
    'this link was used already, and each opens the page once: `gcg open` makes another; if it was not you who used ' +
    'it, somebody else on this machine did',
  expired: 'this link is older than a minute: `gcg open` makes another',
  unknown: 'this link is not of this gateway, or of an earlier start: `gcg open` makes another',
} as const;

/** Whose page a link of this caller's opens: it must be able to prove itself again. */
function holderOf({ caller, gateway }: Exchange): KeyHolder {
  if (gateway.runtime.authenticator.asksForNoProof) return 'operator';
  const { client, authFingerprint } = caller;
  if (client === null || authFingerprint === null || holdsHandle(caller))
    throw new GatewayError(
      'gateway.client.forbidden',
      'a key of the live page is given for the secret of a client, and not for a handle or a session',
    );
  return { client: client.name, authFingerprint };
}

/** Throws gateway.client.* where the holder may not look any more. */
function sessionOf(exchange: Exchange, holder: KeyHolder): PageSession {
  const { gateway, role, request } = exchange;
  const { authenticator } = gateway.runtime;
  if (holder === 'operator') {
    if (!authenticator.asksForNoProof) throw wrongPageKey();
    return { key: gateway.pageKeys.own, client: null };
  }
  const caller = authenticator.reauthenticate(holder, role, authenticator.peerOf(request, role));
  if (caller === null) throw wrongPageKey();
  rightsOf({ caller, role, gateway });
  return { key: gateway.pageKeys.give(holder), client: holder.client };
}
