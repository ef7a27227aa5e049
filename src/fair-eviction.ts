// Who goes first from a table that many share: of the owner that holds most, what was not used for longest. With one
// owner that is plain LRU. Where the newest has to give way in place of the oldest, that is told too. Every step takes
// the same time, however many there are. It holds no table itself and looks at no clock.

/** One item of an owner's list, a node of a linked list. Made by `add`. */
export interface LruEntry<T> {
  readonly item: T;
  readonly owner: Owner<T>;
  before: LruEntry<T> | null;
  after: LruEntry<T> | null;
  isGone: boolean;
}

/** One owner's items, the one not used for longest first. */
interface Owner<T> {
  readonly name: string;
  /** How many it holds. */
  count: number;
  first: LruEntry<T> | null;
  last: LruEntry<T> | null;
}

/** The order of eviction. */
export interface FairEviction<T> {
  /** As the newest of its owner. */
  add(owner: string, item: T): LruEntry<T>;
  /** It was used: the newest of its owner again. */
  touch(entry: LruEntry<T>): void;
  /** Safe to repeat. */
  remove(entry: LruEntry<T>): void;
  /**
   * What should go first; of several owners that hold as many, of the one that has done so for longest. Undefined when
   * there is nothing.
   */
  first(): T | undefined;
  /** The newest of the owner that `first` speaks of, with its entry: whose it is, and how many that owner holds. */
  newest(): LruEntry<T> | undefined;
}

/** Makes an empty one. */
export function createFairEviction<T>(): FairEviction<T> {
  const owners = new Map<string, Owner<T>>();
  /** Owners by how many items they hold. */
  const byCount = new Map<number, Set<Owner<T>>>();
  let most = 0;

  const count = (owner: Owner<T>, step: 1 | -1) => {
    const peers = byCount.get(owner.count);
    peers?.delete(owner);
    if (peers?.size === 0) byCount.delete(owner.count);
    owner.count += step;
    if (owner.count === 0) owners.delete(owner.name);
    else byCount.set(owner.count, (byCount.get(owner.count) ?? new Set()).add(owner));
    // It moved by one, so the next lower number is taken at least by itself.
    most = Math.max(owner.count, byCount.has(most) ? most : most - 1);
  };
  const append = (entry: LruEntry<T>) => {
    const { owner } = entry;
    entry.before = owner.last;
    entry.after = null;
    if (owner.last === null) owner.first = entry;
    else owner.last.after = entry;
    owner.last = entry;
  };
  const detach = ({ owner, before, after }: LruEntry<T>) => {
    if (before === null) owner.first = after;
    else before.after = after;
    if (after === null) owner.last = before;
    else after.before = before;
  };

  const holder = (): Owner<T> | undefined => {
    const [owner] = byCount.get(most) ?? [];
    return owner;
  };

  return {
    add(name, item) {
      let owner = owners.get(name);
      if (owner === undefined) {
        owner = { name, count: 0, first: null, last: null };
        owners.set(name, owner);
      }
      const entry: LruEntry<T> = { item, owner, before: null, after: null, isGone: false };
      append(entry);
      count(owner, 1);
      return entry;
    },
    touch(entry) {
      if (entry.isGone || entry.after === null) return;
      detach(entry);
      append(entry);
    },
    remove(entry) {
      if (entry.isGone) return;
      entry.isGone = true;
      detach(entry);
      // Whoever still holds it must not hold its neighbours, and theirs.
      entry.before = null;
      entry.after = null;
      count(entry.owner, -1);
    },
    first: () => holder()?.first?.item,
    newest: () => holder()?.last ?? undefined,
  };
}
