// When the garbage of a start is collected, and what is the same afterwards.

import { Script } from 'node:vm';
import t from 'tap';
import { collectWhenQuiet } from '../../src/cli/start-garbage.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';

const TEXT = '(function add(a, b) { return a + b; })';
const COMPILED_BEFORE = new Script(TEXT).createCachedData();

/** Something that nobody holds: whether it is still in memory. */
function garbage(): () => boolean {
  const ref = new WeakRef({});
  return () => ref.deref() !== undefined;
}

/** The counts at each look, the first as the gateway begins to listen, and at which of them it is collected. */
const ROWS: readonly [name: string, looks: readonly (readonly [running: number, finished: number])[], at: number][] = [
  [
    'a gateway that nobody calls',
    [
      [0, 0],
      [0, 0],
    ],
    1,
  ],
  [
    'one that was called at once',
    [
      [0, 0],
      [0, 1],
      [0, 1],
    ],
    2,
  ],
  [
    'one with a call that takes long',
    [
      [0, 0],
      [1, 0],
      [1, 0],
    ],
    2,
  ],
  [
    'one whose call has just ended',
    [
      [1, 0],
      [0, 1],
      [0, 1],
    ],
    2,
  ],
  [
    'one with a call in place of another',
    [
      [1, 0],
      [1, 1],
      [1, 2],
      [1, 2],
    ],
    3,
  ],
];

for (const [name, looks, at] of ROWS)
  t.test(`${name} collects once, when no call has begun or ended since the last look`, async (t) => {
    const clock = createFakeClock();
    let look = 0;
    const gateway = {
      get calls() {
        const [running = 0, finished = 0] = looks[look] ?? [];
        return { running, finished, cut: 0 };
      },
    };
    collectWhenQuiet(gateway, clock);
    const isThere = garbage();
    while (clock.pending > 0) {
      // What was looked at is held for as long as that turn lasts.
      await clock.settle();
      look += 1;
      await clock.advance(3_000);
      t.equal(clock.pending, look < at ? 1 : 0);
    }
    t.equal(look, at);
    t.notOk(isThere());
  });

t.test('compiled code is taken as before, and nothing of it can be called', async (t) => {
  const clock = createFakeClock();
  collectWhenQuiet({ calls: { running: 0, finished: 0, cut: 0 } }, clock);
  const isThere = garbage();
  await clock.advance(3_000);
  t.notOk(isThere());
  t.equal(new Script(TEXT, { cachedData: COMPILED_BEFORE }).cachedDataRejected, false);
  t.equal(globalThis.gc, undefined);
});
