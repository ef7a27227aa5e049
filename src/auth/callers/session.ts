// A session: the tokens that an application's own user obtained through the gateway, kept fresh, and the handle that
// stands for them.

import { hash, randomBytes } from 'node:crypto';
import type { CredentialConfig, UpstreamHosts } from '../../config/gateway-config.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../../errors.ts';
import type { Secret } from '../../secret.ts';
import { refreshTokenForm } from '../credentials/grants.ts';
import { type CachedSourceDeps, createRefreshingSource } from '../credentials/refreshing-source.ts';
import {
  basicAuth,
  type ClientAuth,
  publicClientAuth,
  type TokenEndpoint,
  type TokenGrant,
} from '../credentials/token-endpoint.ts';
import { type RefreshingTokenSource, type Token, TokenFailure } from '../credentials/token-source.ts';
import { HANDLE_PREFIX } from './client-handle.ts';

/** Whose session it is and with what it is renewed. */
export interface SessionTerms {
  /** `[client.NAME]` that opened it; null for an anonymous caller. */
  readonly client: string | null;
  /**
   * What proved who opened it, `Caller.proof`: it is good while that would prove it still. Null for an anonymous
   * caller.
   */
  readonly proof: string | null;
  /** The configured credential whose hosts, and perhaps secret, it uses; null: the general hosts. */
  readonly credential: string | null;
  /** The OAuth client id sent upstream. */
  readonly clientId: string;
  /** `credential`: that credential's own; a Secret: the application's; null: a public client. */
  readonly secret: 'credential' | Secret | null;
}

/** A session. */
export interface Session {
  /** Tells sessions apart in limits and records: the beginning of its handle's hash, useless for anything else. */
  readonly id: string;
  readonly terms: SessionTerms;
  /** Hosts and name for the data path, from the present configuration. */
  config(): CredentialConfig;
  readonly source: RefreshingTokenSource;
  readonly held: HeldTokens;
}

/**
 * The real tokens, as they are now; renewals change them in place. All that is kept of a session that nobody uses at
 * the moment.
 */
export interface HeldTokens {
  token: Token | null;
  refreshToken: Secret | null;
  /** When the token ends by the monotonic clock, where that was known when the session was last in use. */
  endsMono?: number;
}

/** What a session is made with. */
export interface SessionDeps extends Pick<CachedSourceDeps, 'clock' | 'random' | 'log'> {
  readonly endpoint: () => TokenEndpoint;
  readonly settings: () => CachedSourceDeps['settings'];
  /** The credential of that name, or a stand-in with the general hosts for null; undefined for a name that is gone. */
  readonly credential: (name: string | null) => CredentialConfig | undefined;
}

/**
 * Told of a session's life: `begun` when a renewal is, `ended` when one was refused, `renewed` before new tokens are
 * used. `isIdle`: nobody uses it any more.
 */
export interface SessionEvents {
  readonly begun: (renewal: Promise<unknown>) => void;
  readonly ended: () => void;
  readonly renewed: () => Promise<void>;
  readonly isIdle: () => boolean;
}

const ENDED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['gateway.credential.rejected', 'gateway.login.required']);

/** What every handle that leads nowhere is answered with: 401, never another identity. */
export function sessionEnded(): GatewayError {
  return new GatewayError('gateway.session.ended', 'this handle is unknown, has expired or was revoked: log in again');
}

/** Where a configuration has its sessions' tokens renewed: tokens from elsewhere are not for it. */
export function sessionHome({ hosts }: CredentialConfig): string {
  return `${hosts.login.origin}${hosts.login.pathPrefix}`;
}

/**
 * Sets a session to work over tokens at hand. `source.close()` ends its timer; another may be made over the same tokens
 * then. `first` is the configuration of its credential now; a later one is followed as long as it has the same home, so
 * that no token goes where it was not issued.
 */
