// Tokens of a user, kept alive by refresh tokens that may rotate. A refresh token is the one thing here that cannot be
// replaced without the user: it is read inside the lock, the rotated one is stored before its access token is given to
// anybody, and none is ever deleted for a transient failure or a lost race. Whether and when to renew is decided by the
// refreshing source around it.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret, SecretSource } from '../../secret.ts';
import { type StoredToken, StoreError, type StoreKey, type StoreLock, type TokenStore } from './store/store.ts';
import { storedAccessToken } from './stored-source.ts';
import type { TokenGrant } from './token-endpoint.ts';
import { type PendingWrite, TokenRecord } from './token-record.ts';
import { type Acquire, type AcquireReason, type Token, TokenFailure } from './token-source.ts';

/** Longer than one token request, shorter than a renewal may last. */
const LOCK_WAIT_MS = 8_000;

/** What a refresh-token source needs. */
export interface RefreshTokenSourceDeps {
  readonly name: string;
  readonly store: TokenStore;
  readonly key: StoreKey;
  /** Performs the refresh grant; throws TokenFailure. */
  readonly refresh: (refreshToken: Secret) => Promise<TokenGrant>;
  /** The refresh token given by configuration, if one is: begins a new chain whenever it changes. */
  readonly initialRefreshToken: SecretSource | null;
  /** Revision of the secrets that `refresh` uses. */
  readonly secretsRevision?: (() => string) | undefined;
  /** What the source before this one could not write. */
  readonly pendingWrite?: PendingWrite | null | undefined;
  /** What a person must do, for messages: `run gcg login crm`. */
  readonly advice: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Why a token is acquired, and what it must not be. */
interface Request {
  readonly reason: AcquireReason;
  /** The token last in use. It will not do again, except for 'changed' when no secret of the grant has changed. */
  readonly previous: Token | null;
  readonly areSecretsNew: boolean;
}

/** The tokens of one credential with a login. Asks nothing before the first `acquire`. */
export class RefreshTokenSource {
  readonly #deps: RefreshTokenSourceDeps;
  /** The stored tokens. */
  readonly #record: TokenRecord;
  /** Renewals, logins and logouts that have not ended. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** The revision of the secrets at the last renewal. */
  #seenSecrets: string;

  constructor(deps: RefreshTokenSourceDeps) {
    this.#deps = deps;
    this.#record = new TokenRecord(deps);
    this.#seenSecrets = this.#secretsRevision();
  }

  /** A stored token that will do, or a new one by the refresh grant. Throws TokenFailure. */
  async acquire({ reason, previous }: Parameters<Acquire>[0]): Promise<Token> {
    const secrets = this.#secretsRevision();
    const areSecretsNew = secrets !== this.#seenSecrets;
    this.#seenSecrets = secrets;
    return this.#locked((lock) => this.#renew(lock, { reason, previous, areSecretsNew }));
  }

