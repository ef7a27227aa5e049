// Login over HTTP: the start (GET for a browser, POST for `gcg`) and the callback (GET for codes, POST for what a page
// or `gcg` read for us), bound to the browser by a cookie. What a login is, and that it counts once, is decided
// elsewhere.

import type { FastifyInstance } from 'fastify';
import type { Credential } from '../../auth/credentials/credentials.ts';
import { createBinding, type LoginCallback, withoutLogin } from '../../auth/credentials/login.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { identityWords } from '../../upstream/own-calls.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';
import { CALLBACK_PATH } from '../own-routes.ts';
import { renderFragmentPage, renderLoginDone, renderLoginElsewhere, renderLoginFailed } from '../pages/login-pages.ts';
import { type Page, sendPage } from '../pages/page.ts';
import { sendJson } from '../responses.ts';
import { adminExchange, assertCsrfHeader, changingExchange, configuredCredential } from './access.ts';
import { assertRedirectUri, redirectUriFor } from './redirect-uri.ts';

type NamedRoute = { Params: { name: string } };

/**
 * Marks a start that was already sent to the host where the login ends: whatever Host arrives then, it is not sent
 * again.
 */
const AT_CALLBACK_HOST = 'here';

/** Registers the login routes. Bodies must arrive as text. */
export function registerLogin(app: FastifyInstance): void {
  app.get<NamedRoute>('/-/login/:name', { exposeHeadRoute: false }, async (request, reply) => {
    const exchange = adminExchange(request);
    const respond = await startInBrowser(exchange, configuredCredential(exchange.gateway, request.params.name));
    reply.hijack();
    respond();
  });
  app.get('/-/login', { exposeHeadRoute: false }, (request, reply) => {
    const exchange = adminExchange(request);
    const { name } = onlyLogin(exchange).config;
    reply.hijack();
    redirect(exchange, `login/${name}`);
  });
  app.post('/-/login', async (request, reply) => {
    const exchange = changingExchange(request);
    const login = await startForProgram(exchange, onlyLogin(exchange), redirectUriIn(request.body));
    reply.hijack();
    respondWithJson(exchange, login);
  });
  app.post<NamedRoute>('/-/login/:name', async (request, reply) => {
    const exchange = changingExchange(request);
    const found = configuredCredential(exchange.gateway, request.params.name);
    const login = await startForProgram(exchange, found, redirectUriIn(request.body));
    reply.hijack();
    respondWithJson(exchange, login);
  });
  app.get(CALLBACK_PATH, { exposeHeadRoute: false }, async (request, reply) => {
    const exchange = exchangeOf(request.raw);
    const query = exchange.route.kind === 'local' ? exchange.route.query : '';
    const { status, page, headers } = hasOutcome(query)
      ? await finishInBrowser(exchange, query)
      : { status: 200, page: renderFragmentPage(statusHref(exchange)), headers: [] };
    reply.hijack();
    respondWithPage(exchange, status, page, headers);
  });
  app.post(CALLBACK_PATH, async (request, reply) => {
    const exchange = exchangeOf(request.raw);
    assertCsrfHeader(exchange);
    const done = await complete(exchange, textOf(request.body));
    reply.hijack();
    respondWithJson(exchange, done);
  });
}

/** The credential to log in where none is named: the default one, else the only one that has a login. Throws else. */
function onlyLogin({ gateway }: Exchange): Credential {
  const withLogin = gateway.runtime.credentials.list().filter(({ hasLogin }) => hasLogin);
  const found = withLogin.find(({ config }) => config.isDefault) ?? (withLogin.length === 1 ? withLogin[0] : undefined);
  if (found !== undefined) return found;
  const names = withLogin.map(({ config }) => config.name).join(', ');
  throw new GatewayError(
    'gateway.credential.unknown',
    withLogin.length === 0
      ? 'no credential of this gateway has a login'
      : `several credentials have a login: open /-/login/NAME, where NAME is one of ${names}`,
  );
}

function redirectUriIn(body: unknown): string | null {
  return new URLSearchParams(textOf(body)).get('redirect_uri');
}

/** The response to a browser, ready to be sent; throws while nothing has been. */
async function startInBrowser(exchange: Exchange, found: Credential): Promise<() => void> {
  const { request, route, gateway } = exchange;
  const { name } = found.config;
  if (!found.hasLogin) throw new GatewayError('gateway.request.invalid', withoutLogin(found.config));
  const arrival = arrivalOf(exchange);
  const { uri, isLocalCallback } = redirectUriFor(found.config, gateway.runtime.config.server.publicUrl, arrival);
  if (!isLocalCallback) return () => respondWithPage(exchange, 409, renderLoginElsewhere(name, uri));
  const isSent = route.kind === 'local' && new URLSearchParams(route.query).has(AT_CALLBACK_HOST);
  // The cookie must be set where the browser comes back to: localhost and 127.0.0.1 are two places.
  if (!isHostOf(uri, arrival.host) && !isSent) {
    const base = uri.slice(0, -CALLBACK_PATH.length);
    return () => redirect(exchange, `${base}/-/login/${name}?${AT_CALLBACK_HOST}`);
  }
  const { binding, setCookie } = bindBrowser(request.headers.cookie, uri);
  const { url } = await gateway.logins.begin(found, { redirectUri: uri, binding });
  return () => redirect(exchange, url, ['Set-Cookie', setCookie]);
}

