// The kills of test/integration/kill-audit.test.ts, 200 of them.

import t from 'tap';
import { surviveAuditKills, surviveUsageKills } from '../helpers/kill-audit.ts';

t.setTimeout(30 * 60_000);

t.test(
  '200 kills under load: the audit trail is whole, with every line that was confirmed',
  { timeout: 20 * 60_000 },
  (t) => surviveAuditKills(t, 200, Date.now()),
);

t.test('40 kills under load: usage is kept but for the last second', { timeout: 10 * 60_000 }, (t) =>
  surviveUsageKills(t, 40, Date.now()),
);
