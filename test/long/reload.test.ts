// 200 reloads by SIGHUP in 20 s under load, good and bad ones in turn, then 20 by swapping the file: nobody notices and
// nothing is left.

import t from 'tap';
import { storm } from '../helpers/reload-storm.ts';

t.test('200 reloads by SIGHUP in 20 s and 20 by file fail no call and leave nothing behind', async (t) => {
  const { before, after, calls, tookMs } = await storm(t, { signals: 200, withinMs: 20_000, swaps: 20, heapLooks: 20 });
  t.comment(JSON.stringify({ before, after, calls, seconds: Math.round(tookMs / 100) / 10 }));
  t.ok(tookMs < 25_000, `200 reloads took ${Math.round(tookMs)} ms`);
  // That no runtime stays is shown one by one in test/integration/reload-parts.test.ts; this is for what else may pile
  // up.
  t.ok(after.heapMiB <= before.heapMiB + 4, `${after.heapMiB} MiB of heap after ${before.heapMiB} MiB`);
});
