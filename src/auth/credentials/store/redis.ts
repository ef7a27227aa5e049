// A token store that instances share, over Redis or Valkey. It may be away, slow, or forget: what this process knows is
// told again, what it could not write is told later, and of two values the one of the higher generation counts. The
// connection is its maker's.

import { createHash } from 'node:crypto';
import type { Clock, Timer } from '../../../clock.ts';
import type { Log } from '../../../logging/log.ts';
import type { RedisConnection } from '../../../redis/connection.ts';
import type { Reply } from '../../../redis/link.ts';
import type { Script } from '../../../redis/script.ts';
import type { SecretSource } from '../../../secret.ts';
import { AwayError, awayError } from './away-error.ts';
import { createSealer, readKey, type Sealer } from './encryption.ts';
import { LEASE_MARGIN_MS, RedisLocks, type TakenLock } from './redis-lock.ts';
import { type FoundEntry, type KnownEntry, RedisMirror, type SealedEntry } from './redis-mirror.ts';
import { GONE, KEEP_ASIDE, PUT, READ, REPLACE } from './redis-scripts.ts';
import { Spool } from './spool.ts';
import {
  endedToken,
  isEnded,
  type LockUse,
  nextGeneration,
  parseStoredToken,
  type StoredEntry,
  type StoredToken,
  StoreError,
  type StoreInstances,
  type StoreKey,
  type StoreLock,
  type StoreState,
  serialiseToken,
  storeKeyId,
  TELLING_MS,
  type TokenStore,
} from './store.ts';

/** How long it is remembered that an entry was ended. */
const ENDED_FOR_MS = 7 * 24 * 3_600_000;

/** How long what nobody could open is kept aside. */
const ASIDE_FOR_MS = 90 * 24 * 3_600_000;

/** What a server that is there does not take is told again after 1, 2, 4 … 30 s. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

/** So many entries are told at once. */
const BATCH = 100;

/** What a store needs of the connection. */
export type StoreConnection = Pick<
  RedisConnection,
  | 'prefix'
  | 'instanceId'
  | 'meta'
  | 'time'
  | 'isReady'
  | 'isRefused'
  | 'backMono'
  | 'emptyMono'
  | 'command'
  | 'script'
  | 'subscribe'
  | 'onGap'
  | 'onLoss'
  | 'status'
>;

/** What a shared store works with. */
export interface RedisStoreDeps {
  /** Opened before the store is, and closed after it. */
  readonly connection: StoreConnection;
  readonly prefix: string;
  readonly encryptionKey: SecretSource;
  /** Opens what was sealed with the key before; seals nothing. */
  readonly encryptionKeyPrevious: SecretSource | null;
  /** False: only tokens with a refresh token are kept (`TokenStore.isDurable`). */
  readonly isDurable?: boolean;
  /** The folder of what Redis does not take; '': none. */
  readonly path: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** How much longer than the longest request a lock is held by whoever is silent. */
  readonly leaseMarginMs?: number;
}

/** Subscribes when it is opened. */
export class RedisStore implements TokenStore {
  readonly isDurable: boolean;
  readonly isShared = true;
  readonly instances: StoreInstances;
  readonly #deps: RedisStoreDeps;
  readonly #sealer: Sealer;
  readonly #mirror: RedisMirror;
  readonly #locks: RedisLocks;
  readonly #spool: Spool | null;
  readonly #channel: string;
  /** Telling again what the store may have lost: under way or done. */
  #telling: Promise<void> = Promise.resolve();
  #retry: Timer | null = null;
  #retryMs = FIRST_RETRY_MS;
  #toldAgain = 0;
  #error: string | null = null;
  #isClosed = false;
  /** When an entry that nobody can open was taken away last: it may be told again. */
  #tookAwayMono = Number.NEGATIVE_INFINITY;
  /** Entries that were found sealed by the previous key. */
  readonly #sealedOnce = new Set<string>();

