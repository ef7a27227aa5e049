// Makes a call again that somebody looks at: whether that may be done, and by what request. The call itself goes the way
// of all calls, as the caller that made it.

import type { FastifyInstance } from 'fastify';
import type { Caller } from '../../../auth/callers/caller.ts';
import { ANONYMOUS, type EarlierCaller } from '../../../auth/callers/caller.ts';
import type { ClientHandle } from '../../../auth/callers/client-handle.ts';
import { readPath } from '../../../auth/callers/path-readings.ts';
import type { SessionHolder } from '../../../auth/callers/session.ts';
import { GatewayError } from '../../../errors.ts';
import { isMasked, repeatedHeaders } from '../../../inspector/repeat.ts';
import { maySee } from '../../../inspector/search.ts';
import type { Call, CallAnswer, ReplayAnswer } from '../../../inspector/wire.ts';
import { credentialOfLimit } from '../../../upstream/call.ts';
import { asksForOtherMethod, otherPathAsked } from '../../authorize.ts';
import type { ReplayOrder } from '../../context.ts';
import type { ListenerRole } from '../../listener-plan.ts';
import { parseTarget, type Route } from '../../request-target.ts';
import { readBodiesAsText } from '../access.ts';
import { invalid, jsonBody } from './capture.ts';
import { auditChange, findCall, noSuchCall, sendInspection, type Viewer, viewerOf } from './viewer.ts';

/** Room for a path. */
const LARGEST_BODY_BYTES = 16 * 1024;

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD']);

type Captured = CallAnswer['captured'];

/** Registers the route. */
export function registerReplay(app: FastifyInstance): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_BODY_BYTES);
    scope.post<{ Params: { id: string } }>('/-/calls/:id/replay', async (request, reply) => {
      const viewer = viewerOf(request);
      const { exchange, inspector, rights } = viewer;
      const { confirm, anyway } = wishIn(request.body);
      const found = findCall(inspector.ring, request.params.id);
      const call = found && (JSON.parse(found.json) as Call);
      if (call === null || !maySee(call.client, rights)) throw noSuchCall();
      const captured = capturedOf(viewer, call);
      const refusal = whyNot(viewer, call, captured);
      if (refusal !== null) throw refusal;
      if (!SAFE.has(call.method) && confirm !== literalOf(call)) throw unconfirmed(call);
      if (!anyway) assertNotPaused(viewer, call);
      exchange.record.isPoll = false;
      auditChange(exchange);
      const answer: ReplayAnswer = { id: await exchange.gateway.replays.start(orderOf(viewer, call, captured)) };
      reply.hijack();
      if (!exchange.connection.disconnected) sendInspection(exchange, JSON.stringify(answer), 202);
    });
  });
}

/** Whether a call can be made again by who looks at it, and why not. */
export function replayOf(viewer: Viewer, call: Call, captured: Captured): CallAnswer['replay'] {
  const refusal = whyNot(viewer, call, captured);
  return {
    possible: refusal === null,
    needsConfirmation: !SAFE.has(call.method),
    reason: refusal?.message ?? null,
  };
}

function wishIn(body: unknown): { confirm: string | undefined; anyway: boolean } {
  const wish = typeof body === 'string' && body.trim() !== '' ? jsonBody(body) : {};
  const { confirm, anyway = false } = wish;
  if (confirm !== undefined && typeof confirm !== 'string') throw invalid('confirm is METHOD path, as text');
  if (typeof anyway !== 'boolean') throw invalid('anyway is true or false');
  return { confirm, anyway };
}

/** What a capture kept of a call, for who may see that. */
function capturedOf({ inspector, rights }: Viewer, call: Call): Captured {
  return rights.sees === 'all' ? inspector.capture.of(call.requestId) : undefined;
}

/** What has to be said to make a call again that may change something. */
function literalOf({ method, path }: Call): string {
  return `${method} ${path}`;
}

/** The refusal of who looks, or of the call itself; null where it can be made again. */
function whyNot({ exchange, inspector, rights }: Viewer, call: Call, captured: Captured): GatewayError | null {
  if (rights.replay === 'off') return forbidden('calls are not made again here: inspector.replay is off');
  if (!SAFE.has(call.method) && rights.sees === 'own')
    return forbidden('making calls again that may change something needs a client with admin = true');
  if (!SAFE.has(call.method) && rights.replay === 'safe')
    return forbidden('only GET and HEAD are made again here: inspector.replay = confirm lets others be, too');
  const bound = exchange.caller.handle?.credential ?? null;
  if (rights.sees === 'own' && bound !== null && call.credential !== bound)
    return forbidden(`this handle is for the credential ${bound} alone, and the call was not made with it`);
  if (inspector.senders.of(call.seq) === null)
    return conflict('whose call it would be is not known: it was refused before that was clear, or is too long ago');
  return whyNotTarget(call, captured) ?? whyNotBody(call, captured);
}

function whyNotTarget({ method, path }: Call, captured: Captured): GatewayError | null {
  if (isMasked(path)) return conflict('its path holds a secret, or is too long: neither is kept');
  const route = forwardedRoute(path);
  if (route === null) return conflict('only calls to Genesys Cloud can be made again');
  const { target } = route;
  const headers = Object.fromEntries(
    (captured?.requestHeaders ?? []).map(([name, value]) => [name.toLowerCase(), value]),
  );
  if (asksForOtherMethod(headers, target) || otherPathAsked(headers) !== null)
    return conflict('it asks to be taken for another call than it is');
  const queryAt = target.indexOf('?');
  const readings = readPath(queryAt < 0 ? target : target.slice(0, queryAt));
  if (readings === null) return conflict('its path can be read in more than one way');
  const parts = readings.map((reading) => reading.filter((segment) => segment !== '').slice(2));
  if (parts.some(([area, kind]) => area === 'notifications' && kind === 'channels'))
    return conflict('channels are made and changed by who uses them');
  if (!SAFE.has(method) && parts.some(([area]) => area === 'tokens'))
    return conflict('calls that end tokens are not made again');
  return null;
}

