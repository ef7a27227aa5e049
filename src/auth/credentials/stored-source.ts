// Keeps the tokens of grants without a refresh token in a durable store: so that a restart asks for nothing, and where
// instances share it, one asks for all. The store only helps: whatever is wrong with it, a token is acquired without it.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import {
  isFromFuture,
  type StoredToken,
  StoreError,
  type StoreKey,
  type StoreLock,
  type TokenStore,
} from './store/store.ts';
import { type TokenPeers, TokenRecord } from './token-record.ts';
import { type Acquire, type AcquireReason, createToken, type Token, TokenFailure } from './token-source.ts';

/** How much longer than one token request is waited for another's lock. */
const LOCK_PATIENCE_MS = 4_000;

/** The longest token request, where nobody says. */
const USUAL_REQUEST_MS = 4_000;

/** Instances that find their store gone at the same moment spread their own requests over so long. */
const ALONE_JITTER_MS = 2_000;

/** What a stored source works with. */
export interface StoredSourceDeps {
  readonly name: string;
  /** Of the grant. */
  readonly acquire: Acquire;
  readonly store: TokenStore;
  readonly key: StoreKey;
  /** Revision of the secrets that `acquire` uses. */
  readonly secretsRevision?: (() => string) | undefined;
  /** The longest that `acquire` takes. */
  readonly requestMs?: number | undefined;
  /** One of several tokens, from the second on: whether anybody is logged out is the first one's matter. */
  readonly isFurther?: boolean | undefined;
  /** What a person must do after a logout, for messages. */
  readonly advice: string;
  /** 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * `acquire` over that of a grant. Each new token is written in the background, so that a slow disk delays nobody. Of a
 * store of this machine only the first token may come; of a shared one any that another instance has obtained.
 */
export class StoredSource {
  readonly #deps: StoredSourceDeps;
  readonly #record: TokenRecord;
  #timesForgotten = 0;
  #writing: Promise<unknown> = Promise.resolve();
  /** The revision of the secrets at the last request. */
  #seenSecrets: string;

  constructor(deps: StoredSourceDeps) {
    this.#deps = deps;
    this.#record = new TokenRecord(deps);
    this.#seenSecrets = this.#secretsRevision();
  }

