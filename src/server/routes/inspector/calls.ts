// The finished calls that are kept: a list of them, one, and the end of all.

import type { FastifyInstance } from 'fastify';
import type { GatewayConfig } from '../../../config/gateway-config.ts';
import { callableAddress, formatListenAddress, isWildcardHost } from '../../../config/listen-address.ts';
import { GatewayError } from '../../../errors.ts';
import type { KeptCall } from '../../../inspector/call-ring.ts';
import { type CallQuery, maySee, searchCalls } from '../../../inspector/search.ts';
import { whyOf } from '../../../inspector/why.ts';
import type { Call, CallAnswer, CopyFacts } from '../../../inspector/wire.ts';
import { operationTable } from '../../../operations/table.ts';
import { gatewayBase } from '../../call-page.ts';
import type { Exchange } from '../../exchange.ts';
import { usersOfLimit, whyFacts } from '../../why-facts.ts';
import { replayOf } from './replay.ts';
import {
  auditChange,
  filterOf,
  findCall,
  noSuchCall,
  Places,
  sendInspection,
  type Viewer,
  viewerOf,
} from './viewer.ts';

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
    sendInspection(exchange, listed(viewer, query, found));
  });
  app.get<{ Params: { id: string } }>('/-/calls/:id', async (request, reply) => {
    const { exchange, inspector, rights } = viewerOf(request);
    const found = findCall(inspector.ring, request.params.id);
    const call = found && (JSON.parse(found.json) as Call);
    // What is not theirs is not there for them.
    if (call === null || !maySee(call.client, rights)) throw noSuchCall();
    reply.hijack();
    const { gateway, connection } = exchange;
    const usedBy = await usersOfLimit(call, inspector.ring, gateway.runtime, rights, () => !connection.disconnected);
    if (connection.disconnected) return;
    const captured = rights.sees === 'all' ? inspector.capture.of(call.requestId) : undefined;
    const answer: CallAnswer = {
      instance: inspector.instance,
      call,
      why: whyOf(call, whyFacts(gateway, call, usedBy, rights)),
      ...(captured !== undefined && { captured }),
      replay: replayOf({ exchange, inspector, rights }, call, captured),
      copy: copyFacts(exchange, call),
    };
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

/** What a copy of a call is made with: where callers reach this gateway, and what the platform calls it. */
function copyFacts(exchange: Exchange, { operation }: Call): CopyFacts {
  const { runtime } = exchange.gateway;
  const known = operation === undefined ? undefined : operationTable().byId(operation);
  return {
    base:
      (exchange.role.data ? gatewayBase(exchange, runtime.config.server.publicUrl) : null) ??
      listenBase(runtime.config),
    needsKey: !runtime.authenticator.asksForNoProof,
    operation: known === undefined ? null : { id: known.id, tag: known.tags[0] ?? '', path: known.path },
  };
}

/** The first address that takes calls; what is usual where none can be told. */
function listenBase({ server }: GatewayConfig): string {
  if (server.publicUrl !== null) return server.publicUrl.replace(/\/+$/, '');
  const address = server.listen.map(callableAddress).find((one) => one?.kind === 'tcp');
  if (address?.kind !== 'tcp' || address.port === 0) return 'http://localhost:8080';
  const host = isWildcardHost(address.host) ? 'localhost' : address.host;
  return `${server.tls === null ? 'http' : 'https'}://${formatListenAddress({ ...address, host })}`;
}

function listed(
  { inspector: { instance, ring }, rights }: Viewer,
  { matches, after }: CallQuery,
  { calls, more }: { readonly calls: readonly KeptCall[]; readonly more: boolean },
): string {
  const seesAll = rights.sees === 'all';
  const whole = ring.wholeSince;
  // How many others call, and how soon calls fall out by that, is not for everybody to know.
  const areAllTold = matches === null && after === 0 && !more;
  const since = seesAll || whole === null ? whole : areAllTold ? calls.findLast(({ seq }) => seq >= whole.seq) : null;
  const keptSince = since ? (JSON.parse(since.json) as Call).time : null;
  const { oldest, newest } = seesAll ? ring : { oldest: calls.at(-1)?.seq ?? null, newest: calls[0]?.seq ?? null };
  const head = JSON.stringify({ instance, oldest, newest, keptSince, more });
  return `${head.slice(0, -1)},"calls":[${calls.map(({ json }) => json).join(',')}]}`;
}
