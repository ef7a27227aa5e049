// A whole gateway is killed in the middle of a refresh, 5 times; test/long does it 200 times.

import t from 'tap';
import { askForLoginAfterKills, surviveKills } from '../helpers/kill-refresh.ts';

t.test('5 kills in mid-refresh, rotation with a grace window: a working refresh token is held each time', (t) =>
  surviveKills(t, 5),
);

t.test('kills in mid-refresh under strict rotation: a login is asked for, and the store is whole', (t) =>
  askForLoginAfterKills(t, 2),
);
