// The configured credentials, each with its own token source. Two of them share nothing but the network and the store.

import type { Clock } from '../../clock.ts';
import {
  type CredentialConfig,
  defaultCredential,
  type GatewayConfig,
  isSameSetting,
} from '../../config/gateway-config.ts';
import { MOST_TOKENS } from '../../config/sections/credential.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret } from '../../secret.ts';
import { createGrant, type Grant, type LoginAnswer, loginAdvice, secretsRevision, storeKeyOf } from './grants.ts';
import { RefreshingTokenSource } from './refreshing-source.ts';
import type { StoredToken, TokenStore } from './store/store.ts';
import {
  createTokenEndpoint,
  type TokenEndpoint,
  type TokenRequestOutcome,
  type TokenTransport,
} from './token-endpoint.ts';
import { inherit, type PooledSource, TokenPool } from './token-pool.ts';
import type { TokenPeers } from './token-record.ts';
import {
  type Acquire,
  type CredentialState,
  type Token,
  TokenFailure,
  type TokenState,
  type TokenTransition,
} from './token-source.ts';
import { TokenTurns } from './token-turns.ts';

/** One configured credential. */
export interface Credential {
  readonly config: CredentialConfig;
  /** Of its first token, or the only one. */
  readonly source: RefreshingTokenSource;
  /** Null where it may have one token only. */
  readonly pool: TokenPool | null;
  /** The state of the token that calls go up with: of the first, or of another where that has none. */
  tokenState(): TokenState;
  /** Which instances obtained and obtain its first token; null where they share none. */
  peers(): TokenPeers | null;
  /** Whether a person logs in for it. */
  readonly hasLogin: boolean;
  /** Exchanges a login's answer for a token, stores and uses it. Throws TokenFailure or GatewayError. Call it once per login. */
  redeem(answer: LoginAnswer): Promise<void>;
  /**
   * Takes a SAML assertion into use and acquires a token with it. Throws the renewal's error; gateway.request.invalid
   * for other grants.
   */
  postAssertion(assertion: Secret): Promise<Token>;
  /** Forces a renewal of the first token, and then, in the background, of the others. Throws the renewal's error. */
  refresh(): Promise<Token>;
  /**
   * Drops all tokens and removes what is stored; the platform is not asked to revoke it. Throws gateway.internal when
   * the store cannot remove it.
   */
  logout(): Promise<void>;
}

/** The credentials of one configuration. */
export interface Credentials {
  get(name: string): Credential | undefined;
  /** The default credential, if there is one. */
  default(): Credential | undefined;
  /** In the order of the configuration. */
  list(): readonly Credential[];
  states(): Readonly<Record<string, CredentialState>>;
  /** Begins acquiring first tokens; never throws, waits for nothing. */
  start(): void;
  /** Stops all timers, save those of credentials that `next` has taken over. Renewals that run are left to end. */
  close(next?: Credentials): void;
  /**
   * Resolves when no refresh token is being exchanged or written any more (its result could not be acquired again), and
   * when the other tokens acquired so far are in the store or could not be written. Never rejects.
   */
  settled(): Promise<void>;
  /** A credential for the next configuration, which may take it over. */
  made(name: string): MadeCredential | undefined;
}

/** A credential with what the next configuration needs to compare it and take it over. */
export interface MadeCredential {
  readonly credential: Credential;
  readonly settings: CredentialSettings;
  /** Its pool, and how that is to be made by these settings; null for a grant that has none. */
  readonly pooled: {
    readonly pool: TokenPool;
    readonly make: (number: number) => PooledSource;
    readonly turns: TokenTurns;
  } | null;
  readonly settled: () => Promise<void>;
  readonly pendingWrite: () => StoredToken | null;
  readonly close: () => void;
}

/** The settings that its source was made with. */
interface CredentialSettings {
  readonly config: CredentialConfig;
  readonly reauthentication: GatewayConfig['reauthentication'];
  readonly tokenMs: number;
}

/** What credentials are made with. `random` is 0 (inclusive) to 1 (exclusive). The store is closed by its maker. */
export interface CredentialsDeps {
  readonly config: GatewayConfig;
  /** Reaches the network by the configuration in use at the time: credentials may outlive theirs. */
  readonly transport: TokenTransport;
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onTransition?: ((transition: TokenTransition) => void) | undefined;
  /** Told each token that a credential takes into use. `isRenewal` is false for one that a login or another source gave. */
  readonly onToken?: ((credential: string, token: Token, isRenewal: boolean) => void) | undefined;
  readonly onTokenRequest?: ((outcome: TokenRequestOutcome) => void) | undefined;
  /** Told each token that is taken into use, wherever it comes from. */
  readonly onSecret?: ((value: string, origin: 'received' | 'sent') => void) | undefined;
}

/**
 * Makes the credentials of a configuration; uses no network before `start()`. `previous` are those of the configuration
 * before: a credential that stays the same keeps its source, one that is still the same account keeps its token.
 */
