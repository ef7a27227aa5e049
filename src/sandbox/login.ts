// GET and POST /oauth/authorize and GET /logout: shows the form, remembers who logged in, sends the answer to the
// redirect URI. What a request may ask and how the page looks stand elsewhere.

import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type AuthorizeRequest,
  addToRedirect,
  isRegisteredRedirect,
  type ReturnAddress,
  readAuthorizeRequest,
  readReturnAddress,
} from './authorize-request.ts';
import type { SandboxUser } from './directory.ts';
import type { SandboxRequest } from './events.ts';
import { readBody, splitTarget } from './exchange.ts';
import { isOAuthError, OAuthError } from './faults.ts';
import { type Page, renderLoginPage, renderMessagePage } from './login-page.ts';
import { createOpaqueToken } from './random.ts';
import type { SandboxState } from './state.ts';
import { mintToken } from './token-endpoint.ts';

const TRANSACTION_LIFE_MS = 10 * 60_000;
const MAX_KEPT = 1000;
const MAX_FORM_BYTES = 8192;
const USERS_SHOWN = 100;
const SESSION_COOKIE = 'sandbox_session';

/** Answers login requests. The function never rejects. */
export function createLogin(sandbox: SandboxState) {
  const transactions = new Map<string, { request: AuthorizeRequest; expiresAt: number }>();
  const sessions = new Map<string, string>();

  async function authorize(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> {
    const { query } = splitTarget(req.url ?? '');
    const address = readReturnAddress(sandbox, query);
    record.clientId = address.client.id;
    try {
      const request = readAuthorizeRequest(sandbox, query, address);
      const user = decideAlone(req, request);
      if (user) return allow(res, request, user, record);
      const transaction = keep(transactions, { request, expiresAt: sandbox.clock.now() + TRANSACTION_LIFE_MS });
      const users = activeUsers();
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

  async function decide(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> {
    const body = await readBody(req, MAX_FORM_BYTES, () => new OAuthError('invalid_request', 'the form is too large'));
    const form = new URLSearchParams(body.toString('utf8'));
    const transaction = form.get('transaction') ?? '';
    const pending = transactions.get(transaction);
    transactions.delete(transaction);
    if (!pending || pending.expiresAt <= sandbox.clock.now())
      throw new OAuthError('invalid_request', 'this login has ended; start it again');
    const { request } = pending;
    record.clientId = request.client.id;
    if (form.get('decision') !== 'allow')
      return sendError(res, request, new OAuthError('access_denied', 'the user refused'));
    const user = activeUsers().find((candidate) => candidate.id === form.get('user'));
    if (!user) throw new OAuthError('invalid_request', 'no such user');
    res.setHeader('Set-Cookie', `${SESSION_COOKIE}=${keep(sessions, user.id)}; Path=/; HttpOnly; SameSite=Lax`);
    allow(res, request, user, record);
  }

  /** Who is logged in without a form: by the `login` switch, or from an earlier login unless `prompt=login`. */
  function decideAlone(req: IncomingMessage, request: AuthorizeRequest): SandboxUser | undefined {
    const wanted = sandbox.switches.now.login;
    if (wanted && 'deny' in wanted) throw new OAuthError('access_denied', wanted.deny);
    if (wanted) {
      const user = sandbox.directory.find(wanted.approve) ?? sandbox.directory.findByEmail(wanted.approve);
      if (user) return user;
      throw new OAuthError('server_error', 'the login switch names no user');
    }
    const session = readSession(req);
    return request.prompt === 'login' || session === undefined
      ? undefined
      : sandbox.directory.find(sessions.get(session) ?? '');
  }

  function allow(res: ServerResponse, request: AuthorizeRequest, user: SandboxUser, record: SandboxRequest): void {
    const { client, redirectUri, responseType, state, challenge, target } = request;
    const subject = { clientId: client.id, userId: user.id, scope: client.scope, target };
    if (responseType === 'code') {
      const code = sandbox.codes.issue({
        subject: { ...subject, grant: challenge === undefined ? 'authorization_code' : 'pkce' },
        redirectUri,
        challenge,
      });
      redirect(res, addToRedirect(redirectUri, 'query', { code, state }));
      return;
    }
    const { reply, token } = mintToken(sandbox, { ...subject, grant: 'implicit' });
    record.tokenSerial = token.serial;
    sandbox.stats.tokenRequest('implicit', 'ok');
    const { access_token, token_type, expires_in } = reply;
    redirect(
      res,
      addToRedirect(redirectUri, 'fragment', { access_token, expires_in: String(expires_in), token_type, state }),
    );
  }

  /** Ends the browser's session and every login of that person with that client. */
  function logout(req: IncomingMessage, res: ServerResponse, record: SandboxRequest): void {
    const { query } = splitTarget(req.url ?? '');
    const client = sandbox.clients.find(query.get('client_id') ?? '');
    if (!client) throw new OAuthError('invalid_client', 'client not found');
    record.clientId = client.id;
    const session = readSession(req);
    const userId = session === undefined ? undefined : sessions.get(session);
    if (session !== undefined) sessions.delete(session);
    if (userId !== undefined) {
      sandbox.tokens.revoke((token) => {
        if (token.userId !== userId || token.clientId !== client.id) return false;
        if (token.familyId !== undefined) sandbox.refreshTokens.revokeFamily(token.familyId);
        return true;
      });
    }
    res.setHeader('Set-Cookie', `${SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`);
    const target = query.get('redirect_uri');
    if (target === null) sendPage(res, 200, renderMessagePage('Logged out', 'You are logged out.'));
    else if (isRegisteredRedirect(client.redirectUris ?? [], target)) redirect(res, target);
    else throw new OAuthError('invalid_request', 'redirect_uri is not registered for this client');
  }

  function activeUsers(): SandboxUser[] {
    return sandbox.directory.list().filter((user) => user.state === 'active');
  }

  function keep<T>(map: Map<string, T>, value: T): string {
    const key = createOpaqueToken(sandbox.random).slice(0, 43);
    map.set(key, value);
    const oldest = map.keys().next().value;
    if (map.size > MAX_KEPT && oldest !== undefined) map.delete(oldest);
    return key;
  }

  return async (req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> => {
    res.setHeader('ININ-Correlation-Id', record.correlationId);
    try {
      const { path } = splitTarget(req.url ?? '');
      if (path === '/logout' && req.method === 'GET') logout(req, res, record);
      else if (path !== '/logout' && req.method === 'GET') await authorize(req, res, record);
      else if (path !== '/logout' && req.method === 'POST') await decide(req, res, record);
      else sendPage(res, 405, renderMessagePage('Not possible', 'This page knows GET only.'));
    } catch (error) {
      if (res.headersSent || res.socket?.destroyed !== false) return;
      const text = isOAuthError(error) ? `${error.error}: ${error.message}` : 'The simulation failed.';
      sendPage(res, isOAuthError(error) ? 400 : 500, renderMessagePage('Login failed', text));
    }
  };
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
