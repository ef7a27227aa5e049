// Fair eviction: who goes first from a table that many owners share. It is the least recently used item of the owner
// that holds most; with one owner that is plain LRU. Where the newest has to give way in place of the oldest, that is
// told too. Every step takes the same time, however many items there are. It holds no table itself and looks at no
// clock.

/** An item's entry. Made by `add`. */
export interface LruEntry<T> {
  readonly item: T;
  readonly owner: Owner<T>;
  before: LruEntry<T> | null;
  after: LruEntry<T> | null;
  isRemoved: boolean;
}

/** One owner's items, the least recently used first. */
interface Owner<T> {
  readonly name: string;
  /** How many it holds. */
  count: number;
  first: LruEntry<T> | null;
  last: LruEntry<T> | null;
}

/** The order in which items go. */
export class FairEviction<T> {
  readonly #owners = new Map<string, Owner<T>>();
  /** Owners by how many items they hold. */
  readonly #byCount = new Map<number, Set<Owner<T>>>();
  /** The highest of these numbers. */
  #most = 0;

  /** Adds an item as the newest of its owner. */
  add(name: string, item: T): LruEntry<T> {
    let owner = this.#owners.get(name);
    if (owner === undefined) {
      owner = { name, count: 0, first: null, last: null };
      this.#owners.set(name, owner);
    }
    const entry: LruEntry<T> = { item, owner, before: null, after: null, isRemoved: false };
    append(entry);
    this.#count(owner, 1);
    return entry;
  }

  /** Notes that an item was used: it is the newest of its owner again. */
  touch(entry: LruEntry<T>): void {
    if (entry.isRemoved || entry.after === null) return;
    detach(entry);
    append(entry);
  }

  /** Safe to repeat. */
  remove(entry: LruEntry<T>): void {
    if (entry.isRemoved) return;
    entry.isRemoved = true;
    detach(entry);
    // Whoever still holds it must not hold its neighbours, and theirs.
    entry.before = null;
    entry.after = null;
    this.#count(entry.owner, -1);
  }

  /**
   * What should go first; of several owners that hold as many, of the one that has done so for longest. Undefined when
   * there is nothing.
   */
  first(): T | undefined {
    return this.#holder()?.first?.item;
  }

  /** The newest of the owner that `first` speaks of, with whose it is and how many that owner holds. */
  newest(): LruEntry<T> | undefined {
    return this.#holder()?.last ?? undefined;
  }

  #holder(): Owner<T> | undefined {
    const [owner] = this.#byCount.get(this.#most) ?? [];
    return owner;
  }

  #count(owner: Owner<T>, step: 1 | -1): void {
    const byCount = this.#byCount;
    const peers = byCount.get(owner.count);
    peers?.delete(owner);
    if (peers?.size === 0) byCount.delete(owner.count);
    owner.count += step;
    if (owner.count === 0) this.#owners.delete(owner.name);
    else byCount.set(owner.count, (byCount.get(owner.count) ?? new Set()).add(owner));
    // It moved by one, so the next lower number is taken at least by itself.
    this.#most = Math.max(owner.count, byCount.has(this.#most) ? this.#most : this.#most - 1);
  }
}

function append<T>(entry: LruEntry<T>): void {
  const { owner } = entry;
  entry.before = owner.last;
  entry.after = null;
  if (owner.last === null) owner.first = entry;
  else owner.last.after = entry;
  owner.last = entry;
}

function detach<T>({ owner, before, after }: LruEntry<T>): void {
  if (before === null) owner.first = after;
  else before.after = after;
  if (after === null) owner.last = before;
  else after.before = before;
}
