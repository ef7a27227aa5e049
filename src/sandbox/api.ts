// Everything under /api/v2: the bearer check with the platform's three refusals, the switches in their order, the
// route, its permissions where they are enforced, and the platform's headers and error bodies. It checks no scopes.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SandboxRequest } from './events.ts';
import { createGoneSignal, sendJson, splitTarget } from './exchange.ts';
import { isPlatformError, PlatformError } from './faults.ts';
import { assertPermitted } from './permissions.ts';
import type { RouteTable } from './route-table.ts';
import type { SandboxState } from './state.ts';
import { formatRetryAfter, type Switches } from './switches.ts';
import type { AccessToken } from './tokens.ts';

const SERVER_ERRORS = {
  500: [
    'internal.server.error',
    'The server encountered an unexpected condition which prevented it from fulfilling the request.',
  ],
  502: ['bad.gateway', 'The server received an invalid response.'],
  503: [
    'service.unavailable',
    'Service Unavailable - The server is currently unavailable (because it is overloaded or down for maintenance).',
  ],
  504: ['request.timeout', 'The request timed out.'],
} as const;

/** The longest part of an unknown path that an error repeats, characters. */
const SHOWN_PATH = 200;

/** Answers one request and completes its record. Never rejects. */
export type Answer = (req: IncomingMessage, res: ServerResponse, record: SandboxRequest) => Promise<void>;

/** Returns what answers API calls. `streamingBase` is what the connectUri of channels begins with. */
export function createApi(sandbox: SandboxState, routes: RouteTable, streamingBase: () => string): Answer {
  return async (req, res, record) => {
    const gone = createGoneSignal(res);
    res.once('close', sandbox.stats.enter('api'));
    setPlatformHeaders(sandbox, req, res, record.correlationId);
    res.once('close', () => sandbox.stats.apiCall(res.writableFinished ? String(res.statusCode) : 'closed'));
    try {
      await answer(sandbox, routes, streamingBase(), req, res, record, gone);
    } catch (error) {
      await answerError(req, res, record.correlationId, error);
    }
  };
}

async function answer(
  sandbox: SandboxState,
  routes: RouteTable,
  streamingBase: string,
  req: IncomingMessage,
  res: ServerResponse,
  record: SandboxRequest,
  gone: AbortSignal,
) {
  const { path, query } = splitTarget(req.url ?? '');
  const method = req.method ?? '';
  if (method === 'OPTIONS') return answerPreflight(req, res);
  const token = checkBearer(sandbox, req);
  record.tokenSerial = token.serial;
  record.clientId = token.clientId;
  const call = { method, path };
  const { switches, holding } = sandbox;
  if (switches.take('holdApi', call)) await holding.held(gone, () => sandbox.events.emitter.emit('held', record));
  if (switches.now.latencyMs > 0) await holding.delay(switches.now.latencyMs, gone);
  if (switches.take('closeBeforeAnswer', call)) return void res.socket?.destroy();
  const found = routes.find(method, path);
  limitRate(sandbox, token, found?.route.template ?? `${method} ${path}`, Number(query.get('pageSize') ?? Number.NaN));
  const unauthorized = switches.take('unauthorized', call);
  if (unauthorized) throw createUnauthorized(unauthorized.code ?? 'bad.credentials');
  const failing = switches.take('serverError', call);
  if (failing) throw createServerError(sandbox, failing);
  if (!found)
    throw new PlatformError(
      404,
      'not.found',
      `The simulation does not have ${method} ${path.slice(0, SHOWN_PATH)}; the real platform may.`,
    );
  const granted = switches.now.permissions;
  if (granted !== null && found.route.needs !== undefined) assertPermitted(found.route.needs, granted);
  const cut = switches.take('cutBody', call) !== undefined;
  await found.route.handle({
    sandbox,
    req,
    res,
    path,
    query,
    params: found.params,
    token,
    streamingBase,
    cut,
    async reply(status, value) {
      if (value !== undefined) return sendJson(req, res, status, value, cut);
      res.statusCode = status;
      res.end();
    },
  });
}

