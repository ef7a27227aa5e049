// GET and POST /oauth/authorize and GET /logout: shows the login form (no script in it), remembers who logged in, and
// redirects. It does not check the parameters of a request.

import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type AuthorizeRequest,
  addToRedirect,
  isRegisteredRedirect,
  type ReturnAddress,
  readAuthorizeRequest,
  readReturnAddress,
  toFormActionSource,
} from './authorize-request.ts';
import type { SandboxUser } from './directory.ts';
import type { SandboxRequest } from './events.ts';
import { readBody, splitTarget } from './exchange.ts';
import { isOAuthError, OAuthError } from './faults.ts';
import { createOpaqueToken } from './random.ts';
import type { SandboxState } from './state.ts';
import { mintToken } from './token-endpoint.ts';

const TRANSACTION_LIFE_MS = 10 * 60_000;
const MAX_KEPT = 1000;
const MAX_FORM_BYTES = 8192;
const USERS_SHOWN = 100;
const SESSION_COOKIE = 'sandbox_session';

/** The login page and the browser sessions that it remembers. */
export class Login {
  readonly #sandbox: SandboxState;
  /** Requests whose form is shown, by the transaction that the form sends back. */
  readonly #transactions = new Map<string, { request: AuthorizeRequest; expiresAt: number }>();
  /** User ids by the session cookie of a browser. */
  readonly #sessions = new Map<string, string>();

  constructor(sandbox: SandboxState) {
    this.#sandbox = sandbox;
  }

  /** Answers one login request. Never rejects. */
  async answer(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> {
    res.setHeader('ININ-Correlation-Id', record.correlationId);
    try {
      const { path } = splitTarget(req.url ?? '');
      if (path === '/logout' && req.method === 'GET') this.#logout(req, res, record);
      else if (path !== '/logout' && req.method === 'GET') await this.#authorize(req, res, record);
      else if (path !== '/logout' && req.method === 'POST') await this.#decide(req, res, record);
      else sendPage(res, 405, renderMessagePage('Not possible', 'This page knows GET only.'));
    } catch (error) {
      if (res.headersSent || res.socket?.destroyed !== false) return;
      const text = isOAuthError(error) ? `${error.error}: ${error.message}` : 'The simulation failed.';
      sendPage(res, isOAuthError(error) ? 400 : 500, renderMessagePage('Login failed', text));
    }
  }

  async #authorize(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> {
    const { query } = splitTarget(req.url ?? '');
    const address = readReturnAddress(this.#sandbox, query);
    record.clientId = address.client.id;
    try {
      const request = readAuthorizeRequest(this.#sandbox, query, address);
      const user = this.#decideAlone(req, request);
      if (user) return this.#allow(res, request, user, record);
      const transaction = this.#keep(this.#transactions, {
        request,
        expiresAt: this.#sandbox.clock.now() + TRANSACTION_LIFE_MS,
      });
      const users = this.#activeUsers();
      return sendPage(
        res,
        200,
        renderLoginPage(request, users.slice(0, USERS_SHOWN), transaction, findHinted(users, request.loginHint)?.id),
      );
    } catch (error) {
      if (!isOAuthError(error)) throw error;
      sendError(res, address, error);
    }
  }

  async #decide(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> {
    const body = await readBody(req, MAX_FORM_BYTES, () => new OAuthError('invalid_request', 'the form is too large'));
    const form = new URLSearchParams(body.toString('utf8'));
    const transaction = form.get('transaction') ?? '';
    const pending = this.#transactions.get(transaction);
    this.#transactions.delete(transaction);
    if (!pending || pending.expiresAt <= this.#sandbox.clock.now())
      throw new OAuthError('invalid_request', 'this login has ended; start it again');
    const { request } = pending;
    record.clientId = request.client.id;
    if (form.get('decision') !== 'allow')
      return sendError(res, request, new OAuthError('access_denied', 'the user refused'));
    const user = this.#activeUsers().find((candidate) => candidate.id === form.get('user'));
    if (!user) throw new OAuthError('invalid_request', 'no such user');
    const session = this.#keep(this.#sessions, user.id);
    res.setHeader('Set-Cookie', `${SESSION_COOKIE}=${session}; Path=/; HttpOnly; SameSite=Lax`);
    this.#allow(res, request, user, record);
  }

