// Tokens of a user, kept alive by refresh tokens that may rotate. A refresh token is the one thing here that cannot be
// replaced without the user: it is read inside the lock, the rotated one is stored before its access token is given to
// anybody, and none is ever deleted for a transient failure or a lost race. Whether and when to renew is decided by the
// refreshing source around it.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret, SecretSource } from '../../secret.ts';
import { type StoredToken, StoreError, type StoreKey, type StoreLock, type TokenStore } from './store/store.ts';
import { type StoredRequest, takeUsable } from './stored-source.ts';
import type { TokenGrant } from './token-endpoint.ts';
import { type TokenPeers, TokenRecord } from './token-record.ts';
import { type Acquire, type Token, TokenFailure } from './token-source.ts';

/** How much longer than one token request is waited for another's lock. */
const LOCK_PATIENCE_MS = 4_000;

/** The longest token request, where nobody says. */
const USUAL_REQUEST_MS = 4_000;

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
  readonly pendingWrite?: StoredToken | null | undefined;
  /** The longest that `refresh` takes. */
  readonly requestMs?: number;
  /** What a person must do, for messages: `run gcg login crm`. */
  readonly advice: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a renewal goes by. `problem`: what was wrong with the store when it was first looked into. */
interface Renewal extends StoredRequest {
  readonly problem: string | null;
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
    const request = { reason, previous, areSecretsNew };
    this.#seenSecrets = secrets;
    let problem: string | null = null;
    if (!areSecretsNew && (reason === 'changed' || (reason === 'start' && this.#deps.store.isShared))) {
      // Where what somebody else stored will do, the lock would only make others wait, and us.
      const value = (await this.#record.read().catch(() => null))?.value ?? null;
      const isConfigured = this.#newInitialToken(value) !== null;
      const stored = isConfigured ? null : takeUsable(this.#record, value, request, this.#deps.clock.now());
      if (stored !== null) return stored;
      problem = this.#record.storeError();
    }
    return this.#track(this.#withLock((lock) => this.#renew(lock, { ...request, problem }), { isRotating: true }));
  }

  /** Stores what a login yielded, then resolves with its token. A store that fails is only noted. */
  save(grant: TokenGrant): Promise<Token> {
    return this.#track(this.#save(grant));
  }

  /** Ends the tokens, in the store too. Throws StoreError. */
  forget(): Promise<void> {
    return this.#track(this.#forget());
  }

  /** Changes when another process stored something, or a secret changed. */
  revision(): string {
    return `${this.#record.revision()}|${this.#secretsRevision()}|${this.#initialRevision()}`;
  }

  storeError(): string | null {
    return this.#record.storeError();
  }

  peers(): TokenPeers | null {
    return this.#record.peers();
  }

  /** Tokens that could not be written, for the source that takes this one's place. */
  pendingWrite(): StoredToken | null {
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

  async #renew(lock: StoreLock | null, request: Renewal, isSecondTry = false): Promise<Token> {
    const value = (await this.#record.read(isSecondTry ? null : lock))?.value ?? null;
    const configured = this.#newInitialToken(value);
    if (configured === null) {
      const stored = takeUsable(this.#record, value, request, this.#deps.clock.now());
      if (stored !== null) return stored;
      this.#assertWorthAsking(value, request);
    }
    const refreshToken = configured ?? value?.refreshToken ?? null;
    const storeError = this.#record.storeError() ?? request.problem;
    if (refreshToken === null) {
      if (this.#record.isEnded) throw this.#loginRequired('was logged out', true);
      const why = storeError === null ? 'has nobody logged in' : `cannot use its stored login (${storeError})`;
      throw this.#loginRequired(why);
    }
    const generation = await this.#begin(lock);
    let grant: TokenGrant;
    try {
      grant = await this.#deps.refresh(refreshToken);
    } catch (thrown) {
      if (!(thrown instanceof TokenFailure) || thrown.oauthError !== 'invalid_grant') throw thrown;
      const now = (await this.#record.read())?.value ?? null;
      const isOvertaken =
        now !== null && now.refreshToken?.reveal() !== refreshToken.reveal() && now.generation !== value?.generation;
      if (isOvertaken && !isSecondTry) return this.#renew(lock, { ...request, reason: 'retry' }, true);
      await this.#noteRefusal(now, refreshToken, generation);
      throw this.#loginRequired(refusedBecause(lock));
    }
    await this.#record.write(this.#storedOf(grant, refreshToken), generation);
    return grant.token;
  }

  /** A shared store remembers that the platform refused the token in it, so that the others need not ask the same. */
  #assertWorthAsking(value: StoredToken | null, { reason, areSecretsNew }: StoredRequest): void {
    if (value?.isRefused !== true || reason === 'forced' || areSecretsNew) return;
    throw this.#loginRequired(refusedBecause(null));
  }

  async #noteRefusal(value: StoredToken | null, refused: Secret, generation: number): Promise<void> {
    if (!this.#deps.store.isShared || value?.refreshToken?.reveal() !== refused.reveal()) return;
    await this.#record.write({ ...value, isRefused: true }, generation);
  }

  /** Nothing is sent where a shared store does not say that this process, and no other, may. */
  async #begin(lock: StoreLock | null): Promise<number> {
    try {
      return await this.#record.begin(lock);
    } catch (error) {
      throw this.#storeFailure(error);
    }
  }

  /** The configured refresh token, where it is newer than what is stored, or than its end. */
  #newInitialToken(value: StoredToken | null): Secret | null {
    const configured = this.#deps.initialRefreshToken?.read() ?? null;
    return configured === null || configured.fingerprint() === value?.initialFingerprint ? null : configured;
  }

  async #save(grant: TokenGrant): Promise<Token> {
    const keep = async (lock: StoreLock | null) => {
      await this.#record.read(lock).catch(() => null);
      const generation = await this.#record.begin(lock).catch(() => null);
      await this.#record.write(this.#storedOf(grant, null), generation);
      return grant.token;
    };
    // Nobody can log in a second time with the same code: what it gave is kept with the lock or without.
    return this.#withLock(keep, { otherwise: () => keep(null) });
  }

  async #forget(): Promise<void> {
    const forget = () => this.#record.forget(this.#initialFingerprint());
    // Waits for a renewal that runs, which would store its token again; a shared store tells by the generation.
    return this.#withLock(forget, this.#deps.store.isShared ? { otherwise: forget } : {});
  }

  #storedOf({ token, refreshToken }: TokenGrant, used: Secret | null): Omit<StoredToken, 'generation'> {
    const { accessToken, expiresAt, obtainedAt } = token;
    const initialFingerprint = this.#initialFingerprint();
    return { accessToken, expiresAt, obtainedAt, refreshToken: refreshToken ?? used, initialFingerprint };
  }

  #track<T>(done: Promise<T>): Promise<T> {
    const forget = () => this.#underWay.delete(done);
    this.#underWay.add(done);
    done.then(forget, forget);
    return done;
  }