  /** Throws what the grant does; TokenFailure where another instance has ended the tokens. */
  async acquire(request: Parameters<Acquire>[0]): Promise<Token> {
    if (this.#deps.store.isShared) return this.#acquireInTurn(request);
    const { reason, previous } = request;
    if (previous === null && reason !== 'forced' && reason !== 'changed') {
      const value = await this.#read(null);
      const stored = value === null ? null : storedAccessToken(value, this.#deps.clock.now());
      if (stored !== null) return stored;
    }
    const before = this.#timesForgotten;
    const token = await this.#deps.acquire(request);
    if (this.#timesForgotten === before) this.#inBackground(this.save(token));
    return token;
  }

  /** Writes a token that a login yielded. Never throws. */
  async save(token: Token): Promise<void> {
    await this.#read(null);
    await this.#record.write(storedOf(token), null);
  }

  /** Removes the token, from the store too. A failure is only noted. */
  async forget(): Promise<void> {
    this.#timesForgotten += 1;
    await this.#record.forget().catch((error: unknown) => this.#record.note(error));
  }

  /** Changes when another instance stored or ended something, or a secret changed. Of a shared store only. */
  revision(): string {
    return `${this.#record.revision()}|${this.#secretsRevision()}`;
  }

  storeError(): string | null {
    return this.#record.storeError();
  }

  peers(): TokenPeers | null {
    return this.#record.peers();
  }

  /** Resolves when the tokens acquired so far are written, or could not be. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Stops the retries of a failed write. */
  close(): void {
    this.#record.close();
  }

  async #acquireInTurn({ reason, previous }: Parameters<Acquire>[0]): Promise<Token> {
    const secrets = this.#secretsRevision();
    const request = { reason, previous, areSecretsNew: secrets !== this.#seenSecrets };
    this.#seenSecrets = secrets;
    if ((reason === 'changed' || reason === 'start') && !request.areSecretsNew) {
      const stored = takeUsable(this.#record, await this.#read(null), request, this.#deps.clock.now());
      if (stored !== null) return stored;
    }
    const lock = await this.#lock();
    let kept: Promise<unknown> = Promise.resolve();
    try {
      const stored = takeUsable(this.#record, await this.#read(lock), request, this.#deps.clock.now());
      if (stored !== null) return stored;
      this.#assertNotEnded(request);
      const before = this.#timesForgotten;
      const generation = lock === null ? null : await this.#record.begin(lock).catch(() => null);
      const token = await this.#deps.acquire({ reason, previous });
      if (this.#timesForgotten === before) kept = this.#record.write(storedOf(token), generation);
      return token;
    } finally {
      // Others wait for the lock until they can read what was obtained under it.
      this.#inBackground(kept.then(() => lock?.release()));
    }
  }

  /** Null where it cannot be had: the platform does not mind a second token of the same account. */
  async #lock(): Promise<StoreLock | null> {
    const { store, key, clock, random, requestMs = USUAL_REQUEST_MS } = this.#deps;
    try {
      return await store.lock(key, requestMs + LOCK_PATIENCE_MS, { workMs: requestMs });
    } catch (error) {
      if (error instanceof StoreError && error.code === 'locked') return null;
      this.#record.note(error);
    }
    await new Promise<void>((resolve) => clock.after(random() * ALONE_JITTER_MS, resolve));
    return null;
  }

  #assertNotEnded({ reason, areSecretsNew }: StoredRequest): void {
    const { name, isFurther = false, advice } = this.#deps;
    if (isFurther || reason === 'forced' || areSecretsNew || !this.#record.isEnded) return;
    throw new TokenFailure('login_required', `credential ${name} was logged out: ${advice}`, { isEnded: true });
  }

  /** What is stored; null where nothing is, or it cannot be read. */
  async #read(lock: StoreLock | null): Promise<StoredToken | null> {
    const entry = await this.#record.read(lock).catch(() => null);
    return entry?.value ?? null;
  }

  #inBackground(work: Promise<unknown>): void {
    this.#writing = Promise.all([this.#writing, work]);
  }

  #secretsRevision(): string {
    return this.#deps.secretsRevision?.() ?? '';
  }
}

/** Why a token is acquired, and what it must not be. */
export interface StoredRequest {
  readonly reason: AcquireReason;
  /** The token last in use. It will not do again, except for 'changed' when no secret of the grant has changed. */
  readonly previous: Token | null;
  readonly areSecretsNew: boolean;
}

/** A stored token that will do: another process, or this one before a restart, has obtained it. */
export function takeUsable(
  record: TokenRecord,
  value: StoredToken | null,
  { reason, previous, areSecretsNew }: StoredRequest,
  nowMs: number,
): Token | null {
  if (value === null || reason === 'forced') return null;
  const stored = storedAccessToken(value, nowMs);
  if (stored === null) return null;
  if (stored.authorization === previous?.authorization) return reason === 'changed' && !areSecretsNew ? stored : null;
  record.tookToken(value);
  return stored;
}

/** The access token of what is stored, where there is one that is not past its end, as far as clocks can tell. */
export function storedAccessToken(value: StoredToken, nowMs: number): Token | null {
  const { accessToken, obtainedAt, expiresAt } = value;
  return accessToken === null || expiresAt <= nowMs || isFromFuture(value, nowMs)
    ? null
    : createToken({ accessToken, obtainedAt, expiresAt });
}

function storedOf({ accessToken, expiresAt, obtainedAt }: Token): Omit<StoredToken, 'generation'> {
  return { accessToken, expiresAt, obtainedAt, refreshToken: null, initialFingerprint: null };
}
