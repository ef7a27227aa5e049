// POST /oauth/token: reads the form strictly, applies the token endpoint's switches, authenticates the client, carries
// out the grant, answers. It does not contain the deliberate faults.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClientRegistry, GrantKind, SandboxClient } from './clients.ts';
import type { SandboxRequest } from './events.ts';
import { createGoneSignal, readBody, send } from './exchange.ts';
import { isOAuthError, OAuthError } from './faults.ts';
import type { SandboxState } from './state.ts';
import { formatRetryAfter, type RetryAfter } from './switches.ts';
import { answerBeforeGrant, answerReply } from './token-faults.ts';
import { type AccessToken, matchesChallenge, type TokenSubject } from './tokens.ts';

/** Room for a SAML assertion and no more. */
const MAX_FORM_BYTES = 256 * 1024;

/** Answers one token request. Never rejects: a client that leaves is counted as `fault:gone`. */
export async function answerToken(
  sandbox: SandboxState,
  req: IncomingMessage,
  res: ServerResponse,
  record: SandboxRequest,
): Promise<void> {
  const leave = sandbox.stats.enter('token');
  const gone = createGoneSignal(res);
  res.once('close', leave);
  res.setHeader('ININ-Correlation-Id', record.correlationId);
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Pragma', 'no-cache');
  res.setHeader('Access-Control-Allow-Origin', '*');
  let result = 'ok';
  try {
    const form = await readForm(req);
    record.grant = nameGrant(form);
    const call = { method: 'POST', path: '/oauth/token' };
    const throttle = sandbox.switches.take('throttleLogin', call);
    if (throttle) throw throttled(sandbox, res, throttle);
    const fault = sandbox.switches.take('tokenEndpoint', call);
    if (fault) {
      result = `fault:${fault.fault}`;
      if (await answerBeforeGrant(sandbox, res, record, fault, gone)) return;
    }
    const authenticated = authenticateClient(req.headers.authorization, form.get('client_id'), sandbox.clients);
    record.clientId = authenticated.client.id;
    const { reply, token } = performGrant(sandbox, form, authenticated);
    record.tokenSerial = token.serial;
    const { expiresIn } = sandbox.switches.now;
    const { expires_in, ...rest } = reply;
    const told = expiresIn === null ? { expires_in } : 'value' in expiresIn ? { expires_in: expiresIn.value } : {};
    await answerReply(sandbox, res, { ...rest, ...told }, fault, gone);
  } catch (error) {
    result = await answerFailure(res, gone, error);
  } finally {
    sandbox.stats.tokenRequest(record.grant ?? 'unknown', result);
  }
}

async function answerFailure(res: ServerResponse, gone: AbortSignal, error: unknown): Promise<string> {
  if (gone.aborted || res.headersSent || res.socket?.destroyed !== false) return 'fault:gone';
  const refusal = isOAuthError(error) ? error : new OAuthError('server_error', 'the simulation failed');
  await send(res, isOAuthError(error) ? 400 : 500, 'application/json', Buffer.from(JSON.stringify(refusal.body())));
  return refusal.error;
}

async function readForm(req: IncomingMessage): Promise<TokenForm> {
  const type = req.headers['content-type'] ?? '';
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(type))
    throw new OAuthError('invalid_request', 'the body must be application/x-www-form-urlencoded');
  const body = await readBody(req, MAX_FORM_BYTES, () => new OAuthError('invalid_request', 'the body is too large'));
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body.toString('utf8'))) {
    if (form.has(name)) throw new OAuthError('invalid_request', 'a field is given twice');
    form.set(name, value);
  }
  if (!form.has('grant_type')) throw new OAuthError('invalid_request', 'grant_type is missing');
  return form;
}

/** The platform throttles logins with 400, not 429. */
function throttled(sandbox: SandboxState, res: ServerResponse, wanted: RetryAfter): OAuthError {
  const retryAfter = formatRetryAfter(wanted, sandbox.clock.now());
  if (retryAfter !== undefined) res.setHeader('Retry-After', retryAfter);
  return new OAuthError('invalid_request', 'rate limit exceeded; too many login requests');
}

/** A client and how it was told: `proved` when a secret was shown and right. */
export interface AuthenticatedClient {
  client: SandboxClient;
  proved: boolean;
}

/**
 * The id and secret of a Basic header, split at the first colon. `undefined` when it is not a readable Basic header.
 */
function parseBasic(header: string): { id: string; secret: string } | undefined {
  const encoded = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { id: text.slice(0, colon), secret: text.slice(colon + 1) };
}

/**
 * Finds the client. Throws OAuthError `invalid_client` ("client not found", "authentication failed"), or
 * `invalid_request` when header and form disagree. A client without a secret may send an empty one, as the vendor's CLI
 * does.
 */