export function createCredentials(deps: CredentialsDeps, previous?: Credentials): Credentials {
  const { config, transport, clock, log, onTokenRequest, onSecret } = deps;
  const endpoint = createTokenEndpoint({
    transport,
    clock,
    log,
    timeoutMs: config.timeouts.tokenMs,
    onTokenRequest,
    onSecret,
  });
  const made = new Map<string, MadeCredential>();
  const inherited = new Map<
    RefreshingTokenSource,
    { readonly from: RefreshingTokenSource; readonly isSecretNew: boolean }
  >();
  for (const credential of config.credentials) {
    const settings: CredentialSettings = {
      config: credential,
      reauthentication: config.reauthentication,
      tokenMs: config.timeouts.tokenMs,
    };
    const before = previous?.made(credential.name);
    if (before !== undefined && isSameSetting(before.settings, settings, KEPT_KEYS)) {
      const pool = credential.tokens > 1 ? (before.pooled?.pool ?? null) : null;
      made.set(credential.name, {
        ...before,
        settings,
        credential: { ...before.credential, config: credential, pool },
      });
      continue;
    }
    const one = { ...createCredential(credential, endpoint, deps, before), settings };
    made.set(credential.name, one);
    if (before === undefined || !isSameAccount(before.settings.config, credential)) continue;
    const isSecretNew = !isSameSetting(before.settings.config, credential, KEPT_KEYS);
    inherited.set(one.credential.source, { from: before.credential.source, isSecretNew });
  }
  const byName = new Map([...made].map(([name, { credential }]) => [name, credential]));
  const defaultName = defaultCredential(config)?.name;

  return {
    get: (name) => byName.get(name),
    default: () => (defaultName === undefined ? undefined : byName.get(defaultName)),
    list: () => [...byName.values()],
    states: () => Object.fromEntries([...byName].map(([name, { source }]) => [name, source.state()])),
    start() {
      for (const { credential, pooled } of made.values()) {
        const { source, config: own } = credential;
        const before = inherited.get(source);
        const hasToken = before !== undefined && inherit(source, before.from);
        source.start();
        pooled?.pool.use({ max: own.tokens, first: source, make: pooled.make });
        // Tests the new secret now, while the tokens that it will replace are still valid.
        if (hasToken && before.isSecretNew) credential.refresh().catch(() => undefined);
      }
      inherited.clear();
    },
    close(next) {
      for (const [name, { credential, pooled, close }] of made) {
        const after = next?.made(name);
        if (after?.credential.source !== credential.source) close();
        if (after?.pooled?.pool !== pooled?.pool) pooled?.pool.close();
      }
    },
    async settled() {
      await Promise.all([...made.values()].map((one) => one.settled()));
    },
    made: (name) => made.get(name),
  };
}

/** Settings of a credential's role, which its token source does not depend on. */
const ROLE_KEYS = ['isDefault', 'isRequired'];
/** The same, and those that change while it is kept. */
const KEPT_KEYS = [...ROLE_KEYS, 'tokens'];

/**
 * Whether two credentials lead to tokens of the same account: then the token of one serves the other, and counts
 * against the same limits.
 */
export function isSameAccount(a: CredentialConfig, b: CredentialConfig): boolean {
  const isGiven = a.grantType === 'access_token';
  return isSameSetting(
    a,
    b,
    isGiven
      ? KEPT_KEYS
      : [...KEPT_KEYS, 'clientSecret', 'assertion', 'assertionCommand', 'redirectUri', 'prompt', 'loginHint'],
  );
}

/** Makes a credential. One that is the same account as the one before goes on with its pool. */
function createCredential(
  config: CredentialConfig,
  endpoint: TokenEndpoint,
  deps: CredentialsDeps,
  before: MadeCredential | undefined,
): Omit<MadeCredential, 'settings'> {
  const parts = new CredentialParts(config, endpoint, deps, before);
  const { first, pool } = parts;
  const { source, grant } = first;
  const { name, grantType } = config;
  const credential: Credential = {
    config,
    source,
    pool: config.tokens > 1 ? pool : null,
    tokenState: () => pool?.tokenState() ?? source.state().token,
    peers: () => grant.peers?.() ?? null,
    hasLogin: grant.redeem !== undefined,
    async redeem(answer) {
      if (grant.redeem === undefined)
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) has no login`);
      source.accept(await grant.redeem(answer));
    },
    async postAssertion(assertion) {
      if (grant.postAssertion === undefined) {
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) takes no assertion`);
      }
      await grant.postAssertion(assertion);
      // A renewal that runs may have begun with the assertion before: how that ends says nothing of this one.
      if (source.state().renewal === 'running') await source.refresh().catch(() => undefined);
      return source.refresh();
    },
    async refresh() {
      const token = await source.refresh();
      pool?.renewMore();
      return token;
    },
    async logout() {
      const what = grant.redeem === undefined ? `renew it by POST /-/credentials/${name}/refresh` : loginAdvice(name);
      const failure = new TokenFailure('login_required', `credential ${name} was logged out: ${what}`);
      await Promise.all([grant.forget?.(), pool?.drop(failure), parts.forgetStored()]).catch(() => {
        throw new GatewayError(
          'gateway.internal',
          `credential ${name}: its stored tokens could not be removed (${grant.storeError?.() ?? 'store failed'})`,
        );
      });
      source.drop(failure);
    },
  };
  return {
    credential,
    pooled: pool && { pool, make: parts.make, turns: parts.turns },
    close() {
      first.stopListening();
      source.close();
      grant.close?.();
    },
    settled: async () => void (await Promise.all([grant.settled?.(), pool?.settled()])),
    pendingWrite: () => grant.pendingWrite?.() ?? null,
  };
}

