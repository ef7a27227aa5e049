// Revoked handles: known here at once, and in the store before the revocation is confirmed.

import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { StoreError } from '../credentials/store/store.ts';
import { Allowance } from './allowance.ts';
import { ANYBODY, ownerKey } from './caller.ts';
import { type ClientHandle, HANDLE_LIFE_MS } from './client-handle.ts';
import type { HandleStore, Revocations } from './handle-store.ts';
import { Rereading } from './rereading.ts';

/**
 * Most revoked handles that are kept for one owner. More are refused: a revocation must not revoke other handles, nor
 * be forgotten.
 */
const MOST_OF_ONE_OWNER = 5_000;

/**
 * Most revoked handles of all anonymous callers together. Beyond it the first one revoked is forgotten: such a handle
 * permits nothing that its holder may not do without it.
 */
const MOST_OF_ANYBODY = 2_000;

/** How often one owner may revoke handles: each time the whole list is written. */
const ENDS_OF_ONE_OWNER = { burst: 100, everyMs: 1_000 };

/** Revocations by another process take effect after at most this. */
const POLL_MS = 1_000;

/** What could not be written is tried again after 1, 2, 4 … 60 s. */
const LONGEST_RETRY_MS = 60_000;

type RevokedHandle = Pick<ClientHandle, 'id' | 'client' | 'authFingerprint' | 'issuedAt'>;

/** One that is not in the store yet. `key` is its `ownerKey`. */
interface PendingRevocation {
  readonly id: string;
  readonly key: string;
  readonly issuedAt: number;
}

/** The revoked handles of one owner, in the order of their revocation. */
interface Owner {
  /** Everything issued until then is ended, too: version 0.1.0 made room by it. */
  notBefore: number;
  readonly ids: Map<string, number>;
}

/** The list of revoked handles. The store is closed by whoever made it. */
export class RevokedHandles {
  readonly #store: HandleStore;
  /** Other processes may write to the store, too. */
  readonly #isShared: boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #owners = new Map<string, Owner>();
  /** How often each owner has revoked handles lately. */
  readonly #paces = new Map<string, Allowance>();
  /** Revoked here, and not in the store yet. */
  readonly #pending = new Map<string, PendingRevocation>();
  /** The write that is under way. */
  #writing: Promise<void> | null = null;
  /** The write that follows it, with all that is pending by then. */
  #queued: Promise<void> | null = null;
  #retryMs = 1_000;
  #isRetrying = false;
  /** The revision that was last read; null before the first time. */
  #seenRevision: string | null = null;
  #isLoaded = false;
  readonly #readings = new Rereading(() => this.#loadOnce());
  /** When the store's revision was last read. */
  #lookedMono: number;

  /** Told the id of each handle that another process has ended. */
  readonly #onEndedElsewhere: (id: string) => void;

