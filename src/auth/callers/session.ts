// A session: the tokens that an application's own user obtained through the gateway, kept fresh, and the handle that
// stands for them.

import { hash, randomBytes } from 'node:crypto';
import type { CredentialConfig, UpstreamHosts } from '../../config/gateway-config.ts';
import { bareCredential } from '../../config/sections/credential.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../../errors.ts';
import type { Secret } from '../../secret.ts';
import { refreshTokenForm } from '../credentials/grants.ts';
import { RefreshTokenSource } from '../credentials/refresh-token-source.ts';
import { type RefreshingSourceDeps, RefreshingTokenSource } from '../credentials/refreshing-source.ts';
import type { StoreKey, TokenStore } from '../credentials/store/store.ts';
import {
  basicAuth,
  type ClientAuth,
  publicClientAuth,
  type TokenEndpoint,
  type TokenGrant,
} from '../credentials/token-endpoint.ts';
import {
  type Acquire,
  type CredentialState,
  type Token,
  TokenFailure,
  type TokenSource,
} from '../credentials/token-source.ts';
import { HANDLE_PREFIX } from './client-handle.ts';

/** Whose session it is and with what it is renewed. */
export interface SessionOwner {
  /** `[client.NAME]` that opened it; null for an anonymous caller. */
  readonly client: string | null;
  /**
   * What authenticated its owner, `Caller.authFingerprint`: the session is good while that would authenticate the owner
   * still. Null for an anonymous caller.
   */
  readonly authFingerprint: string | null;
  /** The configured credential whose hosts, and perhaps secret, it uses; null: the general hosts. */
  readonly credential: string | null;
  /** The OAuth client id sent upstream. */
  readonly clientId: string;
  /** `credential`: that credential's own; a Secret: the application's; null: a public client. */
  readonly secret: 'credential' | Secret | null;
}

/** The owner of a session that there is, with what the session is found by. */
export interface SessionHolder extends SessionOwner {
  /** The `handleHash` of its access handle. */
  readonly hash: string;
}

/** A session in use. */
export interface Session {
  /** Tells sessions apart in limits and records: the beginning of its handle's hash, useless for anything else. */
  readonly id: string;
  readonly owner: SessionHolder;
  /** Hosts and name for the data path, from the current configuration. */
  config(): CredentialConfig;
  readonly source: SessionTokenSource;
  readonly tokens: SessionTokens;
}

/** The real tokens, as they are now; renewals change them in place. All that is kept of a session not in use. */
export interface SessionTokens {
  token: Token | null;
  refreshToken: Secret | null;
  /** When the token ends by the monotonic clock, where that was known when the session was last in use. */
  endsMono?: number;
  /** The platform's id of the user who logged in; null where there is none, absent while it is not known. */
  user?: string | null;
}

