// The handles that were ended before their time: known here at once, kept in the store before anybody is told that it
// is done.

import { randomBytes } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { Secret } from '../../secret.ts';
import { StoreError, type StoreKey, type TokenStore } from '../credentials/store/store.ts';
import { Allowance } from './allowance.ts';
import { ANYBODY, ownerKey } from './caller.ts';
import { type ClientHandle, HANDLE_LIFE_MS } from './client-handle.ts';

/**
 * So many ended handles of one owner are kept. More are refused: what ends one handle must not end others, nor be
 * forgotten.
 */
const MOST_OF_ONE_OWNER = 5_000;

/**
 * Of those that were given to who proved nothing, all together. Beyond it the first to end is forgotten: such a handle
 * permits nothing that its holder may not do without.
 */
const MOST_OF_ANYBODY = 2_000;

/** How often one owner may end handles: each is a write of the whole list. */
const ENDS_OF_ONE_OWNER = { burst: 100, everyMs: 1_000 };

/** Another process's ends count after at most this. */
const POLL_MS = 1_000;

/** What could not be written is tried again after 1, 2, 4 … 60 s. */
const LONGEST_RETRY_MS = 60_000;

type Ended = Pick<ClientHandle, 'id' | 'client' | 'proof' | 'issuedAt'>;

/** Those of one owner, in the order in which they ended. */
interface Owner {
  /** Everything issued until then is ended, too: version 0.1.0 made room by it. */
  notBefore: number;
  readonly ids: Map<string, number>;
}

/** The list. The store is closed by whoever made it. */
export class EndedHandles {
  readonly #store: HandleStore;
  readonly #isShared: boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #owners = new Map<string, Owner>();
  readonly #paces = new Map<string, Allowance>();
  /** Ended here, and not in the store yet. */
  readonly #unwritten = new Map<string, Ended>();
  #writing: Promise<void> | null = null;
  #queued: Promise<void> | null = null;
  #retryMs = 1_000;
  #isRetrying = false;
  /** Of what was read; null before. */
  #seenRevision: string | null = null;
  #lookedMono: number;

  /** `isShared`: other processes may write to the store, too. */
  constructor(deps: { store: HandleStore; isShared: boolean; clock: Clock; log: Log }) {
    this.#store = deps.store;
    this.#isShared = deps.isShared;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#lookedMono = deps.clock.monotonic();
  }

  /**
   * Reads what is stored. What cannot be read is said in the log, and read again as long as that lasts. Never throws.
   */
  async load(): Promise<void> {
    const revision = this.#store.revision();
    try {
      this.#take(await this.#store.load());
      this.#seenRevision = revision;
    } catch (error) {
      this.#log.error({ error: reasonOf(error) }, 'handle revocations cannot be read');
    }
  }

  /** Whether a handle is in the list. Reads the store again in the background when it has changed. */
  has(handle: Ended): boolean {
    const { id, issuedAt } = handle;
    this.#look();
    const owner = this.#owners.get(ownerKey(handle));
    return owner !== undefined && (issuedAt <= owner.notBefore || owner.ids.has(id));
  }

