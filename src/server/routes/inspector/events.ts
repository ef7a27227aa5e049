// The stream of what happens, for as long as somebody reads it. It is no call that runs: it counts as ended when it has
// begun, and a drain does not wait for it.

import type { FastifyInstance } from 'fastify';
import { type Caller, OPERATOR } from '../../../auth/callers/caller.ts';
import { isPageKey } from '../../../auth/callers/page-keys.ts';
import { GatewayError } from '../../../errors.ts';
import type { Rights } from '../../../inspector/wire.ts';
import { type Exchange, finishExchange } from '../../exchange.ts';
import { draining } from '../../responses.ts';
import { filterOf, rightsOf, viewerOf } from './viewer.ts';

const RETRY_AFTER_MS = 10_000;

/** Registers the route. */
export function registerEvents(app: FastifyInstance): void {
  app.get('/-/events', { exposeHeadRoute: false }, (request, reply) => {
    const { exchange, inspector, rights } = viewerOf(request);
    const { response, record, route, gateway } = exchange;
    const { feed } = inspector;
    const query = new URLSearchParams(route.kind === 'local' ? route.query : '');
    const filter = (query.get('f') ?? '').trim();
    const matches = filterOf(filter, gateway.clock.now);
    const since = idIn(query.get('since') ?? request.headers['last-event-id']);
    if (gateway.phase === 'draining' || feed.isClosed) throw draining();
    const full = feed.whyFull(rights);
    if (full !== null) throw new GatewayError('gateway.inspector.busy', full, { retryAfterMs: RETRY_AFTER_MS });
    reply.hijack();
    record.status = 200;
    response.writeHead(200, [
      'Content-Type',
      'text/event-stream',
      // Proxies keep streams back otherwise (nginx).
      'X-Accel-Buffering',
      'no',
      'X-Gateway-Request-Id',
      record.requestId,
    ]);
    response.flushHeaders();
    finishExchange(exchange);
    const review = reviewOf(exchange);
    const end = feed.watch({ outlet: response, rights, peer: record.peer, filter, matches, review }, since);
    response.once('close', end);
  });
}

/** The id of the last event that somebody has; null where nobody says. Throws for what is no such id. */
function idIn(id: string | readonly string[] | undefined | null): string | null {
  if (id === undefined || id === null) return null;
  if (typeof id === 'string' && /^[\w-]{1,32}-\d{1,15}$/.test(id)) return id;
  throw new GatewayError('gateway.request.invalid', 'since, and Last-Event-ID, is the id of an event', {
    statusCode: 400,
  });
}

/** What the caller of an exchange may see now, under the configuration in use: null where that is nothing any more. */
function reviewOf({ caller, role, gateway, request }: Exchange): () => Rights | null {
  const shown = request.headers['x-gateway-key'];
  const key = typeof shown === 'string' && isPageKey(shown) ? shown : null;
  const { runtime: before } = gateway;
  const peer = before.authenticator.peerOf(request, role);
  const current = (): Caller | null => {
    const { authenticator } = gateway.runtime;
    // To watch is a use of the key: whoever looks is not idle.
    if (key !== null && caller.client !== null && gateway.pageKeys.find(key) === null) return null;
    if (!caller.isAuthenticated) return caller === OPERATOR && !authenticator.asksForNoProof ? null : caller;
    if (authenticator.revalidate(caller, role, peer) !== null) return null;
    // Not renewed, which would be a use of its session.
    return authenticator.reauthenticate(
      { client: caller.client?.name ?? null, authFingerprint: caller.authFingerprint },
      role,
      peer,
    );
  };
  return () => {
    const now = current();
    try {
      return now && rightsOf({ caller: now, role, gateway });
    } catch {
      // What it says is for whoever asks; this one is only let go.
      return null;
    }
  };
}
