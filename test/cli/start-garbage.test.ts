// When the garbage of a start is collected.

import t from 'tap';
import { collectWhenQuiet } from '../../src/cli/start-garbage.ts';
import { startCommand } from '../helpers/command.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';

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
    let collected = 0;
    collectWhenQuiet(gateway, clock, async () => {
      collected += 1;
    });
    while (clock.pending > 0) {
      look += 1;
      await clock.advance(3_000);
      t.equal(clock.pending, look < at ? 1 : 0);
      t.equal(collected, look < at ? 0 : 1);
    }
    t.equal(look, at);
  });

t.test('one that has become busy is left alone, and so is one that was', async (t) => {
  for (const looks of [
    [0, 101, 101],
    [0, 60, 101, 101],
  ]) {
    const clock = createFakeClock();
    let look = 0;
    const gateway = {
      get calls() {
        return { running: 0, finished: looks[look] ?? 0, cut: 0 };
      },
    };
    collectWhenQuiet(gateway, clock, async () => {
      t.fail('collected');
    });
    while (clock.pending > 0) {
      look += 1;
      await clock.advance(3_000);
    }
    t.equal(look, looks.indexOf(101), 'nothing is looked at any more');
  }
});

t.test('a process that was not started with --expose-gc collects nothing', async (t) => {
  const clock = createFakeClock();
  collectWhenQuiet({ calls: { running: 0, finished: 0, cut: 0 } }, clock);
  t.equal(clock.pending, 0);
});

t.test('a gateway that was started with --expose-gc collects', async (t) => {
  const upstream = { GCG_GATEWAY_HOST: '127.0.0.1', GCG_GATEWAY_PORT: '1', GCG_GATEWAY_PROTOCOL: 'http' };
  const env = { ...upstream, GCG_CREDENTIAL_CLIENT_ID: 'x', GCG_CREDENTIAL_CLIENT_SECRET: 'y' };
  const flags = ['--expose-gc', '--trace-gc'];
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], { env, flags });
  // As V8 calls one that a program asks for.
  t.match(await command.until(/Mark-Compact.* testing;/), '"msg":"listening"');
});