export function authenticateClient(
  header: string | undefined,
  formClientId: string | undefined,
  clients: ClientRegistry,
): AuthenticatedClient {
  if (header === undefined) {
    if (formClientId === undefined) throw new OAuthError('invalid_client', 'client authentication is missing');
    return { client: findClient(clients, formClientId), proved: false };
  }
  const basic = parseBasic(header);
  if (!basic) throw new OAuthError('invalid_client', 'authentication failed');
  if (formClientId !== undefined && formClientId !== basic.id)
    throw new OAuthError('invalid_request', 'client_id differs from the authorization header');
  const client = findClient(clients, basic.id);
  if (!equalSecrets(client.secret ?? '', basic.secret)) throw new OAuthError('invalid_client', 'authentication failed');
  return { client, proved: client.secret !== undefined };
}

function findClient(clients: ClientRegistry, id: string): SandboxClient {
  const client = clients.find(id);
  if (!client) throw new OAuthError('invalid_client', 'client not found');
  return client;
}

/** Throws OAuthError `unauthorized_client` when the client is not registered for the grant. */
export function assertGrantAllowed(client: SandboxClient, grant: GrantKind): void {
  if (!client.grants.includes(grant))
    throw new OAuthError('unauthorized_client', 'client is not authorized for this grant type');
}

/** Throws OAuthError `invalid_client` when a client that has a secret did not show it. */
export function assertProved({ client, proved }: AuthenticatedClient): void {
  if (!proved && client.secret !== undefined) throw new OAuthError('invalid_client', 'authentication failed');
}

function equalSecrets(expected: string, shown: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(expected), digest(shown));
}

/** The body of a successful answer (RFC 6749 section 5.1). */
interface TokenReply {
  access_token: string;
  token_type: 'bearer';
  expires_in: number;
  refresh_token?: string;
}

/** What a grant gave: the reply, and the token for the record. */
export interface GrantOutcome {
  reply: TokenReply;
  token: AccessToken;
}

/** The form, with each field given at most once. */
export type TokenForm = ReadonlyMap<string, string>;

const SAML2_BEARER = 'urn:ietf:params:oauth:grant-type:saml2-bearer';

/** The name a request is counted under; PKCE is told from a code with secret by its verifier. */
export function nameGrant(form: TokenForm): string {
  switch (form.get('grant_type')) {
    case 'client_credentials':
      return 'client_credentials';
    case 'authorization_code':
      return form.has('code_verifier') ? 'pkce' : 'authorization_code';
    case 'refresh_token':
      return 'refresh_token';
    case SAML2_BEARER:
      return 'saml2_bearer';
    default:
      return 'unknown';
  }
}

/** Carries out the grant that `grant_type` names. */
export function performGrant(sandbox: SandboxState, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  switch (nameGrant(form)) {
    case 'client_credentials':
      return grantClientCredentials(sandbox, authenticated);
    case 'authorization_code':
    case 'pkce':
      return grantCode(sandbox, form, authenticated);
    case 'refresh_token':
      return grantRefresh(sandbox, form, authenticated);
    case 'saml2_bearer':
      return grantSaml2Bearer(sandbox, form, authenticated);
    default:
      throw new OAuthError('unsupported_grant_type', 'unsupported grant type');
  }
}

/** Mints an access token for a subject, as long-lived as the switch or the client says. */
export function mintToken(sandbox: SandboxState, subject: TokenSubject): GrantOutcome {
  const lifetimeS =
    sandbox.switches.now.tokenLifetimeS ?? sandbox.clients.find(subject.clientId)?.accessTokenLifetimeS ?? 86_400;
  const token = sandbox.tokens.issue(subject, lifetimeS);
  return { token, reply: { access_token: token.value, token_type: 'bearer', expires_in: lifetimeS } };
}

function grantClientCredentials(sandbox: SandboxState, authenticated: AuthenticatedClient): GrantOutcome {
  assertProved(authenticated);
  assertGrantAllowed(authenticated.client, 'client_credentials');
  return mintToken(sandbox, {
    clientId: authenticated.client.id,
    grant: 'client_credentials',
    scope: authenticated.client.scope,
  });
}

