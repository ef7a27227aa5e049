// Instances in processes of their own share a person's login, and are killed in the middle of a refresh 100 times; so is
// their Redis, which comes back empty, old or whole.

import t from 'tap';
import { withoutRedis } from '../helpers/redis-process.ts';
import { surviveInstanceKills, surviveRedisDeaths } from '../helpers/token-instances.ts';

const options = { skip: withoutRedis, timeout: 1_800_000 };
t.setTimeout(3_600_000);

t.test(
  '3 instances, 100 kills in mid-refresh: no login is lost, nothing superseded sent, one at a time',
  options,
  (t) => surviveInstanceKills(t, 100),
);

t.test('3 instances, strict rotation, 100 deaths of Redis in mid-refresh: the same', options, (t) =>
  surviveRedisDeaths(t, 100),
);
