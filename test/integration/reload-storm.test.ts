// Many reloads under load, good and bad ones in turn; the long version is in test/long.

import t from 'tap';
import { storm } from '../helpers/reload-storm.ts';

t.test('20 reloads by SIGHUP and 3 by file fail no call and leave no socket, watch or timer behind', async (t) => {
  const { before, after } = await storm(t, { signals: 20, withinMs: 2_000, swaps: 3, heapLooks: 1 });
  t.comment(JSON.stringify({ before, after }));
  t.equal(after.watches, before.watches);
  t.equal(after.files, before.files);
  t.ok(after.sockets <= before.sockets + 2, `${after.sockets} sockets after ${before.sockets}`);
  t.ok(after.timers <= before.timers + 3, `${after.timers} timers after ${before.timers}`);
});