  /** Who is logged in without a form: by the `login` switch, or from an earlier login unless `prompt=login`. */
  #decideAlone(req: IncomingMessage, request: AuthorizeRequest): SandboxUser | undefined {
    const wanted = this.#sandbox.switches.now.login;
    if (wanted && 'deny' in wanted) throw new OAuthError('access_denied', wanted.deny);
    if (wanted) {
      const user = this.#sandbox.directory.find(wanted.approve) ?? this.#sandbox.directory.findByEmail(wanted.approve);
      if (user) return user;
      throw new OAuthError('server_error', 'the login switch names no user');
    }
    const session = readSession(req);
    return request.prompt === 'login' || session === undefined
      ? undefined
      : this.#sandbox.directory.find(this.#sessions.get(session) ?? '');
  }

  #allow(res: ServerResponse, request: AuthorizeRequest, user: SandboxUser, record: SandboxRequest): void {
    const { client, redirectUri, responseType, state, challenge, target } = request;
    const subject = { clientId: client.id, userId: user.id, scope: client.scope, target };
    if (responseType === 'code') {
      const code = this.#sandbox.codes.issue({
        subject: { ...subject, grant: challenge === undefined ? 'authorization_code' : 'pkce' },
        redirectUri,
        challenge,
      });
      redirect(res, addToRedirect(redirectUri, 'query', { code, state }));
      return;
    }
    const { reply, token } = mintToken(this.#sandbox, { ...subject, grant: 'implicit' });
    record.tokenSerial = token.serial;
    this.#sandbox.stats.tokenRequest('implicit', 'ok');
    const { access_token, token_type, expires_in } = reply;
    redirect(
      res,
      addToRedirect(redirectUri, 'fragment', { access_token, expires_in: String(expires_in), token_type, state }),
    );
  }

  /** Ends the browser's session and every login of that person with that client. */
  #logout(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): void {
    const { query } = splitTarget(req.url ?? '');
    const client = this.#sandbox.clients.find(query.get('client_id') ?? '');
    if (!client) throw new OAuthError('invalid_client', 'client not found');
    record.clientId = client.id;
    const session = readSession(req);
    const userId = session === undefined ? undefined : this.#sessions.get(session);
    if (session !== undefined) this.#sessions.delete(session);
    if (userId !== undefined) {
      this.#sandbox.tokens.revoke((token) => {
        if (token.userId !== userId || token.clientId !== client.id) return false;
        if (token.familyId !== undefined) this.#sandbox.refreshTokens.revokeFamily(token.familyId);
        return true;
      });
    }
    res.setHeader('Set-Cookie', `${SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`);
    const target = query.get('redirect_uri');
    if (target === null) sendPage(res, 200, renderMessagePage('Logged out', 'You are logged out.'));
    else if (isRegisteredRedirect(client.redirectUris ?? [], target)) redirect(res, target);
    else throw new OAuthError('invalid_request', 'redirect_uri is not registered for this client');
  }

  #activeUsers(): SandboxUser[] {
    return this.#sandbox.directory.list().filter((user) => user.state === 'active');
  }

  #keep<T>(map: Map<string, T>, value: T): string {
    const key = createOpaqueToken(this.#sandbox.random).slice(0, 43);
    map.set(key, value);
    const oldest = map.keys().next().value;
    if (map.size > MAX_KEPT && oldest !== undefined) map.delete(oldest);
    return key;
  }
}

/** `login_hint` is an email, an organisation, or `email:organisation`. */
function findHinted(users: readonly SandboxUser[], hint: string | undefined): SandboxUser | undefined {
  const email = hint?.split(':')[0]?.toLowerCase();
  return users.find((user) => user.email.toLowerCase() === email);
}