/** The route of a path that leads to the platform; null for any other. */
function forwardedRoute(path: string): Extract<Route, { kind: 'forward' }> | null {
  try {
    const route = parseTarget(path);
    return route.kind === 'forward' ? route : null;
  } catch {
    // No path that came in.
    return null;
  }
}

function whyNotBody(call: Call, captured: Captured): GatewayError | null {
  if (call.requestBytes === 0) return hadNoBody(call, captured) ? null : conflict(NO_BODY_KEPT);
  if (captured?.isRequestBodyWhole !== true) return conflict(NO_BODY_KEPT);
  const isWhole = headersNamed(captured, 'content-length')[0] === String(call.requestBytes);
  return isWhole ? null : conflict('its body may not have come whole');
}

const NO_BODY_KEPT =
  'its body is not kept, or not whole: bodies are kept while somebody captures them, and secrets in them are masked';

/** Of a call of which no body was read: it was sent without, or was refused before anybody looked for one. */
function hadNoBody({ method, attempts }: Call, captured: Captured): boolean {
  if (SAFE.has(method) || attempts > 0) return true;
  if (captured?.requestHeaders === undefined) return false;
  const [length = '0'] = headersNamed(captured, 'content-length');
  return length === '0' && headersNamed(captured, 'transfer-encoding').length === 0;
}

function headersNamed(captured: Captured, wanted: string): string[] {
  return (captured?.requestHeaders ?? []).flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []));
}

/** Throws gateway.inspector.busy while a limit is paused that the call would count for: others need what is left. */
function assertNotPaused({ exchange, inspector, rights }: Viewer, { seq, credential = '', method, route }: Call): void {
  const isSession = 'clientId' in (inspector.senders.of(seq)?.who ?? ANONYMOUS);
  const drawn = `${method} ${route}`;
  const paused = exchange.gateway.runtime.upstream.limits().filter(
    (limit) =>
      limit.pausedMs > 0 &&
      limit.scope !== 'client' &&
      (limit.credential === null ||
        // Sessions have limits of their own; which one this is does not matter enough to find out.
        (isSession ? credentialOfLimit(limit.credential) === credential : limit.credential === credential)) &&
      (limit.routes === null || limit.routes.includes(drawn)),
  );
  const longest = Math.max(0, ...paused.map(({ pausedMs }) => pausedMs));
  if (longest === 0) return;
  const name = rights.sees === 'all' ? paused[0]?.name : 'a limit that it counts for';
  throw new GatewayError(
    'gateway.inspector.busy',
    `${name} is paused, and callers wait for it: "anyway": true makes the call all the same`,
    { retryAfterMs: longest },
  );
}

/** The request, and whose it is. */
function orderOf({ exchange, inspector, rights }: Viewer, call: Call, captured: Captured): ReplayOrder {
  const sender = inspector.senders.of(call.seq);
  const caller = earlierCaller((sender?.who ?? ANONYMOUS) as Caller | ClientHandle | SessionHolder);
  return {
    method: call.method,
    target: call.path,
    headers: headersOf(call, caller, captured),
    body: call.requestBytes === 0 ? null : (captured?.requestBody ?? null),
    caller,
    role: (sender?.by ?? exchange.role) as ListenerRole,
    peer: call.peer ?? null,
    replayOf: call.requestId,
    replayedBy: rights.client ?? 'operator',
  };
}

/** The caller behind what was noted when the call was made. */
function earlierCaller(who: Caller | ClientHandle | SessionHolder): EarlierCaller {
  if ('isAuthenticated' in who) return who;
  const { client: name, authFingerprint } = who;
  const client = name === null ? null : { name };
  return 'issuedAt' in who
    ? { client, authFingerprint, handle: who, session: null }
    : { client, authFingerprint, handle: null, session: { owner: who } };
}

function headersOf(call: Call, { handle, session }: EarlierCaller, captured: Captured): string[] {
  const headers = repeatedHeaders(captured?.requestHeaders ?? usualHeaders(call)).flat();
  // The credential that served it then, where its caller may choose.
  const isBound = session !== null || (handle !== null && handle.credential !== null);
  if (!isBound && call.credential !== undefined && forwardedRoute(call.path)?.credential === null)
    headers.push('X-Gateway-Credential', call.credential);
  return headers;
}

/** Those of which nothing is known, but of which there are some in almost every call. */
function usualHeaders({ userAgent }: Call): (readonly [string, string])[] {
  return [['Accept', '*/*'], ...(userAgent === undefined ? [] : [['User-Agent', userAgent] as const])];
}

function unconfirmed(call: Call): GatewayError {
  return conflict(`it may change something: "confirm" must be the call itself, ${JSON.stringify(literalOf(call))}`);
}

function forbidden(message: string): GatewayError {
  return new GatewayError('gateway.client.forbidden', message);
}

function conflict(message: string): GatewayError {
  return new GatewayError('gateway.request.invalid', message, { statusCode: 409 });
}
