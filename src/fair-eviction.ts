// Who goes first from a table that many share: of the owner that holds most, what was not used for longest. With one
// owner that is plain LRU. Where the newest has to give way in place of the oldest, that is told too. Every step takes
// the same time, however many there are. It holds no table itself and looks at no clock.

/** An item's place. Made by `add`. */
export interface FairPlace<T> {
  readonly item: T;
  readonly owner: Owner<T>;
  before: FairPlace<T> | null;
  after: FairPlace<T> | null;
  isGone: boolean;
}

/** One owner's items, the one not used for longest first. */
interface Owner<T> {
  readonly name: string;
  /** How many it holds. */
  count: number;
  first: FairPlace<T> | null;
  last: FairPlace<T> | null;
}

/** The order. */
export interface FairOrder<T> {
  /** As the newest of its owner. */
  add(owner: string, item: T): FairPlace<T>;
  /** It was used: the newest of its owner again. */
  touch(place: FairPlace<T>): void;
  /** Safe to repeat. */
  remove(place: FairPlace<T>): void;
  /**
   * What should go first; of several owners that hold as many, of the one that has done so for longest. Undefined when
   * there is nothing.
   */
  first(): T | undefined;
  /** The newest of the owner that `first` speaks of, with its place: whose it is, and how many that owner holds. */
  newest(): FairPlace<T> | undefined;
}

/** Makes an empty one. */
export function createFairEviction<T>(): FairOrder<T> {
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
  const append = (place: FairPlace<T>) => {
    const { owner } = place;
    place.before = owner.last;
    place.after = null;
    if (owner.last === null) owner.first = place;
    else owner.last.after = place;
    owner.last = place;
  };
  const detach = ({ owner, before, after }: FairPlace<T>) => {
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
      const place: FairPlace<T> = { item, owner, before: null, after: null, isGone: false };
      append(place);
      count(owner, 1);
      return place;
    },
    touch(place) {
      if (place.isGone || place.after === null) return;
      detach(place);
      append(place);
    },
    remove(place) {
      if (place.isGone) return;
      place.isGone = true;
      detach(place);
      // Whoever still holds it must not hold its neighbours, and theirs.
      place.before = null;
      place.after = null;
      count(place.owner, -1);
    },
    first: () => holder()?.first?.item,
    newest: () => holder()?.last ?? undefined,
  };
}