/** What a session is made with. */
export interface SessionDeps extends Pick<RefreshingSourceDeps, 'clock' | 'random' | 'log'> {
  /** Asks the platform for the id of a session's user; null where there is none. May throw. Absent: nobody asks. */
  readonly askUser?: (session: Session, token: Token) => Promise<string | null>;
  readonly endpoint: () => TokenEndpoint;
  readonly settings: () => RefreshingSourceDeps['settings'];
  /** The longest that a request to the endpoint takes. */
  readonly requestMs?: (() => number) | undefined;
  /** The credential of that name, or a placeholder with the general hosts for null; undefined for one that is gone. */
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

/** The error for a handle that leads nowhere: 401, never another identity. */
export function sessionEnded(): GatewayError {
  return new GatewayError('gateway.session.ended', 'this handle is unknown, has expired or was revoked: log in again');
}

/** The issuer of a credential's tokens (RFC 8414): its login host. Tokens of another issuer are not sent there. */
export function sessionIssuer({ hosts }: CredentialConfig): string {
  return `${hosts.login.origin}${hosts.login.pathPrefix}`;
}

/** What is stored of a session that other instances serve too. */
export interface SharedTokens {
  readonly key: StoreKey;
  /** The store as a token source of this session sees it. */
  asTokenStore(): TokenStore;
}

/** What a session in use works over. */
export interface SessionParts {
  readonly owner: SessionHolder;
  readonly tokens: SessionTokens;
  /** The configuration of its credential now. */
  readonly config: CredentialConfig;
  /** What is stored of it where other instances serve it too. */
  readonly shared: SharedTokens | null;
}

/**
 * Sets a session to work over existing tokens. `source.close()` ends its timer; another may be made over the same
 * tokens then. `config` is the configuration of its credential now; a later one is followed as long as it has the same
 * issuer, so that no token goes where it was not issued.
 */
export function createSession(
  { owner, tokens, config: first, shared }: SessionParts,
  deps: SessionDeps,
  events: SessionEvents,
): Session {
  const issuer = sessionIssuer(first);
  const config = () => {
    const current = deps.credential(owner.credential);
    return current !== undefined && sessionIssuer(current) === issuer ? current : first;
  };
  return {
    id: sessionId(owner.hash),
    owner,
    config,
    source: new SessionTokenSource({ owner, tokens, shared, config }, deps, events),
    tokens,
  };
}

/** A refreshing source over a session's tokens. A refusal for good ends the session, and is told as such. */
export class SessionTokenSource implements TokenSource {
  readonly #owner: SessionOwner;
  readonly #tokens: SessionTokens;
  /** The credential's configuration as it is now. */
  readonly #config: () => CredentialConfig;
  readonly #deps: SessionDeps;
  readonly #events: SessionEvents;
  readonly #shared: SharedTokens | null;
  /** Renews in turn with the other instances; null until it is needed. */
  #inTurn: RefreshTokenSource | null = null;
  /** Keeps the token fresh and knows nothing of sessions. */
  readonly #inner: RefreshingTokenSource;

  /** Throws gateway.session.ended in place of a refusal, and `error` where it is none. */
  readonly #asSessionEnded = (error: unknown): never => {
    if (!isRefusal(error)) throw error;
    // With renewal switched off the application may still refresh by itself.
    if (this.#tokens.refreshToken === null || this.#deps.settings().refreshAccessToken) this.#events.ended();
    throw sessionEnded();
  };

  /**
   * The same for a call whose token was refused. Where there is nothing to renew with and the platform was not asked,
   * one call's 401 does not end the session for the others.
   */
  readonly #asCallRefused = (error: unknown): never => {
    if (this.#tokens.refreshToken === null && this.#inner.current() !== null && isRefusal(error)) throw sessionEnded();
    return this.#asSessionEnded(error);
  };

