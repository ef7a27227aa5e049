// A token store that ends with the process. Its locks are real, so that two sources over one key behave as two
// processes would.

import type { Clock } from '../../../clock.ts';
import {
  nextGeneration,
  STORE_OK,
  type StoredEntry,
  type StoredToken,
  StoreError,
  type StoreKey,
  storeKeyId,
  type TokenStore,
} from './store.ts';

/** Closing it does nothing. */
export function createMemoryStore({ clock }: { clock: Clock }): TokenStore {
  const entries = new Map<string, { key: StoreKey; entry: StoredEntry }>();
  const locks = new MemoryLocks(clock);
  const listeners = new Map<string, Set<() => void>>();
  let writes = 0;

  const entryOf = (id: string) => entries.get(id)?.entry ?? null;

  const tell = (id: string) => {
    for (const listener of listeners.get(id) ?? []) listener();
  };

  const write = (key: StoreKey, value: StoredToken): StoredEntry => {
    const id = storeKeyId(key);
    writes += 1;
    const entry = { value, generation: value.generation, version: String(writes) };
    entries.set(id, { key, entry });
    tell(id);
    return entry;
  };

  return {
    isDurable: false,
    isShared: false,
    instances: null,
    open: async () => undefined,
    get: async (key) => entryOf(storeKeyId(key)),
    async put(key, value) {
      const existing = entryOf(storeKeyId(key));
      return existing !== null && existing.generation > value.generation ? existing : write(key, value);
    },
    async replace(key, value, { expectedVersion, fence }) {
      const id = storeKeyId(key);
      if (fence !== undefined) locks.assertHeld(id, fence);
      const existing = entryOf(id);
      if ((existing?.version ?? null) !== expectedVersion) throw changedMeanwhile();
      return write(key, { ...value, generation: nextGeneration(existing, clock.now()) }).version;
    },
    async delete(key) {
      const id = storeKeyId(key);
      if (entries.delete(id)) tell(id);
    },
    async lock(key, waitMs) {
      const id = storeKeyId(key);
      const fence = await locks.take(id, waitMs);
      return {
        fence,
        unfinished: null,
        entry: async () => entryOf(id),
        async begin(read) {
          locks.assertHeld(id, fence);
          const entry = entryOf(id);
          if ((entry?.version ?? '') !== (read?.version ?? '')) throw changedMeanwhile();
          return nextGeneration(read ?? entry, clock.now());
        },
        release: async () => locks.release(id, fence),
      };
    },
    list: async () => [...new Set([...entries.values()].map(({ key }) => key.name))].sort(),
    revision: (key, version) => version ?? entryOf(storeKeyId(key))?.version ?? '',
    onChange(key, listener) {
      const id = storeKeyId(key);
      const own = listeners.get(id) ?? new Set();
      listeners.set(id, own.add(listener));
      return () => {
        own.delete(listener);
        if (own.size === 0 && listeners.get(id) === own) listeners.delete(id);
      };
    },
    isSettled: () => true,
    isComplete: () => true,
    state: () => STORE_OK,
    close: async () => undefined,
  };
}

function changedMeanwhile(): StoreError {
  return new StoreError('conflict', 'the entry was changed meanwhile');
}

/** Locks by id, each held by one at a time and handed on in the order of asking. */
class MemoryLocks {
  readonly #clock: Clock;
  readonly #holders = new Map<string, { fence: string; readonly waiting: (() => void)[] }>();
  #taken = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Answers the fence of this holding. */
  take(id: string, waitMs: number): Promise<string> {
    const holder = this.#holders.get(id);
    if (holder === undefined) return Promise.resolve(this.#hold(id, []));
    const { waiting } = holder;
    return new Promise((resolve, reject) => {
      const turn = () => {
        timer.cancel();
        resolve(this.#hold(id, waiting));
      };
      const timer = this.#clock.after(waitMs, () => {
        waiting.splice(waiting.indexOf(turn), 1);
        reject(new StoreError('locked', `another renewal held the lock for ${waitMs / 1000} s`));
      });
      waiting.push(turn);
    });
  }

  assertHeld(id: string, fence: string): void {
    if (this.#holders.get(id)?.fence !== fence) throw new StoreError('lock_lost', 'the lock of this entry was lost');
  }

  release(id: string, fence: string): void {
    const holder = this.#holders.get(id);
    if (holder?.fence !== fence) return;
    const next = holder.waiting.shift();
    if (next === undefined) this.#holders.delete(id);
    else next();
  }

  #hold(id: string, waiting: (() => void)[]): string {
    this.#taken += 1;
    const fence = String(this.#taken);
    this.#holders.set(id, { fence, waiting });
    return fence;
  }
}
