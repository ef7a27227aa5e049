// Logins of people: state and PKCE verifier of each login that was begun, the platform's URL for the browser, and the
// one redemption of its answer. Knows no HTTP.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { Credential } from './credentials.ts';
import { codeChallenge, createCodeVerifier, joinScopes } from './grants.ts';
import { toTokenFailure } from './token-source.ts';

/** A login that takes longer is void. */
const LOGIN_MAX_AGE_MS = 10 * 60_000;

/** Most pending logins; one more removes the oldest. */
const MOST_LOGINS = 100;

/** What the login page, or the person who pasted its URL, sent back. `binding` is the value of the browser's cookie. */
export interface LoginCallback {
  readonly state: string;
  readonly binding: string | null;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly errorDescription?: string | undefined;
  /** The fragment's fields, for the implicit grant. */
  readonly fragment?: Readonly<Record<string, string | undefined>> | undefined;
}

/** All logins of a process. */
export interface Logins {
  /**
   * Begins a login, or returns the one that is under way for the same credential, browser and redirect URI. `binding`
   * ties it to a browser (`createBinding()`); null ties it to its state alone, for logins that pass no other user's
   * browser. Throws gateway.request.invalid for a grant without a login, gateway.credential.rejected for a
   * contradiction in its configuration.
   */
  begin(
    credential: Credential,
    options: { redirectUri: string; binding: string | null },
  ): { url: string; state: string; expiresAt: number };
  /**
   * Ends a login. A second load of the same callback gets the outcome of the first: the code is redeemed once. Throws
   * gateway.request.invalid for an unknown, foreign or outdated state, and the error of a login that failed.
   */
  complete(callback: LoginCallback): Promise<{ credential: string }>;
  /** How the last finished login of a credential failed; null after a success or without any. */
  lastError(name: string): { message: string; at: number } | null;
  /** Epoch ms of the last login of a credential that worked; null before any. */
  completedAt(name: string): number | null;
}

interface Pending {
  readonly credential: Credential;
  readonly redirectUri: string;
  readonly binding: string | null;
  readonly state: string;
  readonly verifier: string | null;
  readonly url: string;
  readonly expiresMono: number;
  readonly expiresAt: number;
  outcome: Promise<{ credential: string }> | null;
}

/** A value for the browser's cookie: 256 random bits. */
export function createBinding(): string {
  return randomBytes(32).toString('base64url');
}

/**
 * Holds at most 100 logins, each for ten minutes. Nothing to close. `current` gives the credential of that name as it
 * is when a login ends: the configuration may have been replaced while a person was typing.
 */
export function createLogins(deps: {
  clock: Clock;
  log: Log;
  current?: (name: string) => Credential | undefined;
}): Logins {
  const { clock, log, current } = deps;
  const pending = new Map<string, Pending>();
  const errors = new Map<string, { message: string; at: number }>();
  const successes = new Map<string, number>();

  function forgetOutdated(): void {
    const now = clock.monotonic();
    for (const login of pending.values()) if (login.expiresMono <= now) pending.delete(login.state);
  }

  async function redeem(login: Pending, callback: LoginCallback): Promise<{ credential: string }> {
    const { redirectUri, verifier } = login;
    const { name } = login.credential.config;
    const credential = current?.(name) ?? login.credential;
    try {
      if (callback.error !== undefined) throw refusedByPage(callback);
      if (callback.fragment !== undefined) await credential.redeem({ kind: 'fragment', fields: callback.fragment });
      else if (callback.code) await credential.redeem({ kind: 'code', code: callback.code, redirectUri, verifier });
      else
        throw new GatewayError(
          'gateway.request.invalid',
          'the login page sent neither a code nor an error: start the login again',
        );
      errors.delete(name);
      successes.set(name, clock.now());
      log.info({ credential: name }, 'login completed');
      return { credential: name };
    } catch (thrown) {
      const error = thrown instanceof GatewayError ? thrown : toTokenFailure(thrown).error;
      errors.set(name, { message: error.message, at: clock.now() });
      log.warn({ credential: name, errorCode: error.code, error: error.message }, 'login failed');
      throw error;
    }
  }

  return {
    begin(credential, { redirectUri, binding }) {
      forgetOutdated();
      const { config } = credential;
      if (!credential.hasLogin) {
        throw new GatewayError('gateway.request.invalid', withoutLogin(config));
      }
      for (const login of pending.values()) {
        const isSame =
          login.credential === credential &&
          login.redirectUri === redirectUri &&
          login.binding === binding &&
          login.outcome === null;
        if (isSame) return startOf(login);
      }
      const state = randomBytes(32).toString('base64url');
      const verifier = config.grantType === 'pkce' ? createCodeVerifier() : null;
      const url = authorizeUrl(config, { redirectUri, state, verifier });
      const expiresMono = clock.monotonic() + LOGIN_MAX_AGE_MS;
      const expiresAt = clock.now() + LOGIN_MAX_AGE_MS;
      const oldest = pending.keys().next();
      if (pending.size >= MOST_LOGINS && !oldest.done) pending.delete(oldest.value);
      const login = { credential, redirectUri, binding, state, verifier, url, expiresMono, expiresAt, outcome: null };
      pending.set(state, login);
      return startOf(login);
    },

    async complete(callback) {
      forgetOutdated();
      const login = pending.get(callback.state);
      if (login === undefined || !isSameBinding(login.binding, callback.binding)) {
        throw new GatewayError(
          'gateway.request.invalid',
          'this login is unknown, older than 10 minutes, or was begun in another browser: start it again',
        );
      }
      login.outcome ??= redeem(login, callback);
      return login.outcome;
    },

    lastError: (name) => errors.get(name) ?? null,
    completedAt: (name) => successes.get(name) ?? null,
  };
}

