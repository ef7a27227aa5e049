// Instances in processes of their own share a person's login: killed in the middle of a refresh, or their Redis is. The
// full numbers are in test/long.

import t from 'tap';
import { withoutRedis } from '../helpers/redis-process.ts';
import { surviveInstanceKills, surviveRedisDeaths } from '../helpers/token-instances.ts';

const options = { buffered: true, skip: withoutRedis };
t.jobs = 2;

t.test('3 instances, 3 killed in mid-refresh: no login is lost, nothing superseded sent, one at a time', options, (t) =>
  surviveInstanceKills(t, 3),
);

t.test(
  '3 instances, strict rotation, Redis dies in mid-refresh and comes back empty, and old: the same',
  options,
  (t) => surviveRedisDeaths(t, 2),
);
