// Four of the kills of test/long/kill-audit.test.ts.

import t from 'tap';
import { surviveAuditKills, surviveUsageKills } from '../helpers/kill-audit.ts';

t.test('4 kills under load: the audit trail is whole, with every line that was confirmed', (t) =>
  surviveAuditKills(t, 4, 1),
);

t.test('2 kills under load: usage is kept but for the last second', (t) => surviveUsageKills(t, 2, 2));
