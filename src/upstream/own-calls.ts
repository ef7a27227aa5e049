// The calls that the gateway makes by itself, about a token: whose it is, its limits, what it is granted, and its end. No caller waits behind them.

import type { Credential } from '../auth/credentials/credentials.ts';
import type { Token } from '../auth/credentials/token-source.ts';
import { systemClock } from '../clock.ts';
import { onOneLine } from '../config/problem.ts';
import { type GrantType, USER_GRANTS } from '../config/sections/credential.ts';
import { GatewayError } from '../errors.ts';
import { createExchangeRecord } from '../logging/exchange-record.ts';
import { identifyOperation } from '../operations/table.ts';
import type { Send, UpstreamRequest, UpstreamResponse } from './call.ts';
import { platformBody } from './platform-error.ts';
import { PLATFORM_NAMESPACE } from './rate-limit/limit-notice.ts';
import { NO_BODY } from './request-body.ts';

/** Something of the platform by its id, and the name people know it by. Text of the platform's: shorten, escape. */
export interface Named {
  readonly id: string;
  readonly name: string;
}

/** Whose a token is. What the platform did not tell is null; `user` is null as well where nobody logged in. */
export interface Identity {
  readonly organization: Named | null;
  /** A person: shown where somebody asks, and never logged. */
  readonly user: Named | null;
  readonly oauthClient: Named | null;
}

/** The outcome of asking. `problem` says why something that should be known is not. */
export interface IdentityAnswer {
  readonly identity: Identity;
  readonly problem: string | null;
}

/** Asking who the token belongs to does not count as using it: an idle timeout goes on. */
const TOKEN_TARGET = '/api/v2/tokens/me?preserveIdleTTL=true';
const TOKEN_PATH = '/api/v2/tokens/me';
/** The platform tells the user of a token nowhere else. */
const USER_PATH = '/api/v2/users/me';

/** How long one such call may take, ms: whoever looks at the result can wait no longer. */
const LONGEST_CALL_MS = 10_000;

/** An answer that is none: the token may be good for calls, or the platform be unwell. */
export class OwnCallError extends GatewayError {
  /** Of the platform's answer. */
  readonly upstreamStatus: number;

  constructor(method: string, path: string, upstreamStatus: number, code: string | null) {
    const answer = `${upstreamStatus}${code === null ? '' : ` ${code}`}`;
    super('gateway.upstream.invalid', `${method} ${path} answered ${answer}`);
    this.upstreamStatus = upstreamStatus;
  }

  /** Whether asking again is of no use: the platform has said no. */
  get isLasting(): boolean {
    return this.upstreamStatus < 500 && this.upstreamStatus !== 429;
  }
}

/** What a call of our own is sent with. `send` may put a newer token of the credential on it. */
export interface OwnCallDeps {
  readonly send: Send;
  readonly credential: { readonly config: Credential['config']; readonly source: UpstreamRequest['source'] };
  readonly token: Token;
  /** What it counts against; by default the credential. */
  readonly limitKey?: string | undefined;
  /** How long a call may take, waits included; default 10 s. */
  readonly timeoutMs?: number;
  /** Masks secrets in what the platform tells: a platform that lies may tell us our own. */
  readonly mask?: ((text: string) => string) | undefined;
}

/**
 * Asks whose a token is: one call, and a second one for grants in which somebody logs in. Throws GatewayError, an
 * OwnCallError where the platform's answer is not 2xx.
 */
export async function askIdentity(deps: OwnCallDeps): Promise<IdentityAnswer> {
  const { grantType } = deps.credential.config;
  const mask = deps.mask ?? ((text: string) => text);
  const { organization, OAuthClient } = await call(deps, 'GET', TOKEN_TARGET);
  const known = { organization: namedOf(organization, mask), user: null, oauthClient: namedOf(OAuthClient, mask) };
  if (!mayHaveUser(grantType)) return { identity: known, problem: null };
  try {
    return { identity: { ...known, user: namedOf(await call(deps, 'GET', USER_PATH), mask) }, problem: null };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    // A token that was given may be one of client credentials, of which the platform says so by 400.
    const hasNone = grantType === 'access_token' && error instanceof OwnCallError && error.upstreamStatus === 400;
    return { identity: known, problem: hasNone ? null : error.message };
  }
}

/**
 * Asks for the id of a token's user: one call. Null where nobody is behind the token. Throws GatewayError, an
 * OwnCallError where the platform's answer is not 2xx.
 */
export async function askUserId(deps: OwnCallDeps): Promise<string | null> {
  return namedOf(await call(deps, 'GET', USER_PATH), (text) => text)?.id || null;
}

