import fc from 'fast-check';
import t from 'tap';
import { FairEviction, type LruEntry } from '../../src/fair-eviction.ts';

t.test('of the owner that holds most, what was not used for longest', async (t) => {
  const order = new FairEviction<string>();
  t.equal(order.first(), undefined);
  const [a1, a2] = [order.add('a', 'a1'), order.add('a', 'a2')];
  order.add('b', 'b1');
  t.equal(order.first(), 'a1');
  order.touch(a1);
  t.equal(order.first(), 'a2');
  order.remove(a2);
  order.remove(a2);
  order.touch(a2);
  t.equal(order.first(), 'b1', 'of as many, the owner that has had them for longest');
});

t.test('it says at each step what counting and sorting everything would say', async () => {
  const step = fc.record({
    kind: fc.constantFrom('add', 'add', 'touch', 'remove', 'evict'),
    owner: fc.nat(3),
    at: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const order = new FairEviction<number>();
      let entries: LruEntry<number>[] = [];
      let next = 0;
      for (const { kind, owner, at } of steps) {
        const entry = entries[at % Math.max(1, entries.length)];
        const first = order.first();
        if (kind === 'add') entries.push(order.add(`owner-${owner}`, next++));
        else if (kind === 'touch' && entry !== undefined) {
          order.touch(entry);
          entries = [...entries.filter((one) => one !== entry), entry];
        } else if (kind === 'remove' && entry !== undefined) {
          order.remove(entry);
          entries = entries.filter((one) => one !== entry);
        } else if (kind === 'evict' && first !== undefined) {
          const going = entries.find(({ item }) => item === first) as LruEntry<number>;
          order.remove(going);
          entries = entries.filter((one) => one !== going);
        }
        const owned = [0, 1, 2, 3].map((name) => entries.filter((one) => one.owner.name === `owner-${name}`));
        const most = Math.max(...owned.map(({ length }) => length));
        const newest = owned.filter(({ length }) => length === most).map((all) => all.at(-1));
        if (entries.length === 0 ? order.newest() !== undefined : !newest.includes(order.newest())) return false;
        if (entries.length > 0 && order.newest()?.owner.count !== most) return false;
        const candidates = owned.filter(({ length }) => length === most).map(([oldest]) => oldest?.item);
        if (entries.length === 0 ? order.first() !== undefined : !candidates.includes(order.first())) return false;
      }
      return true;
    }),
    { numRuns: 1000 },
  );
});
