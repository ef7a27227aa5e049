// What a limit has left, and when it has more: said exactly.

import fc from 'fast-check';
import t from 'tap';
import { RateWindow, RollingCount } from '../../../src/upstream/rate-limit/rate-window.ts';

t.test('no minute holds more calls than the limit, whenever they come', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 200 }),
      (perMinute, gaps) => {
        const window = new RateWindow({ perMinute, isCautious: false });
        const starts: number[] = [];
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          if (window.free(now) <= 0) continue;
          window.acquire(now);
          window.complete(now);
          starts.push(now);
        }
        return starts.every((at) => starts.filter((other) => other >= at && other - at < 60_000).length <= perMinute);
      },
    ),
  );
  t.pass();
  t.end();
});

t.test('an opening that is foretold is one, and no earlier moment is', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 }),
      fc.array(fc.integer({ min: 0, max: 9_000 }), { minLength: 1, maxLength: 60 }),
      (perMinute, gaps) => {
        const window = new RateWindow({ perMinute, isCautious: false });
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          if (window.free(now) <= 0) continue;
          window.acquire(now);
          window.complete(now);
        }
        const opensAt = window.openings(now)();
        if (opensAt === now) return window.free(now) > 0;
        return window.free(opensAt - 1) <= 0 && window.free(opensAt) > 0;
      },
    ),
  );
  t.pass();
  t.end();
});

t.test('the nth opening is foretold as well', (t) => {
  const window = new RateWindow({ perMinute: 3, isCautious: false });
  for (const at of [0, 1_000, 1_050]) {
    window.acquire(at);
    window.complete(at);
  }
  const next = window.openings(2_000);
  t.same([next(), next(), next()], [60_100, 61_100, 61_100]);
  t.ok(next() >= 120_000, 'the places of those that come next');
  window.perMinute = 1;
  t.equal(window.openings(2_000)(), 61_100, 'a limit that came down is caught up with first');
  t.end();
});

t.test('a count is that of the last minute, over gaps of any length', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300_000 }), { maxLength: 80 }), (gaps) => {
      const count = new RollingCount();
      const all: number[] = [];
      let now = 0;
      for (const gap of gaps) {
        now += gap;
        count.add(now);
        all.push(now);
        const age = (at: number) => Math.floor(now / 100) - Math.floor(at / 100);
        const recent = all.filter((at) => age(at) <= 600).length;
        if (count.recent(now) !== recent) return false;
      }
      return true;
    }),
  );
  t.pass();
  t.end();
});
