// The least hitting set: against brute force, in whatever order, and with its work bounded.

import fc from 'fast-check';
import t from 'tap';
import { leastHittingSet } from '../../../src/operations/hitting-set.ts';

const ITEMS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const COSTS = new Map(ITEMS.map((item, index) => [item, 1 + (index % 3) * 0.4]));
const costOf = (item: string) => COSTS.get(item) ?? 1;
const sum = (items: readonly string[]) => items.reduce((total, item) => total + costOf(item), 0);

const lists = fc.array(fc.uniqueArray(fc.constantFrom(...ITEMS), { minLength: 1, maxLength: 5 }), { maxLength: 10 });

function bruteForce(wanted: readonly (readonly string[])[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (let bits = 0; bits < 2 ** ITEMS.length; bits++) {
    const chosen = ITEMS.filter((_, index) => bits & (1 << index));
    if (wanted.every((list) => list.some((item) => chosen.includes(item)))) least = Math.min(least, sum(chosen));
  }
  return least;
}

t.test('it hits every list and costs as little as any set that does', async (t) => {
  fc.assert(
    fc.property(lists, (wanted) => {
      const { items, isLeast } = leastHittingSet(wanted, costOf);
      return (
        isLeast &&
        wanted.every((list) => list.some((item) => items.includes(item))) &&
        Math.abs(sum(items) - bruteForce(wanted)) < 1e-9
      );
    }),
    { numRuns: 500 },
  );
  t.pass();
});

t.test('it is the same whatever the order of lists and items, and however often they occur', async (t) => {
  fc.assert(
    fc.property(
      lists.chain((wanted) =>
        fc.tuple(
          fc.constant(wanted),
          fc.shuffledSubarray([...wanted, ...wanted.map((list) => [...list, ...list].reverse())], {
            minLength: wanted.length * 2,
          }),
        ),
      ),
      ([wanted, shuffled]) =>
        leastHittingSet(wanted, costOf).items.join() === leastHittingSet(shuffled, costOf).items.join(),
    ),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('nothing is needed for no lists, and an empty list is left out', async (t) => {
  t.same(leastHittingSet([], costOf), { items: [], isLeast: true });
  t.same(leastHittingSet([[], ['b'], []], costOf), { items: ['b'], isLeast: true });
});

t.test('where greed is wrong the search is right', async (t) => {
  // Greed takes "m", which hits four, and then needs two more.
  const wanted = [
    ['l', 'm'],
    ['l', 'm'],
    ['l', 'x'],
    ['r', 'm'],
    ['r', 'm'],
    ['r', 'y'],
  ];
  t.same(leastHittingSet(wanted, () => 1).items, ['l', 'r']);
});

t.test('names of prototypes are items like others', async (t) => {
  t.same(leastHittingSet([['__proto__'], ['constructor', 'toString']], () => 1).items, ['__proto__', 'constructor']);
});

t.test('a search that is given up says so, and its set still hits every list', async (t) => {
  // A random cubic graph: each edge wants one of its ends.
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const edges = Array.from({ length: 300 }, () => [`n${random(120)}`, `n${random(120)}`]).filter(([a, b]) => a !== b);
  const { items, isLeast } = leastHittingSet(edges, () => 1, { mostBranches: 50 });
  t.equal(isLeast, false);
  t.ok(edges.every((edge) => edge.some((end) => items.includes(end))));
  t.ok(items.length < 120);
});