function grantCode(sandbox: SandboxState, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  const { client, proved } = authenticated;
  const code = required(form, 'code');
  const redirectUri = required(form, 'redirect_uri');
  const verifier = form.get('code_verifier');
  if (verifier === undefined) assertProved(authenticated);
  assertGrantAllowed(client, 'code');
  const taken = sandbox.codes.take(code);
  if (taken.kind === 'used' && taken.familyId !== undefined) endLogin(sandbox, taken.familyId);
  if (taken.kind !== 'ok') throw new OAuthError('invalid_grant', 'code not found, expired or already used');
  const { challenge, subject } = taken.grant;
  if (subject.clientId !== client.id) throw new OAuthError('invalid_grant', 'code was issued to another client');
  if (redirectUri !== taken.grant.redirectUri)
    throw new OAuthError('invalid_grant', 'redirect_uri differs from the one the code was issued for');
  if (challenge === undefined && !proved) throw new OAuthError('invalid_client', 'authentication failed');
  if ((challenge === undefined) !== (verifier === undefined))
    throw new OAuthError('invalid_grant', 'code_verifier and code_challenge go together');
  if (challenge !== undefined && verifier !== undefined && !matchesChallenge(verifier, challenge)) {
    throw new OAuthError('invalid_grant', 'code_verifier does not match');
  }
  const refresh = sandbox.refreshTokens.issue(subject);
  sandbox.codes.settle(code, refresh.familyId);
  const outcome = mintToken(sandbox, { ...subject, familyId: refresh.familyId });
  return { ...outcome, reply: { ...outcome.reply, refresh_token: refresh.value } };
}

function grantRefresh(sandbox: SandboxState, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  assertProved(authenticated);
  const policy = sandbox.switches.now;
  const redeemed = sandbox.refreshTokens.redeem(required(form, 'refresh_token'), authenticated.client.id, policy);
  if (redeemed.kind === 'reused') {
    sandbox.stats.add('refreshReuse');
    endLogin(sandbox, redeemed.familyId);
  }
  if (redeemed.kind !== 'ok') throw new OAuthError('invalid_grant', 'refresh token not found, expired or revoked');
  if (redeemed.grace) sandbox.stats.add('refreshGraceUses');
  const outcome = mintToken(sandbox, { ...redeemed.subject, familyId: redeemed.familyId });
  if (!redeemed.rotated && policy.replyRefreshToken === 'when-changed') return outcome;
  return { ...outcome, reply: { ...outcome.reply, refresh_token: redeemed.refreshToken } };
}

function grantSaml2Bearer(sandbox: SandboxState, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  assertProved(authenticated);
  assertGrantAllowed(authenticated.client, 'saml2_bearer');
  const { organization } = sandbox.directory;
  const orgName = required(form, 'orgName');
  if (![organization.name, organization.shortName].includes(orgName))
    throw new OAuthError('invalid_request', 'organization not found');
  const subject = readAssertion(required(form, 'assertion'), sandbox.clock.now());
  const user = sandbox.directory.findByEmail(subject);
  if (user?.state !== 'active')
    throw new OAuthError('invalid_grant', 'the assertion names no active user of the organization');
  return mintToken(sandbox, {
    clientId: authenticated.client.id,
    grant: 'saml2_bearer',
    userId: user.id,
    scope: authenticated.client.scope,
  });
}

/** Ends a login: its refresh tokens and every access token that came of it. */
export function endLogin(sandbox: SandboxState, familyId: string): void {
  sandbox.refreshTokens.revokeFamily(familyId);
  sandbox.tokens.revoke((token) => token.familyId === familyId);
}

function required(form: TokenForm, name: string): string {
  const value = form.get(name);
  if (value === undefined || value === '') throw new OAuthError('invalid_request', `${name} is missing`);
  return value;
}

/**
 * Gives the NameID of a base64 assertion (standard or URL alphabet). Throws OAuthError `invalid_grant` when it is no
 * assertion, names nobody, says no `NotOnOrAfter`, or is outside any of the times it says. `nowMs` is epoch ms.
 */
export function readAssertion(encoded: string, nowMs: number): string {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(encoded.replace(/\s/g, ''))) throw refused('the assertion is not base64');
  const xml = Buffer.from(encoded, 'base64').toString('utf8');
  if (!/<(?:[\w-]+:)?Assertion[\s>]/.test(xml)) throw refused('the assertion is not a SAML assertion');
  const ends = readTimes(xml, 'NotOnOrAfter');
  if (ends.length === 0) throw refused('the assertion does not say NotOnOrAfter');
  if (ends.some((end) => !(nowMs < end))) throw refused('the assertion has expired');
  if (readTimes(xml, 'NotBefore').some((start) => !(nowMs >= start))) throw refused('the assertion is not yet valid');
  const name = /<(?:[\w-]+:)?NameID[^>]*>([^<]+)</.exec(xml)?.[1]?.trim();
  if (!name) throw refused('the assertion names no subject');
  return name;
}

/** The values of an attribute, as epoch ms; NaN for what is no date. */
function readTimes(xml: string, attribute: string): number[] {
  return [...xml.matchAll(new RegExp(`\\s${attribute}\\s*=\\s*["']([^"']*)["']`, 'g'))].map((match) =>
    Date.parse(match[1] ?? ''),
  );
}

function refused(reason: string): OAuthError {
  return new OAuthError('invalid_grant', reason);
}