/** A token's source, and the grant that acquires it. */
interface SourceWithGrant {
  readonly source: RefreshingTokenSource;
  readonly grant: Grant;
  /** Ends what the store tells it. */
  readonly stopListening: () => void;
}

/** What a credential is made of: the source of its first token, and of each further one that it may have. */
class CredentialParts {
  readonly first: SourceWithGrant;
  readonly pool: TokenPool | null;
  readonly turns: TokenTurns;
  readonly #config: CredentialConfig;
  readonly #endpoint: TokenEndpoint;
  readonly #deps: CredentialsDeps;

  constructor(
    config: CredentialConfig,
    endpoint: TokenEndpoint,
    deps: CredentialsDeps,
    before: MadeCredential | undefined,
  ) {
    this.#config = config;
    this.#endpoint = endpoint;
    this.#deps = deps;
    const { clock, random } = deps;
    const kept = before !== undefined && isSameAccount(before.settings.config, config) ? before.pooled : null;
    this.turns = kept?.turns ?? new TokenTurns({ clock, random });
    this.turns.revision = secretsRevision([config.clientSecret]) ?? (() => String(config.clientSecret?.revision()));
    const isSameEntry = before !== undefined && isSameSetting(storeKeyOf(before.settings.config), storeKeyOf(config));
    this.first = this.#create(1, isSameEntry ? before.pendingWrite() : null);
    const settings = { max: config.tokens, first: this.first.source, make: this.make };
    this.pool = config.grantType === 'client_credentials' ? (kept?.pool ?? new TokenPool(clock, settings)) : null;
  }

  /** Makes a further token's source; bound, to be handed on. */
  readonly make = (number: number): PooledSource => {
    const { source, grant } = this.#create(number, null);
    return {
      source,
      forget: async () => grant.forget?.(),
      settled: async () => grant.settled?.(),
    };
  };

  /** Removes what may be stored of further tokens, by this process or by one before. Throws StoreError. */
  async forgetStored(): Promise<void> {
    const { store } = this.#deps;
    if (this.pool === null || !store.isDurable) return;
    // A folder may hold what a process with more of them has left; a shared store would remember each end for a week.
    const most = store.isShared ? this.#config.tokens : MOST_TOKENS;
    for (let number = 2; number <= most; number += 1) await store.delete(storeKeyOf(this.#config, number));
  }

  #create(number: number, pendingWrite: StoredToken | null): SourceWithGrant {
    const { store, clock, random, log, onTransition, onToken, onSecret } = this.#deps;
    const { name, grantType, isRequired } = this.#config;
    const { reauthentication, timeouts } = this.#deps.config;
    const isFirst = number === 1;
    const key = storeKeyOf(this.#config, number);
    const grant = createGrant({
      config: this.#config,
      endpoint: grantType === 'client_credentials' ? this.turns.around(this.#endpoint, number) : this.#endpoint,
      store,
      key,
      isFurther: !isFirst,
      requestMs: timeouts.tokenMs,
      clock,
      random,
      log,
      pendingWrite,
    });
    const acquire: Acquire = async (request) => {
      const token = await grant.acquire(request).catch((thrown: unknown) => {
        // Another instance has ended all tokens of this credential.
        if (isFirst && thrown instanceof TokenFailure && thrown.isEnded) void this.pool?.drop(thrown);
        throw thrown;
      });
      onSecret?.(token.accessToken.reveal(), 'received');
      // The platform takes the new secret: the tokens that the one before was given go, too.
      if (isFirst && request.reason === 'changed') this.pool?.renewMore();
      return token;
    };
    // A configured token is only read again, which is no renewal that could be switched off.
    const settings =
      grantType === 'access_token' ? { ...reauthentication, refreshAccessToken: true } : reauthentication;
    const source = new RefreshingTokenSource({
      name,
      acquire,
      clock,
      random,
      settings,
      // The first one looks for all.
      revision: isFirst ? grant.revision : undefined,
      storeError: grant.storeError,
      log,
      onTransition,
      isOptional: !isFirst || !isRequired,
      ...(!isFirst && { number, isWanted: (own) => this.pool?.isWanted(number - 1, own) ?? false }),
      onToken: (token, isRenewal) => {
        if (isFirst) onToken?.(name, token, isRenewal);
        this.pool?.onRoom();
      },
    });
    // The first one looks for all; what a store of this machine has to tell is seen soon enough.
    const stopListening = isFirst && store.isShared ? store.onChange(key, () => source.look()) : () => undefined;
    return { source, grant, stopListening };
  }
}
