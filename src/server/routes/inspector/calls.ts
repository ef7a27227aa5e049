// The finished calls that are kept: a list of them, one, and the end of all.

import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../../../errors.ts';
import type { CallRing, KeptCall } from '../../../inspector/call-ring.ts';
import { type CallQuery, maySee, searchCalls } from '../../../inspector/search.ts';
import { whyOf } from '../../../inspector/why.ts';
import type { Call, CallAnswer } from '../../../inspector/wire.ts';
import type { Exchange } from '../../exchange.ts';
import { whyFacts } from '../../why-facts.ts';
import { auditChange, filterOf, Places, sendInspection, type Viewer, viewerOf } from './viewer.ts';

const USUAL_LIMIT = 200;
const LARGEST_LIMIT = 1_000;
/** Each may hold a thousand calls. */
const MOST_LISTS = 32;

/** Registers the routes. */
export function registerCalls(app: FastifyInstance): void {
  const places = new Places(MOST_LISTS);
  app.get('/-/calls', async (request, reply) => {
    const viewer = viewerOf(request);
    const { exchange, inspector, rights } = viewer;
    const query = queryOf(exchange);
    places.take(viewer);
    reply.hijack();
    const found = await searchCalls(inspector.ring, rights, query, () => !exchange.connection.disconnected);
    if (exchange.connection.disconnected) return;
    sendInspection(exchange, listed(viewer, found));
  });
  app.get<{ Params: { id: string } }>('/-/calls/:id', (request, reply) => {
    const { exchange, inspector, rights } = viewerOf(request);
    const found = findCall(inspector.ring, request.params.id);
    const call = found && (JSON.parse(found.json) as Call);
    // What is not theirs is not there for them.
    if (call === null || !maySee(call.client, rights)) throw noSuchCall();
    const captured = rights.sees === 'all' ? inspector.capture.of(call.requestId) : undefined;
    const answer: CallAnswer = {
      instance: inspector.instance,
      call,
      why: whyOf(call, whyFacts(exchange.gateway, call, inspector.ring, rights)),
      ...(captured !== undefined && { captured }),
      replay: { possible: false, needsConfirmation: false, reason: 'calls cannot be sent again from here' },
    };
    reply.hijack();
    sendInspection(exchange, JSON.stringify(answer));
  });
  app.delete('/-/calls', (request, reply) => {
    const { exchange, inspector, rights } = viewerOf(request);
    if (!rights.clear)
      throw new GatewayError('gateway.client.forbidden', 'only a client with admin = true may make the gateway forget');
    auditChange(exchange);
    inspector.clear();
    reply.hijack();
    sendInspection(exchange, JSON.stringify({ instance: inspector.instance, status: 'cleared' }));
  });
}

/** The query of a list. Throws gateway.request.invalid for what is no number, or no filter. */
function queryOf({ route, gateway }: Exchange): CallQuery {
  const query = new URLSearchParams(route.kind === 'local' ? route.query : '');
  return {
    matches: filterOf(query.get('f') ?? '', gateway.clock.now),
    limit: Math.min(numberIn(query, 'limit') ?? USUAL_LIMIT, LARGEST_LIMIT),
    before: numberIn(query, 'before') ?? Number.POSITIVE_INFINITY,
    after: numberIn(query, 'after') ?? 0,
  };
}

/** A whole number of the query; null where it is not said. */
function numberIn(query: URLSearchParams, name: string): number | null {
  const text = query.get(name);
  if (text === null) return null;
  if (!/^\d{1,15}$/.test(text))
    throw new GatewayError('gateway.request.invalid', `${name} must be a whole number`, { statusCode: 400 });
  return Number(text);
}

/** By its number in this instance, or by its request id. */
export function findCall(ring: CallRing, id: string): KeptCall | null {
  if (/^\d{1,15}$/.test(id)) return ring.get(Number(id));
  return /^[\w-]{1,64}$/.test(id) ? ring.byRequestId(id) : null;
}

function noSuchCall(): GatewayError {
  return new GatewayError(
    'gateway.route.not.found',
    'no such call: it is not kept any more, never was, or is not yours to see',
  );
}

function listed(
  { inspector: { instance, ring }, rights }: Viewer,
  { calls, more }: { readonly calls: readonly KeptCall[]; readonly more: boolean },
): string {
  const whole = ring.wholeSince;
  const keptSince = whole && (JSON.parse(whole.json) as Call).time;
  // How many others call is not for everybody to know.
  const { oldest, newest } =
    rights.sees === 'all' ? ring : { oldest: calls.at(-1)?.seq ?? null, newest: calls[0]?.seq ?? null };
  const head = JSON.stringify({ instance, oldest, newest, keptSince, more });
  return `${head.slice(0, -1)},"calls":[${calls.map(({ json }) => json).join(',')}]}`;
}