/** A login for `gcg` or another program, which takes the callback at `wanted` where it gives that. */
async function startForProgram(exchange: Exchange, found: Credential, wanted: string | null) {
  const { gateway } = exchange;
  const { publicUrl } = gateway.runtime.config.server;
  const arrival = arrivalOf(exchange);
  if (wanted !== null) assertRedirectUri(wanted, found.config, publicUrl, arrival);
  const redirectUri = wanted ?? redirectUriFor(found.config, publicUrl, arrival).uri;
  // Begun by an administrator, and finished by whoever holds the state: no browser is known yet.
  const { url, state, expiresAt } = await gateway.logins.begin(found, { redirectUri, binding: null });
  return { url, state, redirectUri, expiresAt: new Date(expiresAt).toISOString() };
}

async function finishInBrowser(
  exchange: Exchange,
  query: string,
): Promise<{ status: number; page: Page; headers: readonly string[] }> {
  try {
    const { credential } = await complete(exchange, query);
    const page = renderLoginDone(credential, await whoLoggedIn(exchange, credential), statusHref(exchange));
    return { status: 200, page, headers: [] };
  } catch (error) {
    if (!isGatewayError(error)) throw error;
    return {
      status: error.statusCode,
      page: renderLoginFailed(error.message, statusHref(exchange)),
      headers: ['X-Gateway-Error', error.code],
    };
  }
}

/** The page with the outcome is not held up for longer than this, ms: it only says more with a name on it. */
const WHO_WAIT_MS = 1_500;

async function whoLoggedIn({ gateway }: Exchange, name: string): Promise<string | null> {
  const credential = gateway.runtime.credentials.get(name);
  if (credential === undefined) return null;
  const { identity } = await gateway.identities.settled(credential, WHO_WAIT_MS);
  return identity && identityWords(identity);
}

/** Ends a login by what the login page sent: a query or form. */
function complete({ gateway, request }: Exchange, fields: string): Promise<{ credential: string }> {
  return gateway.logins.complete(readCallback(fields, readBinding(request.headers.cookie)));
}

/** From the callback to the status page, which only an admin listener has. */
function statusHref({ role }: Exchange): string | null {
  return role.admin ? '../' : null;
}

function respondWithJson({ response, record }: Exchange, document: unknown): void {
  record.status = 200;
  sendJson(response, 200, document, record);
}

function respondWithPage(
  { response, record }: Exchange,
  status: number,
  page: Page,
  headers: readonly string[] = [],
): void {
  record.status = status;
  sendPage(response, status, page, record.requestId, headers);
}

function redirect({ response, record }: Exchange, location: string, headers: readonly string[] = []): void {
  record.status = 302;
  const own = ['Location', location, 'Content-Length', '0', 'Cache-Control', 'no-store'];
  own.push('Referrer-Policy', 'no-referrer', 'X-Gateway-Request-Id', record.requestId, ...headers);
  response.writeHead(302, own);
  response.end();
}

function arrivalOf({ request }: Exchange) {
  const socket = request.socket as { encrypted?: boolean; remoteAddress?: string };
  if (request.headers.host === undefined) throw new GatewayError('gateway.request.invalid', 'the request has no Host');
  return {
    host: request.headers.host,
    isEncrypted: socket.encrypted === true,
    isUnixSocket: socket.remoteAddress === undefined,
  };
}

/** Whether a Host header is that of an address. An authenticated administrator may have come with any. */
function isHostOf(uri: string, host: string): boolean {
  return URL.canParse(`http://${host}`) && new URL(uri).host === new URL(`http://${host}`).host;
}

function textOf(body: unknown): string {
  return typeof body === 'string' ? body : '';
}

const NAME = 'gcg_login';
const MAX_AGE_S = 600;
const VALUE = /^[\w-]{43}$/;

/** The binding that a browser shows, or null. */
export function readBinding(cookie: string | undefined): string | null {
  for (const pair of cookie?.split(';') ?? []) {
    const [name, value = ''] = pair.trim().split('=', 2);
    if (name === NAME && VALUE.test(value)) return value;
  }
  return null;
}

/** The browser's binding, or a new one. A browser that shows one keeps it, so that all its tabs share one login. */
export function bindBrowser(cookie: string | undefined, redirectUri: string): { binding: string; setCookie: string } {
  const binding = readBinding(cookie) ?? createBinding();
  const { protocol, pathname } = new URL(redirectUri);
  // Shown to the start page too, beside the callback: a second tab finds the login of the first.
  const path = pathname.slice(0, pathname.length - CALLBACK_PATH.length + '/-/'.length);
  const secure = protocol === 'https:' ? '; Secure' : '';
  return {
    binding,
    setCookie: `${NAME}=${binding}; Max-Age=${MAX_AGE_S}; Path=${path}; HttpOnly; SameSite=Lax${secure}`,
  };
}

/** Whether a callback's query has the login's outcome in it, and not in a fragment that only the browser sees. */
export function hasOutcome(query: string): boolean {
  const fields = new URLSearchParams(query);
  return fields.has('code') || fields.has('error');
}

/** Throws gateway.request.invalid for a missing state or a field that is there twice. */
export function readCallback(text: string, binding: string | null): LoginCallback {
  const fields = new URLSearchParams(text);
  const map = new Map(fields);
  if (map.size !== [...fields.keys()].length)
    throw new GatewayError('gateway.request.invalid', 'the answer of the login page is ambiguous');
  const state = map.get('state');
  if (!state)
    throw new GatewayError(
      'gateway.request.invalid',
      'the answer of the login page has no state: start the login again',
    );
  const fragment = map.has('access_token') ? Object.fromEntries(map) : undefined;
  return {
    state,
    binding,
    code: map.get('code'),
    error: map.get('error'),
    errorDescription: map.get('error_description'),
    ...(fragment && { fragment }),
  };
}
