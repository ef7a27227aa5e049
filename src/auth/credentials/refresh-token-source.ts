// Tokens of a person, kept alive by refresh tokens that may rotate. A refresh token is the one thing here that cannot
// be had again without the person: it is read inside the lock, the rotated one is stored before its access token is
// given to anybody, and none is ever deleted for a transient failure or a lost race. Whether and when to renew is
// decided by the refreshing source around it.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret, SecretSource } from '../../secret.ts';
import { type StoredToken, StoreError, type StoreKey, type StoreLock, type TokenStore } from './store/store.ts';
import { storedAccessToken } from './stored-source.ts';
import type { TokenGrant } from './token-endpoint.ts';
import { createUserRecord, type Unwritten } from './token-record.ts';
import { type Obtain, type ObtainReason, type Token, TokenFailure } from './token-source.ts';

/** Longer than one token request, shorter than an attempt may last. */
const LOCK_WAIT_MS = 8_000;

/** One person's tokens: for a credential with a login, or for a session. */
export interface UserSource {
  readonly obtain: Obtain;
  /** Stores what a login yielded, then answers its token. Never throws for the store's sake. */
  adopt(grant: TokenGrant): Promise<Token>;
  /** Forgets the tokens, in the store too. Throws StoreError. */
  forget(): Promise<void>;
  /** Changes when another process stored something, or a secret changed. */
  revision(): string;
  storeError(): string | null;
  /** Tokens that could not be written, for the source that takes this one's place. */
  unwritten(): Unwritten | null;
  /**
   * Resolves when what is under way has ended and is stored, as far as it can be; tries once more to write what could
   * not be written. Never rejects.
   */
  settled(): Promise<void>;
  /** Stops the retries of a failed write. */
  close(): void;
}

/** What a refresh-token source needs. */
export interface UserSourceDeps {
  readonly name: string;
  readonly store: TokenStore;
  readonly key: StoreKey;
  /** Performs the refresh grant; throws TokenFailure. */
  readonly refresh: (refreshToken: Secret) => Promise<TokenGrant>;
  /** A refresh token given by configuration: begins a new chain whenever it changes. */
  readonly seed: SecretSource | null;
  /** Revision of the secrets that `refresh` uses. */
  readonly secretsRevision?: (() => string) | undefined;
  /** What the source before this one could not write. */
  readonly unwritten?: Unwritten | null | undefined;
  /** What a person must do, for messages: `run gcg login crm`. */
  readonly advice: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Asks nothing before the first `obtain`. */
export function createUserSource(deps: UserSourceDeps): UserSource {
  const { name, store, key, refresh, seed, advice, clock, log } = deps;
  const secretsRevision = deps.secretsRevision ?? (() => '');
  const record = createUserRecord({ name, store, key, clock, log, unwritten: deps.unwritten });
  let secretsSeen = secretsRevision();
  const underWay = new Set<Promise<unknown>>();

  const loginRequired = (why: string) => new TokenFailure('login_required', `credential ${name} ${why}: ${advice}`);

  function locked<T>(work: (lock: StoreLock | null) => Promise<T>): Promise<T> {
    const done = withLock(work);
    const forget = () => underWay.delete(done);
    underWay.add(done);
    done.then(forget, forget);
    return done;
  }

  async function withLock<T>(work: (lock: StoreLock | null) => Promise<T>): Promise<T> {
    let lock: StoreLock | null = null;
    try {
      lock = await store.lock(key, LOCK_WAIT_MS);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'locked')
        throw new TokenFailure('transient', `credential ${name}: ${error.message}`);
      // A store that cannot even make a lock cannot be shared either: go on with what is in memory.
      record.note(error);
    }
    try {
      return await work(lock);
    } finally {
      await lock?.release();
    }
  }

  /** The seed when it is newer than what is stored. */
  function newSeed(value: StoredToken | null): Secret | null {
    const given = seed?.read() ?? null;
    return given === null || given.fingerprint() === value?.seed ? null : given;
  }

  /** A token that somebody else, or we before a restart, stored, and that answers why one is asked for. */
  function usable(
    value: StoredToken | null,
    reason: ObtainReason,
    held: Token | null,
    areSecretsNew: boolean,
  ): Token | null {
    if (value === null || reason === 'forced') return null;
    const stored = storedAccessToken(value, clock.now());
    if (stored === null) return null;
    const isHeld = stored.authorization === held?.authorization;
    return isHeld && (reason !== 'changed' || areSecretsNew) ? null : stored;
  }

  async function renew(
    lock: StoreLock | null,
    reason: ObtainReason,
    held: Token | null,
    areSecretsNew: boolean,
    isSecondTry = false,
  ): Promise<Token> {
    const entry = await record.read();
    const value = entry?.value ?? null;
    const given = newSeed(value);
    if (given === null) {
      const stored = usable(value, reason, held, areSecretsNew);
      if (stored !== null) return stored;
    }
    const refreshToken = given ?? value?.refreshToken ?? null;
    if (refreshToken === null)
      throw loginRequired(
        record.error() === null ? 'has nobody logged in' : `cannot use its stored login (${record.error()})`,
      );
    let grant: TokenGrant;
    try {
      grant = await refresh(refreshToken);
    } catch (thrown) {
      if (!(thrown instanceof TokenFailure) || thrown.oauthError !== 'invalid_grant') throw thrown;
      const now = (await record.read())?.value ?? null;
      const isOvertaken =
        now !== null && now.refreshToken?.reveal() !== refreshToken.reveal() && now.generation !== value?.generation;
      if (isOvertaken && !isSecondTry) return renew(lock, 'retry', held, areSecretsNew, true);
      throw loginRequired('had its refresh token refused: it is used up, revoked or too old');
    }
    return write(grant, refreshToken, lock);
  }

  async function write(grant: TokenGrant, usedRefreshToken: Secret | null, lock: StoreLock | null): Promise<Token> {
    const { accessToken, expiresAt, obtainedAt } = grant.token;
    const refreshToken = grant.refreshToken ?? usedRefreshToken;
    await record.write(
      { accessToken, expiresAt, obtainedAt, refreshToken, seed: seed?.read().fingerprint() ?? null },
      lock,
    );
    return grant.token;
  }

  return {
    async obtain({ reason, held }) {
      const secretsNow = secretsRevision();
      const areSecretsNew = secretsNow !== secretsSeen;
      secretsSeen = secretsNow;
      return locked((lock) => renew(lock, reason, held, areSecretsNew));
    },
    adopt: (grant) =>
      locked(async (lock) => {
        await record.read().catch(() => null);
        return write(grant, null, lock);
      }),
    // Behind a renewal that runs, which would store its token again.
    forget: () => locked(() => record.forget()),
    revision: () => `${record.revision()}|${secretsRevision()}|${seed?.revision() ?? ''}`,
    storeError: () => record.error(),
    unwritten: () => record.unwritten(),
    async settled() {
      await Promise.allSettled(underWay);
      await record.flush();
    },
    close: () => record.close(),
  };
}