function readSession(req: IncomingMessage): string | undefined {
  return new RegExp(`(?:^|;\\s*)${SESSION_COOKIE}=([\\w-]{43})(?:;|$)`).exec(req.headers.cookie ?? '')?.[1];
}

function sendError(
  res: ServerResponse,
  { redirectUri, responseType, state }: ReturnAddress,
  { error, message }: OAuthError,
): void {
  redirect(
    res,
    addToRedirect(redirectUri, responseType === 'token' ? 'fragment' : 'query', {
      error,
      error_description: message,
      state,
    }),
  );
}

function redirect(res: ServerResponse, location: string): void {
  res.writeHead(302, { Location: location, 'Cache-Control': 'no-store', 'Content-Length': 0 }).end();
}

function sendPage(res: ServerResponse, status: number, { html, headers }: Page): void {
  res.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(html) }).end(html);
}

const STYLE = `:root{color-scheme:light dark}
*{box-sizing:border-box}
body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;overflow-wrap:anywhere}
body{color:#1b1b1b;background:#fff}
.notice{border-left:.3rem solid #b45309;padding:.5rem 1rem;background:#fef3c7}
select,button{font:inherit;padding:.4rem .8rem;margin:.3rem .5rem .3rem 0;max-width:100%}
select{width:100%}
label{display:block;font-weight:600}
@media (max-width:34rem){body{margin:1rem auto}}
@media (prefers-color-scheme:dark){
body{color:#e7eaf0;background:#15191f}
.notice{background:#3a2a08;border-color:#f0c06a}}`;
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** A page and the headers that have to be sent with it. */
interface Page {
  html: string;
  headers: Record<string, string>;
}

/** The form. `transaction` names the request when the form comes back. */
function renderLoginPage(
  request: AuthorizeRequest,
  users: readonly SandboxUser[],
  transaction: string,
  chosen: string | undefined,
): Page {
  const options = users.map((user) => {
    const selected = user.id === chosen ? ' selected' : '';
    const text = `${user.name} (${user.email}), ${user.title}`;
    return `<option value="${escapeHtml(user.id)}"${selected}>${escapeHtml(text)}</option>`;
  });
  const facts = [
    request.org !== undefined && `Organization ${request.org}, identity provider ${request.provider}.`,
    request.target !== undefined && `Access to authorized organization ${request.target}.`,
  ].filter((fact) => fact !== false);
  const destination = new URL(request.redirectUri).host || request.redirectUri;
  return renderPage(
    'Log in',
    `<p><strong>${escapeHtml(request.client.name)}</strong> asks for access.
You will return to ${escapeHtml(destination)}.</p>
${facts.map((fact) => `<p>${escapeHtml(fact)}</p>`).join('\n')}
<form method="post" action="/oauth/authorize">
<input type="hidden" name="transaction" value="${escapeHtml(transaction)}">
<label for="user">Log in as</label>
<select id="user" name="user">
${options.join('\n')}
</select>
<p><button type="submit" name="decision" value="allow">Log in</button>
<button type="submit" name="decision" value="deny">Refuse</button></p>
</form>`,
    `'self' ${toFormActionSource(request.redirectUri)}`,
  );
}

/** A page that shows one message. */
function renderMessagePage(title: string, text: string): Page {
  return renderPage(title, `<p>${escapeHtml(text)}</p>`, "'none'");
}

function renderPage(title: string, body: string, formAction: string): Page {
  return {
    html: `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)} - simulation</title>
<style>${STYLE}</style></head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p class="notice">This is a simulation for development and tests.
It is not Genesys Cloud, and no password is needed.</p>
${body}
</main>
</body>
</html>
`,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy':
        `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action ${formAction}; frame-ancestors 'none'; ` +
        `base-uri 'none'`,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      'Cache-Control': 'no-store',
    },
  };
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