function limitRate(sandbox: SandboxState, { value, grant }: AccessToken, route: string, pageSize: number): void {
  const wanted = sandbox.switches.now.rateLimit;
  const call = pageSize >= 1 ? { grant, pageSize } : { grant };
  const hit = wanted && sandbox.rateLimiter.take(value, route, wanted, call);
  if (!hit) return;
  sandbox.stats.add('rateLimitedCalls');
  const { retryAfterS, ...limit } = hit;
  const message = `Rate limit exceeded the maximum. Retry the request in [${retryAfterS}] seconds`;
  const { retryAfterAs = 'seconds', isUnnamed } = wanted;
  const retryAfter =
    retryAfterAs === 'none' ? undefined : formatRetryAfter({ retryAfterS, retryAfterAs }, sandbox.clock.now());
  throw new PlatformError(429, 'too.many.requests.retry.after', message, {
    ...(isUnnamed !== true && { limit }),
    ...(retryAfter !== undefined && { headers: { 'Retry-After': retryAfter } }),
  });
}

function createServerError(sandbox: SandboxState, wanted: NonNullable<Switches['serverError']>): PlatformError {
  const [code, message] = SERVER_ERRORS[wanted.status];
  const retryAfter = formatRetryAfter(wanted, sandbox.clock.now());
  return new PlatformError(
    wanted.status,
    code,
    message,
    retryAfter === undefined ? {} : { headers: { 'Retry-After': retryAfter } },
  );
}

async function answerError(
  req: IncomingMessage,
  res: ServerResponse,
  correlationId: string,
  error: unknown,
): Promise<void> {
  if (res.headersSent || res.socket?.destroyed !== false) return void res.socket?.destroy();
  const refusal = isPlatformError(error) ? error : new PlatformError(500, ...SERVER_ERRORS[500]);
  for (const [name, value] of Object.entries(refusal.extra.headers ?? {})) res.setHeader(name, value);
  await sendJson(req, res, refusal.status, refusal.body(correlationId));
}

function setPlatformHeaders(
  sandbox: SandboxState,
  req: IncomingMessage,
  res: ServerResponse,
  correlationId: string,
): void {
  res.setHeader('ININ-Correlation-Id', correlationId);
  res.setHeader('Strict-Transport-Security', 'max-age=600; includeSubDomains');
  res.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate');
  res.setHeader('Pragma', 'no-cache');
  res.setHeader('Expires', '0');
  if (sandbox.switches.now.cookies)
    res.setHeader('Set-Cookie', [
      'sandbox_route=1; Path=/; Secure; HttpOnly',
      `sandbox_trace=${correlationId}; Path=/`,
    ]);
  if (req.headers.origin === undefined) return;
  res.setHeader('Access-Control-Allow-Origin', '*');
  res.setHeader('Access-Control-Expose-Headers', 'ININ-Correlation-Id, Retry-After');
}

/** Preflights need no token. Tokens travel in a header, never in a cookie, so any origin may ask. */
function answerPreflight(req: IncomingMessage, res: ServerResponse): void {
  res.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
  const asked = req.headers['access-control-request-headers'];
  if (asked !== undefined) res.setHeader('Access-Control-Allow-Headers', asked);
  res.setHeader('Access-Control-Max-Age', '600');
  res.statusCode = 204;
  res.end();
}

/** The refusals of the bearer check, also used by the switch that refuses good tokens. */
export function createUnauthorized(
  code: 'authentication.required' | 'bad.credentials' | 'credentials.expired',
): PlatformError {
  const messages = {
    'authentication.required': 'No authentication bearer token specified in authorization header.',
    'bad.credentials': 'Invalid login credentials.',
    'credentials.expired': 'The supplied credentials have expired.',
  };
  return new PlatformError(401, code, messages[code]);
}

/**
 * The valid token a call shows. Throws PlatformError 401, and 400 when there are two Authorization lines; counts what
 * it refuses.
 */
export function checkBearer(sandbox: SandboxState, req: IncomingMessage): AccessToken {
  if ((req.headersDistinct.authorization?.length ?? 0) > 1)
    throw new PlatformError(400, 'bad.request', 'Two Authorization headers.');
  const value = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? '')?.[1];
  if (value === undefined) {
    sandbox.stats.add('unauthenticatedCalls');
    throw createUnauthorized('authentication.required');
  }
  const checked = sandbox.tokens.check(value);
  if (checked.kind === 'unknown') {
    sandbox.stats.add('unknownTokenCalls');
    throw createUnauthorized('bad.credentials');
  }
  if (checked.kind === 'expired') {
    sandbox.stats.add('expiredTokenCalls');
    throw createUnauthorized('credentials.expired');
  }
  return checked.token;
}