  /** `otherwise` is done where the lock cannot be had, if it may be. */
  async #withLock<T>(
    work: (lock: StoreLock | null) => Promise<T>,
    { isRotating = false, otherwise }: { readonly isRotating?: boolean; readonly otherwise?: () => Promise<T> },
  ): Promise<T> {
    const { store, key, requestMs = USUAL_REQUEST_MS } = this.#deps;
    let lock: StoreLock | null = null;
    try {
      lock = await store.lock(key, requestMs + LOCK_PATIENCE_MS, { workMs: requestMs, isRotating });
    } catch (error) {
      const isLocked = error instanceof StoreError && error.code === 'locked';
      if (otherwise !== undefined) {
        if (!isLocked) this.#record.note(error);
        return otherwise();
      }
      if (isLocked || store.isShared) throw this.#storeFailure(error);
      // A store that cannot make a lock is not shared with another process either: go on with what is in memory.
      this.#record.note(error);
    }
    try {
      return await work(lock);
    } finally {
      await lock?.release();
    }
  }

  #storeFailure(error: unknown): TokenFailure {
    if (!(error instanceof StoreError)) this.#record.note(error);
    const why = error instanceof StoreError ? error.message : 'the store failed';
    const comesBack = this.#deps.store.isShared;
    return new TokenFailure('transient', `credential ${this.#deps.name}: ${why}`, { comesBack });
  }

  #loginRequired(why: string, isEnded = false): TokenFailure {
    const { name, advice } = this.#deps;
    return new TokenFailure('login_required', `credential ${name} ${why}: ${advice}`, { isEnded });
  }

  #initialFingerprint(): string | null {
    return this.#deps.initialRefreshToken?.read().fingerprint() ?? null;
  }

  #initialRevision(): string {
    return this.#deps.initialRefreshToken?.revision() ?? '';
  }

  #secretsRevision(): string {
    return this.#deps.secretsRevision?.() ?? '';
  }
}

/** Why the platform may have refused a refresh token, as far as the store can tell. */
function refusedBecause(lock: StoreLock | null): string {
  const usual = 'had its refresh token refused: it is used up, revoked or too old';
  return lock === null || lock.unfinished === null
    ? usual
    : `${usual}; an instance ended in the middle of the last refresh`;
}