export function createSession(
  id: string,
  { terms, held, config: first }: { terms: SessionTerms; held: HeldTokens; config: CredentialConfig },
  deps: SessionDeps,
  events: SessionEvents,
): Session {
  const name = terms.credential ?? 'session';
  const home = sessionHome(first);
  const config = () => {
    const present = deps.credential(terms.credential);
    return present !== undefined && sessionHome(present) === home ? present : first;
  };

  const renew = async (): Promise<Token> => {
    const { refreshToken } = held;
    if (refreshToken === null || events.isIdle())
      throw new TokenFailure('login_required', 'this session cannot be renewed: log in again');
    const renewed: TokenGrant = await deps.endpoint()({
      credential: name,
      grant: 'refresh_token',
      hosts: config().hosts,
      auth: authOf(terms, config()),
      form: refreshTokenForm(refreshToken),
    });
    held.refreshToken = renewed.refreshToken ?? refreshToken;
    held.token = renewed.token;
    delete held.endsMono;
    await events.renewed();
    return renewed.token;
  };
  const obtain = () => {
    const renewal = renew();
    events.begun(renewal);
    return renewal;
  };
  // A session outlives the configuration it began under.
  const settings = {
    get refreshAccessToken() {
      return deps.settings().refreshAccessToken;
    },
    get refreshTokenWaitMaxMs() {
      return deps.settings().refreshTokenWaitMaxMs;
    },
  };
  const inner = createRefreshingSource({
    name,
    obtain,
    clock: deps.clock,
    random: deps.random,
    log: deps.log,
    settings,
  });

  const orEnded = (error: unknown): never => {
    if (!isGatewayError(error) || !ENDED.has(error.code)) throw error;
    // With renewal switched off the application may still refresh by itself.
    if (held.refreshToken === null || deps.settings().refreshAccessToken) events.ended();
    throw sessionEnded();
  };
  /**
   * Where nothing could be renewed and the platform was not asked, one call's 401 does not end the session for the
   * others.
   */
  const orRefused = (error: unknown): never => {
    if (held.refreshToken === null && inner.current() !== null && isGatewayError(error) && ENDED.has(error.code))
      throw sessionEnded();
    return orEnded(error);
  };
  const source: RefreshingTokenSource = {
    current: inner.current,
    leftMs: inner.leftMs,
    token: (withinMs) => inner.token(withinMs).catch(orEnded),
    invalidate: inner.invalidate,
    successor: (refused, withinMs) => inner.successor(refused, withinMs).catch(orRefused),
    // The SDKs refresh and call again without end while a call is answered 401.
    refresh: () => inner.refresh({ isPatient: true }).catch(orEnded),
    state: inner.state,
    start: inner.start,
    close: inner.close,
  };
  if (held.token !== null) {
    try {
      inner.accept(held.token, (held.endsMono ?? Number.POSITIVE_INFINITY) - deps.clock.monotonic());
    } catch {
      // It has ended: the session's caller waits for the next one.
    }
  }
  return { id, terms, config, source, held };
}

/** How the session's client proves itself upstream. Throws GatewayError when the credential's secret cannot be read. */
export function authOf({ clientId, secret }: SessionTerms, config: CredentialConfig): ClientAuth {
  if (secret === 'credential')
    return config.clientSecret === null ? publicClientAuth(clientId) : basicAuth(clientId, config.clientSecret);
  if (secret === null) return publicClientAuth(clientId);
  return basicAuth(clientId, { origin: 'the application', read: () => secret, revision: () => '' });
}

/** How a local stand-in for a refresh token begins. */
export const REFRESH_PREFIX = 'gcgr_';

/** A fresh refresh handle: 256 random bits. */
export function createRefreshHandle(): string {
  return REFRESH_PREFIX + randomBytes(32).toString('base64url');
}

/** A fresh access handle of a session without a refresh handle. */
export function createSessionHandle(): string {
  return `${HANDLE_PREFIX}s${randomBytes(32).toString('base64url')}`;
}

/** The access handle that belongs to a refresh handle. */
export function handleOf(refreshHandle: string): string {
  return `${HANDLE_PREFIX}s${hash('sha256', `access ${refreshHandle}`, 'base64url')}`;
}

/** Under this a handle is kept. */
export function handleHash(handle: string): string {
  return hash('sha256', handle, 'hex');
}

/** Has no secret and obtains no token by itself; its name appears in records. */
export function sessionCredential(hosts: UpstreamHosts): CredentialConfig {
  return {
    name: 'session',
    grantType: 'access_token',
    clientId: null,
    clientSecret: null,
    orgName: null,
    assertion: null,
    assertionCommand: [],
    accessToken: null,
    refreshToken: null,
    redirectUri: null,
    scope: null,
    org: null,
    provider: null,
    prompt: null,
    target: null,
    loginHint: null,
    hosts,
    isDefault: false,
    isRequired: false,
    origin: 'the application',
  };
}
