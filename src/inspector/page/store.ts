// The calls that a tab keeps: the newest ten thousand, in the order of their numbers, each once. Knows nothing of where
// they come from, nor of how they are shown.

import type { Call } from '../wire.ts';

/** What changed: the calls that came and those that fell out, oldest first. `all`: their order is another one. */
export interface StoreChange {
  readonly added: readonly Call[];
  readonly dropped: readonly Call[];
  readonly all: boolean;
}

type StoreListener = (change: StoreChange) => void;

/** Ten thousand are about 7 MB. */
export const MOST_CALLS = 10_000;

/** The calls of one instance of the gateway. */
export class CallStore {
  readonly #most: number;
  #calls: Call[] = [];
  readonly #ids = new Map<string, Call>();
  readonly #listeners = new Set<StoreListener>();

  constructor(most = MOST_CALLS) {
    this.#most = most;
  }

  /** Oldest first. */
  get calls(): readonly Call[] {
    return this.#calls;
  }

  get newest(): number | null {
    return this.#calls.at(-1)?.seq ?? null;
  }

  get(requestId: string): Call | undefined {
    return this.#ids.get(requestId);
  }

  /** Takes calls in any order; those that are known already are left as they are. */
  add(calls: readonly Call[]): void {
    const before = this.newest ?? 0;
    const added: Call[] = [];
    for (const call of calls) {
      if (this.#ids.has(call.requestId)) continue;
      this.#ids.set(call.requestId, call);
      added.push(call);
    }
    if (added.length === 0) return;
    added.sort((a, b) => a.seq - b.seq);
    const isInOrder = before < (added[0] as Call).seq;
    for (const call of added) this.#calls.push(call);
    if (!isInOrder) this.#calls.sort((a, b) => a.seq - b.seq);
    const dropped = this.#calls.splice(0, Math.max(0, this.#calls.length - this.#most));
    for (const { requestId } of dropped) this.#ids.delete(requestId);
    this.#tell({ added, dropped, all: !isInOrder });
  }

  /** Forgets all. */
  clear(): void {
    const dropped = this.#calls;
    this.#calls = [];
    this.#ids.clear();
    this.#tell({ added: [], dropped, all: true });
  }

  /** Returns what ends it. */
  listen(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(change: StoreChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
