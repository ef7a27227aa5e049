// What is learnt of idle connections from those before.

import fc from 'fast-check';
import t from 'tap';
import { IdleLife } from '../../../src/upstream/idle-life.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const SECOND = 1_000;
const MINUTE = 60_000;

function createLife() {
  const clock = createFakeClock();
  return { clock, life: new IdleLife(clock) };
}

t.test('a connection is good for four seconds, and as long as others were seen to be', (t) => {
  const { life } = createLife();
  t.ok(life.isProven(4 * SECOND));
  t.notOk(life.isProven(4 * SECOND + 1));
  life.answered(20 * SECOND);
  t.ok(life.isProven(18 * SECOND), 'but for a margin');
  t.notOk(life.isProven(19 * SECOND));
  life.seenOpen(70 * SECOND);
  t.ok(life.isProven(40 * SECOND), 'one that is silent may be dead for some time');
  t.notOk(life.isProven(41 * SECOND));
  t.equal(life.limitMs, Number.POSITIVE_INFINITY);
  t.end();
});

t.test('one that ended is a warning for a while; it is no rule', async (t) => {
  const { clock, life } = createLife();
  life.answered(5 * MINUTE);
  life.ended(60 * SECOND);
  t.ok(life.isProven(58 * SECOND));
  t.notOk(life.isProven(59 * SECOND));
  t.equal(life.limitMs, Number.POSITIVE_INFINITY);
  await clock.advance(10 * MINUTE);
  t.ok(life.isProven(2 * MINUTE));
});

t.test('two that ended at the same age are a rule, for an hour', async (t) => {
  const rows: readonly (readonly [ages: readonly number[], limitMs: number])[] = [
    [[60, 60.4], 58],
    [[60.4, 60], 58],
    [[300, 310], 298],
    [[60, 70], Number.POSITIVE_INFINITY],
    [[60, 30, 60], Number.POSITIVE_INFINITY],
    [[60, 30, 30], 28],
    [[5, 5], 3],
    [[3, 3], 1.5],
    [[1, 1], 0.5],
    [[0.4, 0.4], Number.POSITIVE_INFINITY],
  ];
  for (const [ages, limit] of rows) {
    const { clock, life } = createLife();
    for (const age of ages) {
      await clock.advance(MINUTE);
      life.ended(age * SECOND);
    }
    t.equal(life.limitMs, limit * SECOND, ages.join(', '));
    await clock.advance(60 * MINUTE);
    t.equal(life.limitMs, Number.POSITIVE_INFINITY, 'then it is tried anew');
  }
});

t.test('whatever was seen, what must not be sent twice never goes near an age at which one ended last', async () => {
  const seen = fc.array(
    fc.record({ what: fc.constantFrom('ended', 'answered', 'seenOpen'), ageMs: fc.integer({ min: 0, max: 600_000 }) }),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(seen, fc.integer({ min: 0, max: 600_000 }), (events, ageMs) => {
      const { life } = createLife();
      for (const event of events) life[event.what as 'ended'](event.ageMs);
      const last = events.findLast(({ what, ageMs: age }) => what === 'ended' && age >= 500)?.ageMs;
      const longest = Math.max(4_000, ...events.filter(({ what }) => what !== 'ended').map((event) => event.ageMs));
      if (!life.isProven(ageMs)) return true;
      return ageMs <= longest && (last === undefined || ageMs <= last - 2_000) && ageMs < life.limitMs;
    }),
  );
});