  constructor(deps: RedisStoreDeps) {
    const { connection, encryptionKey, encryptionKeyPrevious: previous, clock, random, log, path, prefix } = deps;
    this.#deps = deps;
    this.isDurable = deps.isDurable ?? true;
    this.#channel = `${connection.prefix}rev`;
    this.#mirror = new RedisMirror(clock);
    this.#spool = path === '' ? null : new Spool({ folder: path, prefix, log });
    this.#sealer = createSealer({
      secret: async () => readKey('encryption_key', encryptionKey),
      previous: previous && (async () => readKey('encryption_key_previous', previous)),
      salt: () => connection.meta?.salt ?? null,
    });
    this.#locks = new RedisLocks({
      call: (script, keys, args) => this.#call(script, keys, args),
      isUncertain: (error) => error instanceof AwayError && error.isUncertain,
      ready: () => this.#telling,
      problem: () => connection.status().error,
      lockKey: (id) => `${connection.prefix}lock:${id}`,
      entryKey: (id) => this.#entryKey(id),
      channel: this.#channel,
      instanceId: connection.instanceId,
      leaseMarginMs: deps.leaseMarginMs ?? LEASE_MARGIN_MS,
      clock,
      random,
    });
    const locks = this.#locks;
    this.instances = {
      own: connection.instanceId,
      lockWaits: locks.waits,
      tokensFromPeers: 0,
      lockHolder: (key) => locks.holder(this.#idOf(key)),
    };
    connection.onLoss(() => locks.gapBegan());
    connection.onGap(() => {
      this.#telling = this.#gapEnded();
    });
  }

  async open(): Promise<void> {
    const { connection, log } = this.#deps;
    connection.subscribe(this.#channel, (message) => this.#hear(message));
    const spooled = (await this.#spool?.open()) ?? [];
    for (const entry of spooled) this.#mirror.intend(entry);
    if (spooled.length === 0) return;
    log.warn({ entries: spooled.length }, 'a process before has left entries that the store did not take');
    if (connection.isReady) this.#telling = this.#tellAll({ isUnwritten: true });
  }

  async get(key: StoreKey): Promise<StoredEntry | null> {
    const id = this.#idOf(key);
    const askedAt = this.#mirror.moment(id, key.name);
    const reply = await this.#call(READ, [this.#entryKey(id)], []);
    const sealed = await this.#counting(id, key.name, foundEntry(reply as readonly Reply[]), askedAt);
    const entry = await this.#opened(key, sealed);
    return entry === null ? null : this.#sealedAnew(key, entry, sealed).catch(() => entry);
  }

  /**
   * An entry without an end, sealed by the present key where it was by the previous one. Once for each entry: while keys
   * are changed, what is previous here may be present at another instance.
   */
  async #sealedAnew(key: StoreKey, entry: StoredEntry, { data }: SealedEntry): Promise<StoredEntry> {
    const id = this.#idOf(key);
    if (!this.#deps.encryptionKeyPrevious || this.#sealedOnce.has(id) || isEnded(entry.value)) return entry;
    if (await this.#sealer.isCurrent(data)) return entry;
    this.#sealedOnce.add(id);
    const lifeMs = await this.#deps.connection.command(['PTTL', this.#entryKey(id)]);
    return lifeMs === -1 ? this.put(key, entry.value) : entry;
  }

  async put(
    key: StoreKey,
    value: StoredToken,
    { keptForMs = null }: { readonly keptForMs?: number | null | undefined } = {},
  ): Promise<StoredEntry> {
    const sealed = await this.#sealed(key, value);
    const kept = isEnded(value) ? ENDED_FOR_MS : keptForMs;
    const entry: KnownEntry = { id: this.#idOf(key), name: key.name, sealed, keptForMs: kept };
    const known = this.#mirror.entry(entry.id);
    if (known !== null && known.sealed.generation > value.generation)
      return this.#openedOr(key, await this.#tell(known));
    try {
      return await this.#store(key, entry, value).catch((error: unknown) => {
        // Something that nobody can open was in the way, and was taken away.
        if (error instanceof StoreError && error.code === 'damaged') return this.#store(key, entry, value);
        throw error;
      });
    } catch (error) {
      const isPrecious = value.refreshToken !== null || isEnded(value);
      if (isPrecious) await this.#spool?.add(entry);
      if (this.#deps.connection.isReady) this.#retryLater();
      throw error;
    }
  }

  async replace(
    key: StoreKey,
    value: StoredToken,
    { expectedVersion, fence = '' }: { expectedVersion: string | null; fence?: string | undefined },
  ): Promise<string> {
    const id = this.#idOf(key);
    const generation = nextGeneration(this.#mirror.known(id), this.#deps.connection.time.now());
    const sealed = await this.#sealed(key, { ...value, generation });
    const { version, data } = sealed;
    const keys = [this.#entryKey(id), this.#lockKey(id), this.#channel];
    const args = [id, expectedVersion ?? '', version, data, fence, String(generation)];
    const askedAt = this.#mirror.moment(id, key.name);
    const reply = await this.#call(REPLACE, keys, args);
    if (reply === 'lost') throw new StoreError('lock_lost', 'the lock of this entry was lost');
    if (reply === 'changed') throw new StoreError('conflict', 'the entry was changed meanwhile');
    this.#mirror.note(id, key.name, { ...sealed, keptForMs: null }, askedAt);
    return version;
  }

  async delete(key: StoreKey): Promise<void> {
    const { connection } = this.#deps;
    let known: Pick<StoredEntry, 'generation'> | null = this.#mirror.known(this.#idOf(key));
    for (;;) {
      const ended = endedToken(nextGeneration(known, connection.time.now()));
      const counts = await this.put(key, ended);
      // Something of a later generation is there, which was not known.
      if (counts.generation <= ended.generation) return;
      known = counts;
    }
  }

  async lock(key: StoreKey, waitMs: number, use?: LockUse): Promise<StoreLock> {
    const id = this.#idOf(key);
    const askedAt = this.#mirror.moment(id, key.name);
    const lock: TakenLock = await this.#locks.take(id, waitMs, use);
    const found = foundEntry(lock.found);
    return {
      fence: lock.fence,
      unfinished: lock.unfinished,
      entry: async () => this.#opened(key, await this.#counting(id, key.name, found, askedAt)),
      begin: (read) => lock.begin(read),
      release: async () => {
        if (use?.isRotating === true && this.#mirror.isUnwritten(id)) this.#locks.keep(id, lock);
        else await lock.release();
      },
    };
  }

  async list(): Promise<readonly string[]> {
    return this.#mirror.names();
  }

  revision(key: StoreKey, version?: string): string {
    return this.#mirror.revision(this.#idOf(key), key.name, version);
  }

  onChange(key: StoreKey, listener: () => void): () => void {
    return this.#mirror.listen(this.#idOf(key), key.name, listener);
  }

  isSettled(): boolean {
    const { connection, clock } = this.#deps;
    const sinceMono = Math.max(connection.backMono, this.#tookAwayMono);
    return connection.isReady && clock.monotonic() - sinceMono >= TELLING_MS;
  }

  isComplete(): boolean {
    const { connection, clock } = this.#deps;
    // What others could not write, they could not tell either.
    if (connection.isRefused || !this.isSettled()) return false;
    return clock.monotonic() - connection.emptyMono >= TELLING_MS;
  }

  state(): StoreState {
    const { state, error } = this.#deps.connection.status();
    const { unwritten } = this.#mirror;
    const isWhole = state !== 'ok' || unwritten === 0;
    return {
      state: isWhole ? state : 'degraded',
      error: error ?? (unwritten > 0 ? this.#error : null),
      unwritten,
      toldAgain: this.#toldAgain,
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#locks.close();
    if (this.#deps.connection.isReady) await this.#tellAll({ isUnwritten: true });
    for (const entry of this.#mirror.toTell({ isUnwritten: true })) await this.#spool?.add(entry);
  }

  /** What another instance told, or this one. */
  #hear(message: string): void {
    const [first = '', second = ''] = message.split(' ');
    if (first === 'free') this.#locks.wake(second);
    else {
      if (second.startsWith(GONE)) this.#tookAwayMono = this.#deps.clock.monotonic();
      this.#mirror.heard(first, second);
    }
  }

  /** The store was away: locks that nobody holds are given back, it is told all that is known, and all is looked at. */
  async #gapEnded(): Promise<void> {
    const before = this.#toldAgain;
    await this.#locks.gapEnded();
    await this.#tellAll();
    const entries = this.#toldAgain - before;
    if (entries > 0) this.#deps.log.warn({ entries }, 'the store had lost entries, and was told them again');
    this.#mirror.gapEnded();
  }

  /** Tells what is known, or what is not written yet. Never throws. */
  async #tellAll(which: { readonly isUnwritten?: boolean } = {}): Promise<void> {
    const entries = [...this.#mirror.toTell(which)];
    let failed = 0;
    for (let start = 0; start < entries.length && failed === 0; start += BATCH) {
      const batch = entries.slice(start, start + BATCH).map((entry) => this.#tell(entry));
      const outcomes = await Promise.allSettled(batch);
      failed = outcomes.filter(({ status }) => status === 'rejected').length;
    }
    if (failed > 0) this.#retryLater();
    else this.#retryMs = FIRST_RETRY_MS;
  }

  /** A server that is there did not take something: a gap that ends tells it otherwise. */
  #retryLater(): void {
    if (this.#isClosed || this.#retry !== null) return;
    this.#retry = this.#deps.clock.after(this.#retryMs, () => {
      this.#retry = null;
      if (this.#deps.connection.isReady) void this.#tellAll({ isUnwritten: true });
      else this.#retryLater();
    });
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  /** Tells the store one entry; gives what counts then, which is that one or a newer one. */
  async #tell(entry: KnownEntry): Promise<SealedEntry> {
    const { id, name, sealed, keptForMs } = entry;
    const { generation, version, data } = sealed;
    const args = [id, String(generation), version, data, String(keptForMs ?? 0)];
    const toldAt = this.#mirror.moment(id, name);
    const reply = (await this.#call(PUT, [this.#entryKey(id), this.#channel], args)) as readonly Reply[];
    const [outcome, ...newer] = reply;
    this.#locks.told(id);
    await this.#spool?.remove(id, generation);
    if (outcome === 0) {
      const counts = foundEntry(newer);
      this.#mirror.note(id, name, counts, toldAt);
      return counts;
    }
    if (outcome === 2 && this.#mirror.isWritten(id, version)) this.#toldAgain += 1;
    this.#mirror.written(id, version, toldAt);
    return sealed;
  }

  /** What counts of an entry: what the store has, or what it has lost and is told again. */
  async #counting(id: string, name: string, found: FoundEntry, askedAt: number): Promise<SealedEntry> {
    const known = this.#mirror.entry(id);
    if (known === null || found.generation >= known.sealed.generation) {
      this.#mirror.note(id, name, found, askedAt);
      return found;
    }
    return this.#tell(known).catch(() => known.sealed);
  }

  /** Tells the store what it is to have; what counts then. */
  async #store(key: StoreKey, entry: KnownEntry, value: StoredToken): Promise<StoredEntry> {
    const { sealed } = entry;
    this.#mirror.intend(entry);
    const counts = await this.#tell(entry);
    if (counts !== sealed) return this.#openedOr(key, counts);
    return { value, generation: sealed.generation, version: sealed.version };
  }

  /** What an entry holds; null where there is none. Throws StoreError where it cannot be opened. */
  async #opened(key: StoreKey, sealed: SealedEntry): Promise<StoredEntry | null> {
    if (sealed.data === '') return null;
    const { generation, version, data } = sealed;
    const id = this.#idOf(key);
    try {
      const value = parseStoredToken(await this.#sealer.open(this.#identityOf(key), data));
      if (value === undefined) throw new StoreError('damaged', 'holds no token record');
      // Somebody who cannot seal may still put an old value back, and call it the newest.
      if (value.generation !== generation) throw new StoreError('damaged', 'is not of the generation that it claims');
      return { value: this.#shifted(value, 'here'), generation, version };
    } catch (error) {
      if (!(error instanceof StoreError)) throw new StoreError('unreadable', `${id} cannot be decrypted`);
      if (error.code === 'unreadable') throw error;
      throw new StoreError(
        error.code,
        `${this.#entryKey(id)} ${error.message}: ${await this.#keepAside(key, sealed, error)}`,
      );
    }
  }

  /** The same for what was found in place of what was to be written: nothing can be done with it but to go on. */
  async #openedOr(key: StoreKey, sealed: SealedEntry): Promise<StoredEntry> {
    const opened = await this.#opened(key, sealed);
    if (opened === null) throw new StoreError('unwritable', 'the store did not keep what it was told');
    return opened;
  }

  /** Copies what cannot be opened; takes it away where no key will open it. Gives what was done, in words. */
  async #keepAside(key: StoreKey, { version }: SealedEntry, { code }: StoreError): Promise<string> {
    const id = this.#idOf(key);
    const isDamaged = code === 'damaged';
    const aside = `${this.#entryKey(id)}:damaged`;
    const args = [version, String(ASIDE_FOR_MS), isDamaged ? '1' : '0', id];
    const askedAt = this.#mirror.moment(id, key.name);
    const isKept = await this.#call(KEEP_ASIDE, [this.#entryKey(id), aside, this.#channel], args).catch(() => 0);
    if (isDamaged) this.#mirror.note(id, key.name, { generation: 0, version: '', data: '', keptForMs: null }, askedAt);
    if (isDamaged && isKept === 1) this.#tookAwayMono = this.#deps.clock.monotonic();
    const where = isKept === 1 ? `it is kept in ${aside}` : 'it was left as it is';
    return isDamaged ? where : `check encryption_key and encryption_key_previous of all instances; ${where}`;
  }

  async #sealed(key: StoreKey, value: StoredToken): Promise<SealedEntry> {
    const { generation } = value;
    const text = serialiseToken(this.#shifted(value, 'there'));
    const data = await this.#sealer.seal(this.#identityOf(key), key.name, text);
    const version = createHash('sha256').update(data).digest('hex').slice(0, 32);
    return { generation, version, data };
  }

  /** A value with its times by the store's clock, or by ours; a round trip is taken off what is left. */
  #shifted(value: StoredToken, to: 'here' | 'there'): StoredToken {
    const { aheadMs, roundTripMs } = this.#deps.connection.time;
    const byMs = to === 'there' ? aheadMs : -aheadMs;
    if (value.expiresAt <= 0 || !Number.isFinite(value.expiresAt)) return value;
    const expiresAt = Math.round(value.expiresAt + byMs - (to === 'here' ? (roundTripMs ?? 0) : 0));
    return { ...value, expiresAt, obtainedAt: Math.round(value.obtainedAt + byMs) };
  }

  #identityOf(key: StoreKey): string {
    return JSON.stringify([this.#deps.prefix, storeKeyId(key)]);
  }

  #idOf(key: StoreKey): string {
    const digest = createHash('sha256').update(this.#identityOf(key)).digest('hex').slice(0, 16);
    const readable = /^[a-z0-9][a-z0-9-]{0,63}$/.test(key.name) ? `${key.name}-` : '';
    return `${readable}${digest}`;
  }

  #entryKey(id: string): string {
    return `${this.#deps.connection.prefix}tok:${id}`;
  }

  #lockKey(id: string): string {
    return `${this.#deps.connection.prefix}lock:${id}`;
  }

  async #call(script: Script, keys: readonly string[], args: readonly string[]): Promise<Reply> {
    try {
      const reply = await this.#deps.connection.script({ script, keys, args });
      if (this.#error !== null && script === PUT) this.#error = null;
      return reply;
    } catch (error) {
      const failure = awayError(error);
      this.#error = failure.message;
      throw failure;
    }
  }
}

/** An entry as READ answers it. */
function foundEntry([generation, version, data, keptForMs]: readonly Reply[]): FoundEntry {
  const texts = [version, data].map((part) => (typeof part === 'string' ? part : ''));
  const kept = typeof keptForMs === 'number' && keptForMs >= 0 ? keptForMs : null;
  return { generation: Number(generation) || 0, version: texts[0] ?? '', data: texts[1] ?? '', keptForMs: kept };
}
