// Login over HTTP: the start (GET for a browser, POST for `gcg`) and the callback (GET for codes, POST for what a page
// or `gcg` read for us), bound to the browser by a cookie. What a login is, and that it counts once, is decided
// elsewhere.

import type { FastifyInstance } from 'fastify';
import type { Credential } from '../../auth/credentials/credentials.ts';
import { createBinding, type LoginCallback, type Logins, withoutLogin } from '../../auth/credentials/login.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Exchange } from '../exchange.ts';
import { CALLBACK_PATH } from '../own-routes.ts';
import { renderFragmentPage, renderLoginDone, renderLoginElsewhere, renderLoginFailed } from '../pages/login-pages.ts';
import { type Page, sendPage } from '../pages/page.ts';
import { sendJson } from '../responses.ts';
import { type AdminGuard, assertCsrfHeader } from './admin-guard.ts';
import { assertRedirectUri, redirectUriFor } from './redirect-uri.ts';

/** What the routes work with; the functions give what belongs to the configuration at work. */
export interface LoginRoutesDeps {
  readonly guard: AdminGuard;
  readonly logins: Logins;
  readonly credential: (name: string) => Credential;
  readonly publicUrl: () => string | null;
}

type NamedRoute = { Params: { name: string } };

/**
 * Marks a start that was already sent to the address where the login ends: whatever Host arrives then, it is not sent
 * again.
 */
const AT_HOME = 'here';

/** Adds the routes. Bodies must arrive as text. */
export function registerLogin(app: FastifyInstance, { guard, logins, credential, publicUrl }: LoginRoutesDeps): void {
  app.get<NamedRoute>('/-/login/:name', { exposeHeadRoute: false }, (request, reply) => {
    const exchange = guard.read(request);
    const { name } = request.params;
    const found = credential(name);
    const answer = startInBrowser(exchange, found);
    reply.hijack();
    answer();
  });

  app.post<NamedRoute>('/-/login/:name', (request, reply) => {
    const exchange = guard.change(request);
    const found = credential(request.params.name);
    const wanted = new URLSearchParams(textOf(request.body)).get('redirect_uri');
    const arrival = arrivalOf(exchange);
    if (wanted !== null) assertRedirectUri(wanted, found.config, publicUrl(), arrival);
    const redirectUri = wanted ?? redirectUriFor(found.config, publicUrl(), arrival).uri;
    // Begun by somebody who proved to be an admin, and finished by whoever holds the state: no browser is known yet.
    const { url, state, expiresAt } = logins.begin(found, { redirectUri, binding: null });
    reply.hijack();
    exchange.record.status = 200;
    sendJson(
      exchange.response,
      200,
      { url, state, redirectUri, expiresAt: new Date(expiresAt).toISOString() },
      exchange.record.requestId,
    );
  });

  app.get(CALLBACK_PATH, { exposeHeadRoute: false }, async (request, reply) => {
    const exchange = guard.callback(request);
    const query = exchange.route.kind === 'local' ? exchange.route.query : '';
    const outcome = hasAnswer(query)
      ? await finishInBrowser(exchange, query)
      : { status: 200, page: renderFragmentPage(statusHref(exchange)), headers: [] };
    reply.hijack();
    answerPage(exchange, outcome.status, outcome.page, outcome.headers);
  });

  app.post(CALLBACK_PATH, async (request, reply) => {
    const exchange = guard.callback(request);
    assertCsrfHeader(exchange);
    const done = await logins.complete(
      readCallback(textOf(request.body), readBinding(exchange.request.headers.cookie)),
    );
    reply.hijack();
    exchange.record.status = 200;
    sendJson(exchange.response, 200, done, exchange.record.requestId);
  });

  /** The answer, ready to be sent; throws while nothing has been. */
  function startInBrowser(exchange: Exchange, found: Credential): () => void {
    const { request, route } = exchange;
    const { name } = found.config;
    if (!found.hasLogin) throw new GatewayError('gateway.request.invalid', withoutLogin(found.config));
    const arrival = arrivalOf(exchange);
    const { uri, isOurs } = redirectUriFor(found.config, publicUrl(), arrival);
    if (!isOurs) return () => answerPage(exchange, 409, renderLoginElsewhere(name, uri));
    const isSent = route.kind === 'local' && new URLSearchParams(route.query).has(AT_HOME);
    // The cookie must be set where the browser comes back to: localhost and 127.0.0.1 are two places.
    if (!isHostOf(uri, arrival.host) && !isSent) {
      const home = uri.slice(0, -CALLBACK_PATH.length);
      return () => answerRedirect(exchange, `${home}/-/login/${name}?${AT_HOME}`);
    }
    const { binding, setCookie } = bindBrowser(request.headers.cookie, uri);
    const { url } = logins.begin(found, { redirectUri: uri, binding });
    return () => answerRedirect(exchange, url, ['Set-Cookie', setCookie]);
  }

  async function finishInBrowser(
    exchange: Exchange,
    query: string,
  ): Promise<{ status: number; page: Page; headers: readonly string[] }> {
    try {
      const { credential: name } = await logins.complete(
        readCallback(query, readBinding(exchange.request.headers.cookie)),
      );
      return { status: 200, page: renderLoginDone(name, statusHref(exchange)), headers: [] };
    } catch (error) {
      if (!isGatewayError(error)) throw error;
      return {
        status: error.statusCode,
        page: renderLoginFailed(error.message, statusHref(exchange)),
        headers: ['X-Gateway-Error', error.code],
      };
    }
  }
}

/** From the callback to the status page, which only an admin listener has. */
function statusHref({ role }: Exchange): string | null {
  return role.admin ? '../' : null;
}

function answerPage({ response, record }: Exchange, status: number, page: Page, headers: readonly string[] = []): void {
  record.status = status;
  sendPage(response, status, page, record.requestId, headers);
}

function answerRedirect({ response, record }: Exchange, location: string, headers: readonly string[] = []): void {
  record.status = 302;
  const own = [
    'Location',
    location,
    'Content-Length',
    '0',
    'Cache-Control',
    'no-store',
    'Referrer-Policy',
    'no-referrer',
  ];
  response.writeHead(302, [...own, 'X-Gateway-Request-Id', record.requestId, ...headers]);
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

/** Whether a Host header is that of an address. One who proved to be an admin may have come with any. */
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

/** Whether there is an answer in it at all, and not in a fragment that only the browser sees. */
export function hasAnswer(query: string): boolean {
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
    ...{
      state,
      binding,
      code: map.get('code'),
      error: map.get('error'),
      errorDescription: map.get('error_description'),
    },
    ...(fragment && { fragment }),
  };
}
