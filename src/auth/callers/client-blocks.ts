// Clients that an administrator has blocked, while the configuration still lists them: known here at once, and in the
// store before the block is confirmed, so that a restart does not lift it. Where instances share the store, nobody is
// let in before the list was read once, and a list that is missing was lost, and lifts no block.

import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { Secret } from '../../secret.ts';
import { StoreError, type StoreKey, type TokenStore } from '../credentials/store/store.ts';
import { Rereading } from './rereading.ts';
import { storeAway } from './session-fetches.ts';

/** By name, when each was blocked (epoch ms). */
type Blocked = Readonly<Record<string, number>>;

/** What the list works with. The store is closed by whoever made it. */
export interface ClientBlocksDeps {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each client that another instance has blocked. */
  readonly onBlockedElsewhere?: (name: string) => void;
}

const ENTRY: StoreKey = { name: 'gateway-client-blocks', clientId: '', host: '' };
/** What another process blocks takes effect after at most this. */
const POLL_MS = 1_000;
const LOCK_WAIT_MS = 10_000;
const TRIES = 5;
/** Far more than anybody has clients; a name stays when its client leaves the configuration. */
const MOST = 1_000;

/** The blocked clients of one gateway. */
export class ClientBlocks {
  readonly #store: TokenStore;
  readonly #clock: Clock;
  readonly #log: Log;
  #blocked: ReadonlyMap<string, number> = new Map();
  /** Changed here and not in the store: true where blocked. What is read of the store does not undo it. */
  readonly #unkept = new Map<string, boolean>();
  readonly #onBlockedElsewhere: (name: string) => void;
  /** Whether the list was read once. */
  #isLoaded = false;
  readonly #readings = new Rereading(() => this.#loadOnce());
  #seenRevision: string | null = null;
  #lookedMono: number;

  constructor({ store, clock, log, onBlockedElsewhere = () => {} }: ClientBlocksDeps) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#onBlockedElsewhere = onBlockedElsewhere;
    this.#lookedMono = clock.monotonic();
    if (store.isShared) store.onChange(ENTRY, () => this.#changed());
  }

  /** Whether a block outlives the process. */
  get isDurable(): boolean {
    return this.#store.isDurable;
  }

  /**
   * Reads what is stored; whoever comes while that is under way waits for one more reading. A failure is logged, and
   * reading is tried again. Never throws.
   */
  load(): Promise<void> {
    return this.#readings.again();
  }

