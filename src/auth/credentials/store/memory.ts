// A token store that ends with the process. Its locks are real, so that two sources over one key behave as two
// processes would.

import type { Clock } from '../../../clock.ts';
import { type StoredEntry, StoreError, type StoreKey, storeKeyId, type TokenStore } from './store.ts';

/** Nothing to close. */
export function createMemoryStore(deps: { clock: Clock }): TokenStore {
  const { clock } = deps;
  const entries = new Map<string, { key: StoreKey; entry: StoredEntry }>();
  const holders = new Map<string, { fence: string; queue: (() => void)[] }>();
  let counter = 0;

  const release = (id: string, fence: string) => {
    const holder = holders.get(id);
    if (holder?.fence !== fence) return;
    const next = holder.queue.shift();
    if (next === undefined) holders.delete(id);
    else next();
  };

  const grant = (id: string, queue: (() => void)[]) => {
    counter += 1;
    const fence = String(counter);
    holders.set(id, { fence, queue });
    return { fence, release: async () => release(id, fence) };
  };

  return {
    isDurable: false,
    async get(key) {
      return entries.get(storeKeyId(key))?.entry ?? null;
    },
    async put(key, value, { expectedVersion, fence }) {
      const id = storeKeyId(key);
      if (fence !== undefined && holders.get(id)?.fence !== fence)
        throw new StoreError('lock_lost', 'the lock of this entry was lost');
      if ((entries.get(id)?.entry.version ?? null) !== expectedVersion)
        throw new StoreError('conflict', 'the entry was changed meanwhile');
      counter += 1;
      const version = String(counter);
      entries.set(id, { key, entry: { value, version } });
      return version;
    },
    async delete(key) {
      entries.delete(storeKeyId(key));
    },
    lock(key, waitMs) {
      const id = storeKeyId(key);
      const holder = holders.get(id);
      if (holder === undefined) return Promise.resolve(grant(id, []));
      return new Promise((resolve, reject) => {
        const turn = () => {
          timer.cancel();
          resolve(grant(id, holder.queue));
        };
        const timer = clock.after(waitMs, () => {
          holder.queue.splice(holder.queue.indexOf(turn), 1);
          reject(new StoreError('locked', `another renewal held the lock for ${waitMs / 1000} s`));
        });
        holder.queue.push(turn);
      });
    },
    async list() {
      return [...new Set([...entries.values()].map(({ key }) => key.name))].sort();
    },
    revision: (key) => entries.get(storeKeyId(key))?.entry.version ?? '',
  };
}