  constructor(
    parts: Omit<SessionParts, 'config'> & { readonly config: () => CredentialConfig },
    deps: SessionDeps,
    events: SessionEvents,
  ) {
    const { owner, tokens, config, shared } = parts;
    this.#owner = owner;
    this.#tokens = tokens;
    this.#config = config;
    this.#shared = shared;
    this.#deps = deps;
    this.#events = events;
    this.#inner = new RefreshingTokenSource({
      name: this.#name(),
      acquire: (request) => {
        const renewal = this.#renew(request);
        events.begun(renewal);
        return renewal;
      },
      clock: deps.clock,
      random: deps.random,
      log: deps.log,
      // A session outlives the configuration it began under.
      settings: {
        get refreshAccessToken() {
          return deps.settings().refreshAccessToken;
        },
        get refreshTokenWaitMaxMs() {
          return deps.settings().refreshTokenWaitMaxMs;
        },
      },
    });
    this.#acceptExisting();
  }

  current(): Token | null {
    return this.#inner.current();
  }

  leftMs(): number {
    return this.#inner.leftMs();
  }

  token(withinMs?: number): Promise<Token> {
    return this.#inner.token(withinMs).catch(this.#asSessionEnded);
  }

  invalidate(token: Token, route: string | null): boolean {
    return this.#inner.invalidate(token, route);
  }

  successor(refused: Token, withinMs?: number): Promise<Token> {
    return this.#inner.successor(refused, withinMs).catch(this.#asCallRefused);
  }

  /** Always patient: the SDKs refresh and call again without end while a call is answered 401. */
  refresh(): Promise<Token> {
    return this.#inner.refresh({ isPatient: true }).catch(this.#asSessionEnded);
  }

  state(): CredentialState {
    return this.#inner.state();
  }

  start(): void {
    this.#inner.start();
  }

  close(): void {
    this.#inner.close();
    this.#inTurn?.close();
  }

  /** Takes the token of another instance into use; one that has ended is left alone. */
  take(token: Token): void {
    try {
      this.#inner.accept(token);
    } catch {
      // Its callers wait for the next one.
    }
  }

  #name(): string {
    return this.#owner.credential ?? PLACEHOLDER_NAME;
  }

  #acceptExisting(): void {
    const { token, endsMono = Number.POSITIVE_INFINITY } = this.#tokens;
    if (token === null) return;
    try {
      this.#inner.accept(token, endsMono - this.#deps.clock.monotonic());
    } catch {
      // It has ended: the session's caller waits for the next one.
    }
  }

  async #renew(request: Parameters<Acquire>[0]): Promise<Token> {
    const { refreshToken } = this.#tokens;
    if (refreshToken === null || this.#events.isIdle())
      throw new TokenFailure('login_required', 'this session cannot be renewed: log in again');
    if (this.#shared !== null) return this.#renewInTurn(this.#shared, request);
    const renewed = await this.#refresh(refreshToken);
    this.#tokens.refreshToken = renewed.refreshToken ?? refreshToken;
    this.#tokens.token = renewed.token;
    delete this.#tokens.endsMono;
    await this.#events.renewed();
    return renewed.token;
  }

  /** What it brings is stored, and thereby in the tokens, before it is used. */
  #renewInTurn(shared: SharedTokens, request: Parameters<Acquire>[0]): Promise<Token> {
    const { clock, log, requestMs } = this.#deps;
    this.#inTurn ??= new RefreshTokenSource({
      name: this.#name(),
      store: shared.asTokenStore(),
      key: shared.key,
      refresh: (refreshToken) => this.#refresh(refreshToken),
      initialRefreshToken: null,
      ...(requestMs !== undefined && { requestMs: requestMs() }),
      advice: 'log in again',
      clock,
      log,
    });
    return this.#inTurn.acquire(request);
  }

  #refresh(refreshToken: Secret): Promise<TokenGrant> {
    const config = this.#config();
    return this.#deps.endpoint()({
      credential: this.#name(),
      grant: 'refresh_token',
      hosts: config.hosts,
      auth: authOf(this.#owner, config),
      form: refreshTokenForm(refreshToken),
    });
  }
}

function isRefusal(error: unknown): boolean {
  return isGatewayError(error) && ENDED.has(error.code);
}

/** How the session's client authenticates upstream. */
export function authOf({ clientId, secret }: SessionOwner, config: CredentialConfig): ClientAuth {
  if (secret === 'credential')
    return config.clientSecret === null ? publicClientAuth(clientId) : basicAuth(clientId, config.clientSecret);
  if (secret === null) return publicClientAuth(clientId);
  return basicAuth(clientId, { origin: 'the application', read: () => secret, revision: () => '' });
}

/** The prefix of every refresh handle, which an application gets in place of a refresh token. */
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

/** The key that a handle is found by: its hash. */
export function handleHash(handle: string): string {
  return hash('sha256', handle, 'hex');
}

/** The id of a session, from its hash. */
export function sessionId(hash: string): string {
  return hash.slice(0, 12);
}

/** The name of sessions that no configured credential serves, in records. */
const PLACEHOLDER_NAME = 'session';

/**
 * Placeholder credential for sessions that no configured credential serves. Only its hosts matter: it has no secret and
 * acquires no token by itself.
 */
export function placeholderCredential(hosts: UpstreamHosts): CredentialConfig {
  return bareCredential({ name: PLACEHOLDER_NAME, grantType: 'access_token', hosts, location: 'the application' });
}
