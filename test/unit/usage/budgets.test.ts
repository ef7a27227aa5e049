import t, { type Test } from 'tap';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { Budgets } from '../../../src/usage/budgets.ts';
import { UsageLedger } from '../../../src/usage/usage-ledger.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

async function createBudgets(t: Test) {
  const clock = createFakeClock(Date.UTC(2026, 10, 28));
  const records: Record<string, unknown>[] = [];
  const note = (fields: Record<string, unknown>, msg: string) => void records.push({ msg, ...fields });
  const log = { error: note, warn: note, info: note, debug: note };
  const ledger = await UsageLedger.open({ folder: null, prefix: 'gcg', clock, log });
  t.teardown(() => ledger.close());
  const budgets = new Budgets({ ledger, clock, log });
  const begin = (limit: number | null, overBudget: 'warn' | 'refuse' = 'refuse') => {
    const record = createExchangeRecord();
    record.client = 'crm';
    budgets.reserve({ name: 'crm', requestsPerMonth: limit, overBudget }, record);
    return record;
  };
  const send = (record: ReturnType<typeof begin>) => {
    ledger.count('crm', 'default', 'getUsers', clock.now());
    budgets.sent(record);
  };
  return { clock, records, budgets, begin, send };
}

t.test('as many calls as the budget says, and no more', async (t) => {
  const { begin, send, budgets } = await createBudgets(t);
  for (let at = 0; at < 10; at++) send(begin(10));
  t.throws(() => begin(10), { code: 'gateway.budget.exceeded', statusCode: 403, message: /budget of 10 .* 2026-11/ });
  t.strictSame(budgets.state('crm', 10), { used: 10, limit: 10, level: 'over' });
  send(begin(10, 'warn'));
  t.equal(budgets.state('crm', 10).used, 11, 'where it only warns');
});

t.test('calls that are not sent yet have their place, once', async (t) => {
  const { begin, send, budgets } = await createBudgets(t);
  const [first, second] = [begin(2), begin(2)];
  t.throws(() => begin(2));
  send(first);
  send(first);
  t.throws(() => begin(3), 'one call was sent twice, one waits');
  budgets.release(second);
  budgets.release(second);
  send(begin(3));
  t.throws(() => begin(3));
});

t.test('80 % and the end of a budget are told once a month', async (t) => {
  const { begin, send, records, clock } = await createBudgets(t);
  for (let at = 0; at < 20; at++) send(begin(10, 'warn'));
  t.match(records, [
    { msg: /has used 80 %/, client: 'crm', used: 8, limit: 10, month: '2026-11' },
    { msg: /has used its budget/, client: 'crm', used: 10, limit: 10 },
  ]);
  t.equal(records.length, 2);
  await clock.advance(4 * 24 * 3600_000);
  for (let at = 0; at < 20; at++) send(begin(10, 'warn'));
  t.equal(records.length, 4);
});

t.test('a larger budget is told of again, and one that is gone no more', async (t) => {
  const { begin, send, records, budgets } = await createBudgets(t);
  for (let at = 0; at < 10; at++) send(begin(10));
  send(begin(100));
  t.equal(budgets.state('crm', 100).level, 'within');
  for (let at = 0; at < 80; at++) send(begin(100));
  t.match(records.at(-1), { msg: /80 %/, used: 80, limit: 100 });
  budgets.keep([{ name: 'crm', requestsPerMonth: null, overBudget: 'warn' }]);
  for (let at = 0; at < 50; at++) send(begin(null));
  t.equal(records.length, 3);
});