/** Why a credential needs no login, and what to do instead. */
export function withoutLogin({ name, grantType }: Pick<CredentialConfig, 'name' | 'grantType'>): string {
  const instead =
    grantType === 'saml2_bearer'
      ? `give it an assertion by POST /-/credentials/${name}/assertion`
      : grantType === 'access_token'
        ? 'put another access_token into its configuration'
        : `the gateway gets its token by itself, and another one at POST /-/credentials/${name}/refresh`;
  return `credential ${name} (${grantType}) has no login and needs none: ${instead}`;
}

/** The part of a login that is told to whoever begins it: verifier and binding stay here. */
function startOf({ url, state, expiresAt }: Pending) {
  return { url, state, expiresAt };
}

/** The login page's own error, cut and cleaned, because it comes through the browser's address bar. */
function refusedByPage({ error = '', errorDescription = '' }: LoginCallback): GatewayError {
  const clean = (text: string) =>
    text
      .replaceAll(/[^\x20-\x7e\u00a1-\u024f]+/g, ' ')
      .trim()
      .slice(0, 200);
  const words = [clean(error), clean(errorDescription)].filter((word) => word !== '').join(': ');
  return new GatewayError(
    'gateway.login.required',
    `the login was refused by the platform (${words || 'no reason given'})`,
  );
}

function isSameBinding(expected: string | null, given: string | null): boolean {
  if (expected === null) return true;
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return given !== null && timingSafeEqual(digest(expected), digest(given));
}

/** What a login adds to the configuration. `verifier` is needed for `pkce` only. */
export interface AuthorizeRequest {
  readonly redirectUri: string;
  readonly state: string;
  readonly verifier: string | null;
}

type LoginConfig = Pick<
  CredentialConfig,
  'clientId' | 'grantType' | 'hosts' | 'name' | 'org' | 'provider' | 'target' | 'loginHint' | 'prompt' | 'scope'
>;

/**
 * The platform's login URL, with the parameters in the SDKs' order, `scope` last. Throws gateway.credential.rejected
 * when only one of `org` and `provider` is there.
 */
export function authorizeUrl(config: LoginConfig, request: AuthorizeRequest): string {
  const { hosts, name, org, provider } = config;
  if ((org === null) !== (provider === null)) {
    const [given, missing] = org === null ? ['provider', 'org'] : ['org', 'provider'];
    throw new GatewayError(
      'gateway.credential.rejected',
      `credential ${name} has ${given} but no ${missing}: give both or neither`,
    );
  }
  const parameters: [string, string | null][] = [
    ['client_id', config.clientId],
    ['redirect_uri', request.redirectUri],
    ...flowParameters(config, request),
    ['state', request.state],
    ['org', org],
    ['provider', provider],
    ['target', config.target],
    ['login_hint', config.loginHint],
    ['prompt', config.prompt === 'login' ? 'login' : null],
    ['scope', joinScopes(config.scope) || null],
  ];
  const query = parameters
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${encodeURIComponent(value ?? '')}`)
    .join('&');
  return `${hosts.login.origin}${hosts.login.pathPrefix}/oauth/authorize?${query}`;
}

function flowParameters({ grantType }: LoginConfig, { verifier }: AuthorizeRequest): [string, string][] {
  if (grantType === 'implicit') return [['response_type', 'token']];
  if (grantType !== 'pkce') return [['response_type', 'code']];
  return [
    ['code_challenge', codeChallenge(verifier ?? '')],
    ['response_type', 'code'],
    ['code_challenge_method', 'S256'],
  ];
}