  /** `isShared`: other processes may write to the store, too. */
  constructor(deps: {
    store: HandleStore;
    isShared: boolean;
    clock: Clock;
    log: Log;
    onEndedElsewhere?: ((id: string) => void) | undefined;
  }) {
    this.#onEndedElsewhere = deps.onEndedElsewhere ?? (() => {});
    this.#store = deps.store;
    this.#isShared = deps.isShared;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#lookedMono = deps.clock.monotonic();
    if (deps.isShared) deps.store.onChange(() => this.#changed());
  }

  /** Whether the list was read once, or is known to be empty. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /**
   * Reads what is stored; whoever comes while that is under way waits for one more reading. A failure is logged, and
   * reading is tried again. Never throws.
   */
  load(): Promise<void> {
    return this.#readings.again();
  }

  async #loadOnce(): Promise<void> {
    const revision = this.#store.revision();
    try {
      const kept = await this.#store.load();
      // Others may tell it again: until then nobody can say which handles were ended.
      if (kept === null && !this.#isLoaded && !this.#store.isSettled()) return;
      const stored = kept ?? { owners: {} };
      this.#take(stored);
      this.#isLoaded = true;
      this.#seenRevision = revision;
      this.#tellWhatIsLost(stored);
    } catch (error) {
      this.#log.error({ error: reasonOf(error) }, 'handle revocations cannot be read');
    }
  }

  /** Whether a handle is in the list. Reads the store again in the background when it has changed. */
  has(handle: RevokedHandle): boolean {
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
  async end(handle: RevokedHandle, onEnded: () => void): Promise<void> {
    const { id, issuedAt } = handle;
    if (!this.has(handle)) {
      const key = ownerKey(handle);
      const owner = this.#ownerOf(key);
      if (key !== ANYBODY) this.#assertRoom(key, owner);
      owner.ids.set(id, issuedAt);
      this.#pending.set(id, { id, key, issuedAt });
      this.#trim(key, owner);
      onEnded();
    }
    if (this.#pending.has(id)) await this.#flush();
  }

  /** Another process has changed the list, or the store is back: what it was not told of is told now. */
  #changed(): void {
    if (this.#writing !== null || this.#store.revision() === this.#seenRevision) return;
    if (this.#pending.size > 0) this.#flush().catch(() => undefined);
    else void this.load();
  }

  /** A store that instances share may have lost what it held: what is known here is written again. */
  #tellWhatIsLost({ owners }: Revocations): void {
    if (!this.#store.isForgetful) return;
    const before = this.#pending.size;
    for (const [key, { ids }] of this.#owners) {
      // Of these the first ones are forgotten anyway, here and there in an order of its own.
      if (key === ANYBODY) continue;
      for (const [id, issuedAt] of ids) {
        const isKept = owners[key]?.ids[id] !== undefined || isOld(issuedAt, 0, this.#clock.now());
        if (!isKept) this.#pending.set(id, { id, key, issuedAt });
      }
    }
    if (this.#pending.size > before) this.#flush().catch(() => undefined);
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
      this.#pending.delete(id);
    }
  }

  /** Adds what is stored to what is known. */
  #take({ owners }: Revocations): void {
    for (const [key, { notBefore, ids }] of Object.entries(owners)) {
      const owner = this.#ownerOf(key);
      owner.notBefore = Math.max(owner.notBefore, notBefore);
      for (const [id, issuedAt] of Object.entries(ids)) {
        const isNew = !owner.ids.has(id);
        owner.ids.set(id, issuedAt);
        if (isNew) this.#onEndedElsewhere(id);
      }
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
    const batch = [...this.#pending.values()];
    if (batch.length === 0) return;
    try {
      const { stored, revision } = await this.#store.update((before) => withRevoked(before, batch, this.#clock.now()));
      for (const { id } of batch) this.#pending.delete(id);
      this.#seenRevision = revision;
      if (this.#isShared) this.#take(stored);
      this.#retryMs = 1_000;
    } catch (error) {
      this.#log.error({ error: reasonOf(error) }, 'handle revocation cannot be kept');
      this.#retryLater();
      const what = this.#store.isForgetful
        ? 'the handle is ended here, but the store that the other instances share cannot be told: they take it until then'
        : 'the handle is ended here, but the store cannot keep that: until it can, a restart would make it good again';
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

/** What is stored, with the batch added and without what has expired. */
function withRevoked({ owners }: Revocations, batch: readonly PendingRevocation[], now: number): Revocations {
  const changed = { ...owners };
  for (const key of new Set(batch.map((one) => one.key))) {
    const { notBefore, ids } = owners[key] ?? { notBefore: 0, ids: {} };
    const ended = batch.filter((one) => one.key === key);
    const all = [...Object.entries(ids), ...ended.map(({ id, issuedAt }) => [id, issuedAt] as const)];
    const kept = all.filter(([, issuedAt]) => !isOld(issuedAt, notBefore, now));
    changed[key] = { notBefore, ids: Object.fromEntries(key === ANYBODY ? kept.slice(-MOST_OF_ANYBODY) : kept) };
  }
  return { owners: changed };
}

function reasonOf(error: unknown): string {
  return error instanceof StoreError ? error.message : 'the store failed';
}
