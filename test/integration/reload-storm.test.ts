// Many reloads under load, good and bad ones in turn; the long version is in test/long.

import t from 'tap';
import { storm } from '../helpers/reload-storm.ts';

t.test('20 reloads by SIGHUP and 3 by file fail no call and leave no socket, watch or timer behind', async (t) => {
  await storm(t, { signals: 20, withinMs: 2_000, swaps: 3, heapLooks: 1 });
});
