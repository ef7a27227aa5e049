// Who looks at calls, and what of them: decided for each request, before any filter is asked.

import type { FastifyRequest } from 'fastify';
import { OPERATOR } from '../../../auth/callers/caller.ts';
import { isPageKey } from '../../../auth/callers/page-keys.ts';
import { GatewayError } from '../../../errors.ts';
import type { CallRing, KeptCall } from '../../../inspector/call-ring.ts';
import { FilterError, matches, parseFilter } from '../../../inspector/filter.ts';
import type { Inspector } from '../../../inspector/inspector.ts';
import { isPageServed, KEY_OF_START } from '../../../inspector/page-place.ts';
import type { Call, Rights } from '../../../inspector/wire.ts';
import { AuthenticationError, unauthenticated, wrongPageKey } from '../../authentication-error.ts';
import { type Exchange, exchangeOf } from '../../exchange.ts';
import { notFound } from '../../responses.ts';
import { assertAdminListener, assertRequestHeader } from '../access.ts';

/** Somebody who may look, and the exchange by which it is asked. */
export interface Viewer {
  readonly exchange: Exchange;
  readonly inspector: Inspector;
  readonly rights: Rights;
}

/** What no other origin may be given, and what nothing may keep. */
const HEADERS: readonly (readonly [name: string, value: string])[] = [
  ['Cache-Control', 'no-store, no-transform'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['X-Content-Type-Options', 'nosniff'],
];

/**
 * Who makes a request for data of the inspector. Throws gateway.route.not.found where none is served,
 * gateway.origin.forbidden without the header that no link, form or script tag can send, gateway.client.* for whoever
 * may see nothing.
 */
export function viewerOf(request: FastifyRequest): Viewer {
  const { exchange, inspector } = inspectorExchange(request);
  const { caller, role, gateway } = exchange;
  const { authenticator } = gateway.runtime;
  const key = request.headers['x-gateway-key'];
  // A body takes as long as its sender likes, and keys end.
  if (typeof key === 'string' && isPageKey(key) && gateway.pageKeys.find(key) === null) throw wrongPageKey();
  const current =
    caller === OPERATOR ? caller : authenticator.assertRenewed(caller, role, authenticator.peerOf(request.raw, role));
  exchange.caller = current;
  return { exchange, inspector, rights: rightsOf(exchange) };
}

/** The exchange of a route of the inspector's data, whoever asks. */
export function inspectorExchange({ raw }: FastifyRequest): { exchange: Exchange; inspector: Inspector } {
  const exchange = exchangeOf(raw);
  for (const [name, value] of HEADERS) exchange.response.setHeader(name, value);
  const inspector = assertInspected(exchange);
  assertRequestHeader(exchange);
  return { exchange, inspector };
}

/** Throws gateway.route.not.found where nothing of the inspector is served. */
export function assertInspected(exchange: Exchange): Inspector {
  assertAdminListener(exchange);
  const { gateway, record, route, role } = exchange;
  // The router takes an empty segment for a name: admission has not.
  if (route.kind !== 'local' || route.own === null) throw notFound(role.admin);
  // Pages ask often: while all is well that is no news.
  record.isPoll = true;
  const inspector = inspectorFor(exchange);
  if (inspector === null)
    throw new GatewayError(
      'gateway.route.not.found',
      gateway.runtime.config.inspector.enabled === false
        ? 'calls cannot be looked at: inspector.enabled is false'
        : 'calls cannot be looked at here: set inspector.enabled = true where other machines reach the admin listener',
    );
  return inspector;
}

/** The inspector, where the listener serves it: by itself only where no other machine reaches that. */
export function inspectorFor({ gateway, role }: Pick<Exchange, 'gateway' | 'role'>): Inspector | null {
  return role.admin && isPageServed(gateway.runtime.config, role.isLocal) ? gateway.inspector : null;
}

/** What a caller may see and do. Throws where that is nothing. */
export function rightsOf({ caller, role, gateway }: Pick<Exchange, 'caller' | 'role' | 'gateway'>): Rights {
  const { authenticator, config } = gateway.runtime;
  const { replay, capture } = config.inspector;
  const { client } = caller;
  const all: Rights = { sees: 'all', client: client?.name ?? null, capture: capture !== 'none', replay, clear: true };
  // Its calls, and what is kept for them, are those of all users of the application.
  if (client !== null && caller.session !== null)
    throw new GatewayError(
      'gateway.client.forbidden',
      'the session of a user may not look at calls, which are those of all users of its client',
    );
  if (client?.isAdmin) return all;
  if (client?.inspect === 'own')
    return { ...all, sees: 'own', capture: false, clear: false, replay: replay === 'off' ? 'off' : 'safe' };
  if (client !== null)
    throw new GatewayError(
      'gateway.client.forbidden',
      'looking at calls needs a client with admin = true, or with inspect = own for those of its own',
    );
  if (!authenticator.asksForNoProof) {
    if (!caller.isAuthenticated) throw unauthenticated('looking at calls needs a client with admin = true', false);
    throw new GatewayError('gateway.client.forbidden', 'looking at calls needs a client with admin = true');
  }
  if (caller === OPERATOR || isOurSocket(role.peerName)) return all;
  throw new AuthenticationError(`${KEY_OF_START} in X-Gateway-Key: \`gcg open\` opens the page with it`, false);
}

/** Whether callers come by a Unix socket that we made: its mode is 0600. Of one that we were given nobody knows that. */
function isOurSocket(peerName: string | undefined): boolean {
  return peerName?.startsWith('unix:') === true;
}

const RETRY_AFTER_MS = 1_000;

/** Places for answers that may be large: each viewer may have so many that are made, or that it has not read. */
export class Places {
  readonly #most: number;
  readonly #taken = new Map<string | null, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes one until the response is over. Throws gateway.inspector.busy where all are taken. */
  take({ exchange: { connection, response }, rights: { client } }: Viewer): void {
    const taken = this.#taken.get(client) ?? 0;
    if (taken >= this.#most)
      throw new GatewayError(
        'gateway.inspector.busy',
        `${taken} answers to you are not read yet, and no more may wait`,
        {
          retryAfterMs: RETRY_AFTER_MS,
        },
      );
    if (connection.disconnected) return;
    this.#taken.set(client, taken + 1);
    response.once('close', () => {
      const left = (this.#taken.get(client) ?? 1) - 1;
      if (left === 0) this.#taken.delete(client);
      else this.#taken.set(client, left);
    });
  }
}

/** By its number in this instance, or by its request id. */
export function findCall(ring: CallRing, id: string): KeptCall | null {
  if (/^\d{1,15}$/.test(id)) return ring.get(Number(id));
  return /^[\w-]{1,64}$/.test(id) ? ring.byRequestId(id) : null;
}

/** What somebody may not see is as what is not there. */
export function noSuchCall(): GatewayError {
  return new GatewayError(
    'gateway.route.not.found',
    'no such call: it is not kept any more, never was, or is not yours to see',
  );
}

/** Responds with a JSON object. */
export function sendInspection({ response, record }: Exchange, json: string, status = 200): void {
  record.status = status;
  const body = `${json}\n`;
  response.writeHead(status, [
    'Content-Type',
    'application/json',
    'Content-Length',
    String(Buffer.byteLength(body)),
    'X-Gateway-Request-Id',
    record.requestId,
  ]);
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** Makes the outcome of a change a line of the audit trail, where there is one. */
export function auditChange({ runtime, request, response, record }: Exchange): void {
  const { audit } = runtime;
  if (audit === null) return;
  const peer = runtime.trustedProxies.peerOf(request);
  response.once('close', () => audit.writeAdmin(record, peer));
}

/** The test of a filter's text; null where it lets every call through. Throws gateway.request.invalid with the place. */
export function filterOf(text: string, now: () => number): ((call: Call) => boolean) | null {
  if (text.trim() === '') return null;
  try {
    const filter = parseFilter(text);
    return (call) => matches(filter, call, now());
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    const message = `f, at ${error.column}: ${error.message}`;
    throw new GatewayError('gateway.request.invalid', message, { statusCode: 400 });
  }
}