  /** Stores what a login yielded, then resolves with its token. A store that fails is only noted. */
  save(grant: TokenGrant): Promise<Token> {
    return this.#locked(async (lock) => {
      await this.#record.read().catch(() => null);
      return this.#write(grant, null, lock);
    });
  }

  /** Removes the tokens, from the store too. Throws StoreError. */
  forget(): Promise<void> {
    // Waits for a renewal that runs, which would store its token again.
    return this.#locked(() => this.#record.forget());
  }

  /** Changes when another process stored something, or a secret changed. */
  revision(): string {
    const { initialRefreshToken } = this.#deps;
    return `${this.#record.revision()}|${this.#secretsRevision()}|${initialRefreshToken?.revision() ?? ''}`;
  }

  storeError(): string | null {
    return this.#record.storeError();
  }

  /** Tokens that could not be written, for the source that takes this one's place. */
  pendingWrite(): PendingWrite | null {
    return this.#record.pendingWrite();
  }

  /**
   * Resolves when what is under way has ended and is stored, as far as it can be; tries once more to write what is
   * pending. Never rejects.
   */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#record.flush();
  }

  /** Stops the retries of a failed write. */
  close(): void {
    this.#record.close();
  }

  async #renew(lock: StoreLock | null, request: Request, isSecondTry = false): Promise<Token> {
    const value = (await this.#record.read())?.value ?? null;
    const configured = this.#newInitialToken(value);
    if (configured === null) {
      const stored = this.#usable(value, request);
      if (stored !== null) return stored;
    }
    const refreshToken = configured ?? value?.refreshToken ?? null;
    const storeError = this.#record.storeError();
    if (refreshToken === null)
      throw this.#loginRequired(
        storeError === null ? 'has nobody logged in' : `cannot use its stored login (${storeError})`,
      );
    let grant: TokenGrant;
    try {
      grant = await this.#deps.refresh(refreshToken);
    } catch (thrown) {
      if (!(thrown instanceof TokenFailure) || thrown.oauthError !== 'invalid_grant') throw thrown;
      const now = (await this.#record.read())?.value ?? null;
      const isOvertaken =
        now !== null && now.refreshToken?.reveal() !== refreshToken.reveal() && now.generation !== value?.generation;
      if (isOvertaken && !isSecondTry) return this.#renew(lock, { ...request, reason: 'retry' }, true);
      throw this.#loginRequired('had its refresh token refused: it is used up, revoked or too old');
    }
    return this.#write(grant, refreshToken, lock);
  }

  /** A token that another process, or this one before a restart, stored, and that will do. */
  #usable(value: StoredToken | null, { reason, previous, areSecretsNew }: Request): Token | null {
    if (value === null || reason === 'forced') return null;
    const stored = storedAccessToken(value, this.#deps.clock.now());
    if (stored === null) return null;
    const isPrevious = stored.authorization === previous?.authorization;
    return isPrevious && (reason !== 'changed' || areSecretsNew) ? null : stored;
  }

  /** The configured refresh token, where it is newer than what is stored. */
  #newInitialToken(value: StoredToken | null): Secret | null {
    const configured = this.#deps.initialRefreshToken?.read() ?? null;
    return configured === null || configured.fingerprint() === value?.initialFingerprint ? null : configured;
  }

  async #write(grant: TokenGrant, usedRefreshToken: Secret | null, lock: StoreLock | null): Promise<Token> {
    const { accessToken, expiresAt, obtainedAt } = grant.token;
    const refreshToken = grant.refreshToken ?? usedRefreshToken;
    const initialFingerprint = this.#deps.initialRefreshToken?.read().fingerprint() ?? null;
    await this.#record.write({ accessToken, expiresAt, obtainedAt, refreshToken, initialFingerprint }, lock);
    return grant.token;
  }

  #locked<T>(work: (lock: StoreLock | null) => Promise<T>): Promise<T> {
    const done = this.#withLock(work);
    const forget = () => this.#underWay.delete(done);
    this.#underWay.add(done);
    done.then(forget, forget);
    return done;
  }

  async #withLock<T>(work: (lock: StoreLock | null) => Promise<T>): Promise<T> {
    const { name, store, key } = this.#deps;
    let lock: StoreLock | null = null;
    try {
      lock = await store.lock(key, LOCK_WAIT_MS);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'locked')
        throw new TokenFailure('transient', `credential ${name}: ${error.message}`);
      // A store that cannot make a lock is not shared with another process either: go on with what is in memory.
      this.#record.note(error);
    }
    try {
      return await work(lock);
    } finally {
      await lock?.release();
    }
  }

  #loginRequired(why: string): TokenFailure {
    const { name, advice } = this.#deps;
    return new TokenFailure('login_required', `credential ${name} ${why}: ${advice}`);
  }

  #secretsRevision(): string {
    return this.#deps.secretsRevision?.() ?? '';
  }
}
