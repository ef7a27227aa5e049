// rate_limit.connections beside reloads: what an earlier configuration's calls still hold is not there a second time
// for those of the next.

import type { Socket } from 'node:net';
import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { openCaller } from '../helpers/raw-caller.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

t.test(
  'reloads that dial anew open no more connections than there may be, and calls wait for those that end',
  async (t) => {
    const held: Socket[] = [];
    const pair = await startBefore(t, (socket) => held.push(socket), {
      rateLimit: { connections: 2 },
      server: { drainTimeoutMs: 0 },
    });
    const { gateway, config } = pair;
    const call = async () => {
      const caller = await openCaller(t, pair.port);
      caller.socket.write(GET);
      return caller;
    };
    const first = [await call(), await call()];
    while (held.length < 2) await turns(1);
    for (const more of [1, 2, 3]) {
      gateway.replace({ ...config, timeouts: { ...config.timeouts, connectMs: config.timeouts.connectMs + more } });
      const before = gateway.runtime().upstream.dispatcher.occupancy().waiting;
      first.push(await call());
      while (gateway.runtime().upstream.dispatcher.occupancy().waiting === before && held.length === 2) await turns(1);
      await turns(20);
      t.equal(held.length, 2, `after ${more} reloads`);
    }
    // Each answer makes room for one that waits.
    for (let answered = 0; answered < first.length; answered += 1) {
      while (held.length === answered) await turns(1);
      held[answered]?.write(ok('{}'));
    }
    for (const { until } of first) await until((received) => received.endsWith('{}'));
  },
);
