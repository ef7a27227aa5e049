import t from 'tap';
import { createOpaqueToken, createRandomSource, createUuid } from '../../../src/sandbox/random.ts';

t.test('a seed repeats a run, and another seed does not', async (t) => {
  const draw = (seed?: string) => {
    const random = createRandomSource(seed);
    return [createOpaqueToken(random), createUuid(random)];
  };
  t.same(draw('a'), draw('a'));
  t.notSame(draw('a'), draw('b'));
  t.notSame(draw(), draw());
});

t.test("tokens have the platform's length, ids the form of UUIDs, and none repeats", async (t) => {
  const random = createRandomSource('a');
  t.match(createOpaqueToken(random), /^[\w-]{86}$/);
  t.match(createUuid(random), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  t.equal(new Set(Array.from({ length: 1000 }, () => createUuid(random))).size, 1000);
});