  /**
   * Ends a handle, at once in this process; `onEnded` is called then. Resolves when the store has it. Throws
   * gateway.rate.limited, and has ended nothing, for an owner that ends too many; gateway.internal when the store
   * fails: it is tried again then, and until it succeeds a restart would make the handle good.
   */
  async end(handle: Ended, onEnded: () => void): Promise<void> {
    const { id, issuedAt } = handle;
    if (!this.has(handle)) {
      const key = ownerKey(handle);
      const owner = this.#ownerOf(key);
      if (key !== ANYBODY) this.#assertRoom(key, owner);
      owner.ids.set(id, issuedAt);
      this.#unwritten.set(id, handle);
      this.#trim(key, owner);
      onEnded();
    }
    if (this.#unwritten.has(id)) await this.#flush();
  }

  #look(): void {
    if (!this.#isShared || this.#clock.monotonic() - this.#lookedMono < POLL_MS) return;
    this.#lookedMono = this.#clock.monotonic();
    if (this.#store.revision() === this.#seenRevision) return;
    void this.load();
  }

  #ownerOf(key: string): Owner {
    let owner = this.#owners.get(key);
    if (owner === undefined) {
      owner = { notBefore: 0, ids: new Map() };
      this.#owners.set(key, owner);
    }
    return owner;
  }

  #assertRoom(key: string, owner: Owner): void {
    const now = this.#clock.now();
    if (owner.ids.size >= MOST_OF_ONE_OWNER) this.#forgetOld(owner);
    if (owner.ids.size >= MOST_OF_ONE_OWNER) {
      const retryAfterMs = Math.min(...owner.ids.values()) + HANDLE_LIFE_MS - now;
      const advice = 'a handle need not be ended, and all of a client end when its secret is changed';
      throw new GatewayError(
        'gateway.rate.limited',
        `${key} has ended ${MOST_OF_ONE_OWNER} handles, and no more can be kept: ${advice}`,
        {
          retryAfterMs,
        },
      );
    }
    let pace = this.#paces.get(key);
    if (pace === undefined) {
      pace = new Allowance(this.#clock, ENDS_OF_ONE_OWNER);
      this.#paces.set(key, pace);
    }
    const retryAfterMs = pace.waitMs();
    if (retryAfterMs > 0) {
      throw new GatewayError(
        'gateway.rate.limited',
        `${key} ends handles too often: use one for many calls, and end it later`,
        {
          retryAfterMs,
        },
      );
    }
    pace.take();
  }

  #forgetOld(owner: Owner): void {
    const now = this.#clock.now();
    for (const [id, issuedAt] of owner.ids) if (isOld(issuedAt, owner.notBefore, now)) owner.ids.delete(id);
  }

  #trim(key: string, owner: Owner): void {
    if (key !== ANYBODY) return;
    for (const id of owner.ids.keys()) {
      if (owner.ids.size <= MOST_OF_ANYBODY) return;
      owner.ids.delete(id);
      this.#unwritten.delete(id);
    }
  }

  /** Adds what is stored to what is known here. */
  #take({ owners }: Revocations): void {
    for (const [key, { notBefore, ids }] of Object.entries(owners)) {
      const owner = this.#ownerOf(key);
      owner.notBefore = Math.max(owner.notBefore, notBefore);
      for (const [id, issuedAt] of Object.entries(ids)) owner.ids.set(id, issuedAt);
      this.#trim(key, owner);
    }
  }

  /** One write at a time: whoever comes while one is under way is in the next, together with all who came meanwhile. */
  #flush(): Promise<void> {
    this.#queued ??= this.#writeAfter(this.#writing);
    return this.#queued;
  }

  async #writeAfter(before: Promise<void> | null): Promise<void> {
    await before?.catch(() => undefined);
    const own = this.#queued;
    this.#writing = own;
    this.#queued = null;
    try {
      await this.#write();
    } finally {
      if (this.#writing === own) this.#writing = null;
    }
  }

  async #write(): Promise<void> {
    const batch = [...this.#unwritten.values()];
    if (batch.length === 0) return;
    try {
      const stored = await this.#store.update((before) => withEnded(before, batch, this.#clock.now()));
      for (const { id } of batch) this.#unwritten.delete(id);
      this.#seenRevision = this.#store.revision();
      if (this.#isShared) this.#take(stored);
      this.#retryMs = 1_000;
    } catch (error) {
      this.#log.error({ error: reasonOf(error) }, 'handle revocation cannot be kept');
      this.#retryLater();
      const what =
        'the handle is ended here, but the store cannot keep that: until it can, a restart would make it good again';
      throw new GatewayError('gateway.internal', `${what} (the log says why)`);
    }
  }

  #retryLater(): void {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    this.#clock.after(this.#retryMs, () => {
      this.#isRetrying = false;
      this.#flush().catch(() => undefined);
    });
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }
}

function isOld(issuedAt: number, notBefore: number, now: number): boolean {
  return issuedAt <= notBefore || now - issuedAt >= HANDLE_LIFE_MS;
}

