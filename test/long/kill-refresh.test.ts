// The kills of test/integration/kill-refresh.test.ts, 200 of them, and 50 under strict rotation.

import t from 'tap';
import { askForLoginAfterKills, surviveKills } from '../helpers/kill-refresh.ts';

t.setTimeout(30 * 60_000);

t.test(
  '200 kills in mid-refresh, rotation with a grace window: a working refresh token is held each time',
  { timeout: 20 * 60_000 },
  (t) => surviveKills(t, 200),
);

t.test(
  '50 kills in mid-refresh under strict rotation: a login is asked for, and the store is whole',
  { timeout: 10 * 60_000 },
  (t) => askForLoginAfterKills(t, 50),
);