  async #loadOnce(): Promise<void> {
    const revision = this.#store.revision(ENTRY);
    try {
      const { blocked, version } = await this.#read();
      if (version === null && this.#isLoaded && this.#store.isShared) return await this.#tellAgain(revision);
      if (version === null && !this.#store.isSettled()) return;
      const before = this.#blocked;
      this.#take(blocked);
      this.#seenRevision = revision;
      if (this.#isLoaded)
        for (const name of this.#blocked.keys()) if (!before.has(name)) this.#onBlockedElsewhere(name);
      this.#isLoaded = true;
    } catch (error) {
      this.#log.error({ error: reasonOf(error) }, 'blocked clients cannot be read');
    }
  }

  /** Writes the list again, which a shared store had and lost: nobody takes it away. Throws StoreError. */
  async #tellAgain(revision: string): Promise<void> {
    for (const name of this.#blocked.keys()) if (!this.#unkept.has(name)) this.#unkept.set(name, true);
    if (this.#unkept.size > 0) await this.#write();
    else this.#seenRevision = revision;
  }

  /**
   * Whether a client is blocked. Reads the store again in the background when another process has changed it. Throws
   * gateway.credential.unavailable while a store that instances share was never read: nobody can tell then.
   */
  has(name: string): boolean {
    this.#look();
    if (!this.#isLoaded && this.#store.isShared && !this.#blocked.has(name)) throw storeAway();
    return this.#blocked.has(name);
  }

  /** When a client was blocked, epoch ms; null where it is not. */
  since(name: string): number | null {
    return this.#blocked.get(name) ?? null;
  }

  /**
   * Blocks a client, or lifts its block: at once in this process. Resolves with whether that changed anything, when the
   * store has it. Throws gateway.internal where the store fails: then a restart would undo it.
   */
  async set(name: string, isBlocked: boolean): Promise<boolean> {
    const isChange = this.#blocked.has(name) !== isBlocked || (!this.#isLoaded && this.#store.isShared);
    if (!isChange && !this.#unkept.has(name)) return false;
    if (isBlocked && isChange && this.#blocked.size >= MOST)
      throw new GatewayError('gateway.rate.limited', `${MOST} clients are blocked already: lift some of these blocks`);
    this.#unkept.set(name, isBlocked);
    this.#take(Object.fromEntries(this.#blocked));
    try {
      await this.#write();
      return isChange;
    } catch (error) {
      this.#log.error({ client: name, error: reasonOf(error) }, 'block of a client cannot be kept');
      const what = isBlocked ? 'the client is blocked here' : 'the block is lifted here';
      throw new GatewayError(
        'gateway.internal',
        `${what}, but the store cannot keep that: a restart would undo it (the log says why); try again`,
      );
    }
  }

  /** Another instance has changed the list, or the store is back. Also told of what was written here. */
  #changed(): void {
    if (this.#store.revision(ENTRY) !== this.#seenRevision) void this.load();
  }

  #look(): void {
    if (!this.#store.isDurable || this.#clock.monotonic() - this.#lookedMono < POLL_MS) return;
    this.#lookedMono = this.#clock.monotonic();
    if (!this.#isLoaded || this.#store.revision(ENTRY) !== this.#seenRevision) void this.load();
  }

  #take(stored: Blocked): void {
    this.#blocked = new Map(Object.entries(this.#withOwn(stored)));
  }

  /** What is stored, with what was changed here. */
  #withOwn(stored: Blocked): Blocked {
    const blocked = new Map(Object.entries(stored));
    for (const [name, isBlocked] of this.#unkept) {
      if (!isBlocked) blocked.delete(name);
      else if (!blocked.has(name)) blocked.set(name, this.#blocked.get(name) ?? this.#clock.now());
    }
    return Object.fromEntries(blocked);
  }

  async #read(): Promise<{ blocked: Blocked; version: string | null }> {
    const existing = await this.#store.get(ENTRY);
    const text = existing?.value.accessToken?.reveal();
    const blocked = text === undefined ? {} : (JSON.parse(text) as Blocked);
    return { blocked, version: existing?.version ?? null };
  }

  /** Under the store's lock: a file is compared, and then replaced. */
  async #write(): Promise<void> {
    const lock = await this.#store.lock(ENTRY, LOCK_WAIT_MS);
    try {
      for (let attempt = 1; ; attempt++) {
        const { blocked, version } = await this.#read();
        // Others may tell it again: what is written in its place now would lift their blocks.
        if (version === null && !this.#store.isComplete())
          throw new StoreError('absent', 'the list may have been lost');
        const own = new Map(this.#unkept);
        const changed = this.#withOwn(blocked);
        try {
          const written = await this.#store.replace(ENTRY, stored(changed), {
            expectedVersion: version,
            fence: lock.fence,
          });
          this.#seenRevision = this.#store.revision(ENTRY, written);
        } catch (error) {
          if (!(error instanceof StoreError && error.code === 'conflict') || attempt === TRIES) throw error;
          continue;
        }
        for (const [name, isBlocked] of own) if (this.#unkept.get(name) === isBlocked) this.#unkept.delete(name);
        this.#take(changed);
        return;
      }
    } finally {
      await lock.release();
    }
  }
}

function stored(blocked: Blocked) {
  return {
    accessToken: new Secret(JSON.stringify(blocked)),
    refreshToken: null,
    expiresAt: 0,
    obtainedAt: 0,
    initialFingerprint: null,
    generation: 0,
  };
}

function reasonOf(error: unknown): string {
  return error instanceof StoreError ? error.message : 'the store failed';
}