/** What is stored, and the batch. What is too old anyway is left out. */
function withEnded({ owners }: Revocations, batch: readonly Ended[], now: number): Revocations {
  const changed = { ...owners };
  for (const key of new Set(batch.map(ownerKey))) {
    const { notBefore, ids } = owners[key] ?? { notBefore: 0, ids: {} };
    const ended = batch.filter((handle) => ownerKey(handle) === key);
    const all = [...Object.entries(ids), ...ended.map(({ id, issuedAt }) => [id, issuedAt] as const)];
    const kept = all.filter(([, issuedAt]) => !isOld(issuedAt, notBefore, now));
    changed[key] = { notBefore, ids: Object.fromEntries(key === ANYBODY ? kept.slice(-MOST_OF_ANYBODY) : kept) };
  }
  return { owners: changed };
}

function reasonOf(error: unknown): string {
  return error instanceof StoreError ? error.message : 'the store failed';
}

const KEY_ENTRY: StoreKey = { name: 'gateway-handle-key', clientId: '', host: '' };
const REVOKED_ENTRY: StoreKey = { name: 'gateway-handle-revocations', clientId: '', host: '' };
const TRIES = 5;

/** How long a change waits for another process's. */
const LOCK_WAIT_MS = 10_000;

/**
 * Handles of one owner ended early: id to when it was issued (epoch ms). `notBefore`: everything issued until then is
 * ended too; only version 0.1.0 set it.
 */
export interface OwnRevocations {
  readonly notBefore: number;
  readonly ids: Readonly<Record<string, number>>;
}

/** Kept apart by owner, under `ownerKey`: however many handles one of them ends, those of the others stay. */
export interface Revocations {
  readonly owners: Readonly<Record<string, OwnRevocations>>;
}

/** The two entries. */
export interface HandleStore {
  /**
   * The signing key, made at the first use. Null when it cannot be kept: that costs handles their restart, not the
   * gateway its start.
   */
  key(): Promise<Secret | null>;
  load(): Promise<Revocations>;
  /** Applies `change` to what is stored, one process after the other. Throws StoreError. */
  update(change: (before: Revocations) => Revocations): Promise<Revocations>;
  /** Changes when another process may have ended a handle; cheap. */
  revision(): string;
}

/** Over any token store; closes nothing. */
export function createHandleStore(store: TokenStore, log: Log): HandleStore {
  const put = (key: StoreKey, text: string, expectedVersion: string | null, fence?: string) =>
    store.put(
      key,
      { accessToken: new Secret(text), refreshToken: null, expiresAt: 0, obtainedAt: 0, seed: null, generation: 0 },
      { expectedVersion, fence },
    );

  async function makeKey(): Promise<Secret> {
    for (let attempt = 1; ; attempt++) {
      const present = await store.get(KEY_ENTRY);
      if (present?.value.accessToken) return present.value.accessToken;
      const made = randomBytes(32).toString('base64url');
      try {
        await put(KEY_ENTRY, made, present?.version ?? null);
        return new Secret(made);
      } catch (error) {
        // Another process was faster: its key counts.
        if (!isConflict(error) || attempt === TRIES) throw error;
      }
    }
  }

  async function read(): Promise<{ value: Revocations; version: string | null }> {
    const present = await store.get(REVOKED_ENTRY);
    const text = present?.value.accessToken?.reveal();
    const kept = text === undefined ? {} : (JSON.parse(text) as Partial<Revocations>);
    return { value: { owners: kept.owners ?? {} }, version: present?.version ?? null };
  }

  return {
    async key() {
      try {
        return await makeKey();
      } catch (error) {
        log.error({ error: reasonOf(error), advice: 'all handles end with this process' }, 'handle key cannot be kept');
        return null;
      }
    },
    load: async () => (await read()).value,
    async update(change) {
      // A file is compared, and then replaced: without the lock two processes could both find it as they expect, and
      // one would be lost.
      const lock = await store.lock(REVOKED_ENTRY, LOCK_WAIT_MS);
      try {
        for (let attempt = 1; ; attempt++) {
          const { value, version } = await read();
          const changed = change(value);
          try {
            await put(REVOKED_ENTRY, JSON.stringify(changed), version, lock.fence);
            return changed;
          } catch (error) {
            if (!isConflict(error) || attempt === TRIES) throw error;
          }
        }
      } finally {
        await lock.release();
      }
    },
    revision: () => store.revision(REVOKED_ENTRY),
  };
}

function isConflict(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'conflict';
}
