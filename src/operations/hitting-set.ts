// The least set that holds at least one item of each list. Exact by branch and bound, with a bound on the work; beyond
// it the best set found so far. Pure; it knows neither permissions nor operations.

/** A set that hits every list. */
export interface HittingSet<T> {
  readonly items: readonly T[];
  /** Whether no cheaper set exists. False when the search was given up: then the set is good, not proven. */
  readonly isLeast: boolean;
}

/** Branches tried before the search is given up: about a second for a hundred lists that share everything. */
const MOST_BRANCHES = 20_000;

/**
 * The set of least total cost; of equal ones always the same, whatever the order of lists and items. `costOf` is
 * positive; where fewer items are always better than cheaper ones, it must say so by its size. An empty list is hit by
 * nothing and left out.
 */
export function leastHittingSet<T extends string>(
  lists: Iterable<readonly T[]>,
  costOf: (item: T) => number,
  { mostBranches = MOST_BRANCHES }: { mostBranches?: number } = {},
): HittingSet<T> {
  const search = new Search(reduce(lists, costOf), costOf, mostBranches);
  return search.run();
}

/**
 * The lists without what cannot matter: a list that holds another one whole, and an item that is in no list without
 * another, which costs no more. Repeated until nothing goes.
 */
function reduce<T extends string>(lists: Iterable<readonly T[]>, costOf: (item: T) => number): T[][] {
  let kept = [...lists].filter((list) => list.length > 0).map((list) => [...new Set(list)].sort());
  for (;;) {
    const size = kept.reduce((sum, list) => sum + list.length, 0);
    kept = withoutSupersets(kept);
    kept = withoutDominated(kept, costOf);
    if (kept.reduce((sum, list) => sum + list.length, 0) === size) return kept;
  }
}

function withoutSupersets<T extends string>(lists: readonly T[][]): T[][] {
  const sorted = [...lists].sort((a, b) => a.length - b.length || (a.join() < b.join() ? -1 : 1));
  const kept: T[][] = [];
  for (const list of sorted) {
    const items = new Set(list);
    if (!kept.some((smaller) => smaller.every((item) => items.has(item)))) kept.push(list);
  }
  return kept;
}

function withoutDominated<T extends string>(lists: readonly T[][], costOf: (item: T) => number): T[][] {
  const hits = new Map<T, Set<number>>();
  for (const [index, list] of lists.entries()) {
    for (const item of list) hits.set(item, (hits.get(item) ?? new Set()).add(index));
  }
  const isBetter = (a: T, b: T): boolean => {
    const [ofA, ofB] = [hits.get(a) as Set<number>, hits.get(b) as Set<number>];
    if (costOf(a) > costOf(b) || ofA.size < ofB.size) return false;
    for (const index of ofB) if (!ofA.has(index)) return false;
    return costOf(a) < costOf(b) || ofA.size > ofB.size || a < b;
  };
  // What dominates an item is in every list of it, so one list is enough to look in.
  return lists.map((list) => list.filter((item) => !list.some((other) => other !== item && isBetter(other, item))));
}

class Search<T extends string> {
  readonly #lists: readonly (readonly T[])[];
  readonly #costOf: (item: T) => number;
  #branchesLeft: number;
  #best: readonly T[];
  #bestCost: number;

  constructor(lists: readonly (readonly T[])[], costOf: (item: T) => number, mostBranches: number) {
    this.#lists = lists;
    this.#costOf = costOf;
    this.#branchesLeft = mostBranches;
    this.#best = this.#greedy();
    this.#bestCost = this.#costOfAll(this.#best);
  }

  run(): HittingSet<T> {
    this.#branch([], 0, this.#lists, new Set());
    return { items: [...this.#best].sort(), isLeast: this.#branchesLeft > 0 };
  }

  /** Again and again the item that hits most lists for its cost. */
  #greedy(): T[] {
    const chosen: T[] = [];
    let open = this.#lists;
    while (open.length > 0) {
      const counts = new Map<T, number>();
      for (const list of open) for (const item of list) counts.set(item, (counts.get(item) ?? 0) + 1);
      let best: T | undefined;
      let bestWorth = 0;
      for (const [item, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const worth = count / this.#costOf(item);
        if (worth > bestWorth) [best, bestWorth] = [item, worth];
      }
      const item = best as T;
      chosen.push(item);
      open = open.filter((list) => !list.includes(item));
    }
    return chosen;
  }

  /** `excluded` are items that a sibling branch took: what is left of it was tried there. */
  #branch(chosen: readonly T[], cost: number, open: readonly (readonly T[])[], excluded: ReadonlySet<T>): void {
    if (this.#branchesLeft === 0) return;
    this.#branchesLeft--;
    if (open.length === 0) {
      if (cost < this.#bestCost) [this.#best, this.#bestCost] = [chosen, cost];
      return;
    }
    const allowed = open.map((list) => list.filter((item) => !excluded.has(item)));
    const bound = this.#lowerBound(allowed);
    if (cost + bound >= this.#bestCost) return;
    const narrowest = allowed.reduce((least, list) => (list.length < least.length ? list : least));
    const tried = new Set(excluded);
    for (const item of [...narrowest].sort((a, b) => this.#costOf(a) - this.#costOf(b) || (a < b ? -1 : 1))) {
      const left = open.filter((list) => !list.includes(item));
      this.#branch([...chosen, item], cost + this.#costOf(item), left, tried);
      tried.add(item);
    }
  }

  /** Lists that share nothing need an item each: at least the cheapest of each. Infinite when one has none left. */
  #lowerBound(lists: readonly (readonly T[])[]): number {
    const seen = new Set<T>();
    let bound = 0;
    for (const list of [...lists].sort((a, b) => a.length - b.length)) {
      if (list.length === 0) return Number.POSITIVE_INFINITY;
      if (list.some((item) => seen.has(item))) continue;
      for (const item of list) seen.add(item);
      bound += Math.min(...list.map(this.#costOf));
    }
    return bound;
  }

  #costOfAll(items: readonly T[]): number {
    return items.reduce((sum, item) => sum + this.#costOf(item), 0);
  }
}