/** Ends a token at the platform, and the login it came from. Throws as `askIdentity` does. */
export async function revokeToken(deps: OwnCallDeps): Promise<void> {
  await call(deps, 'DELETE', TOKEN_PATH);
}

/** Roles may be many. */
const LARGEST_SUBJECT = 4 * 1024 * 1024;

/**
 * Asks what is granted to whom a token belongs: the platform's answer. It needs no permission. Throws as `askIdentity`
 * does.
 */
export function askSubject(deps: OwnCallDeps): Promise<Record<string, unknown>> {
  return call(deps, 'GET', '/api/v2/authorization/subjects/me', LARGEST_SUBJECT);
}

/**
 * Asks for the effective limits of the platform's API: its answer, `entities` of `key`, `namespace`, `value`. It needs no
 * permission. Throws as `askIdentity` does.
 */
export function askLimits(deps: OwnCallDeps): Promise<Record<string, unknown>> {
  return call(deps, 'GET', `/api/v2/organizations/limits/namespaces/${PLATFORM_NAMESPACE}`);
}

function mayHaveUser(grantType: GrantType): boolean {
  return USER_GRANTS.has(grantType) || grantType === 'saml2_bearer' || grantType === 'access_token';
}

async function call(
  { send, credential: { config, source }, token, timeoutMs = LONGEST_CALL_MS, limitKey = config.name }: OwnCallDeps,
  method: string,
  target: string,
  limitBytes?: number,
): Promise<Record<string, unknown>> {
  const path = target.split('?', 1)[0] as string;
  const connection = { disconnected: false, onDisconnect: null as (() => void) | null, rejectWait: null };
  const timer = systemClock.after(timeoutMs, () => {
    connection.disconnected = true;
    connection.onDisconnect?.();
  });
  const record = createExchangeRecord();
  record.credential = config.name;
  const operation = identifyOperation(method, target);
  record.operation = operation.id;
  record.route = operation.template;
  try {
    const response = await send({
      method,
      base: config.hosts.api,
      target,
      headers: ['Accept', 'application/json', 'Authorization', token.authorization],
      body: NO_BODY,
      limitKey,
      source,
      token,
      record,
      connection,
    });
    return await read(response, method, path, limitBytes);
  } catch (error) {
    if (!connection.disconnected) throw error;
    throw new GatewayError('gateway.upstream.timeout', `${method} ${path} took longer than ${timeoutMs / 1000} s`);
  } finally {
    timer.cancel();
  }
}

async function read(
  response: UpstreamResponse,
  method: string,
  path: string,
  limitBytes?: number,
): Promise<Record<string, unknown>> {
  try {
    const body = await platformBody(response, systemClock, LONGEST_CALL_MS, limitBytes);
    const { statusCode } = response;
    const isGood = statusCode >= 200 && statusCode < 300;
    if (isGood && (body !== null || method === 'DELETE')) return body ?? {};
    const code = isGood ? 'without JSON' : codeOf(body);
    throw new OwnCallError(method, path, statusCode, code);
  } finally {
    response.discard();
  }
}

/** The platform's code, `bad.credentials`; null for what does not look like one, since it is shown and logged. */
function codeOf(body: Record<string, unknown> | null): string | null {
  const code = body?.code;
  return typeof code === 'string' && /^[\w.-]{1,60}$/.test(code) ? code : null;
}

const LONGEST_NAME = 200;

/** Reads an id and a name; null where there is neither. */
function namedOf(value: unknown, mask: (text: string) => string): Named | null {
  if (typeof value !== 'object' || value === null) return null;
  const { id, name } = value as { id?: unknown; name?: unknown };
  const named = { id: textOf(id, mask), name: textOf(name, mask) };
  if (named.id === '' && named.name === '') return null;
  return { id: named.id, name: named.name || named.id };
}

function textOf(value: unknown, mask: (text: string) => string): string {
  if (typeof value !== 'string') return '';
  // Masked whole: half a secret would not be recognised.
  return mask(onOneLine(value).trim())
    .slice(0, LONGEST_NAME)
    .replace(/\p{Surrogate}/gu, '');
}

/**
 * Whose a token is, in words: `Ada Lindqvist of Acme (prod)`, or for a service `the OAuth client Reports of Acme
 * (prod)`. Null where nothing is known.
 */
export function identityWords({ organization, user, oauthClient }: Identity): string | null {
  const who = user?.name ?? (oauthClient && `the OAuth client ${oauthClient.name}`);
  if (organization === null) return who;
  return who === null ? organization.name : `${who} of ${organization.name}`;
}
