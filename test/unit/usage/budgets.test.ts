import t, { type Test } from 'tap';
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
  const call = (limit: number) => {
    const hasRoom = budgets.enter('crm', limit);
    if (hasRoom) ledger.count('crm', 'default', 'getUsers', clock.now());
    budgets.leave('crm', limit);
    return hasRoom;
  };
  return { clock, records, ledger, budgets, call };
}

t.test('as many calls as the budget says have room, and no more', async (t) => {
  const { call, budgets } = await createBudgets(t);
  t.equal(Array.from({ length: 15 }, () => call(10)).filter(Boolean).length, 10);
  t.strictSame(budgets.state('crm', 10), { used: 10, limit: 10, level: 'over' });
});

t.test('calls that run are in the budget, too', async (t) => {
  const { budgets, ledger, clock } = await createBudgets(t);
  t.strictSame([budgets.enter('crm', 2), budgets.enter('crm', 2), budgets.enter('crm', 2)], [true, true, false]);
  budgets.leave('crm', 2);
  budgets.leave('crm', 2);
  t.ok(budgets.enter('crm', 2), 'neither was sent');
  ledger.count('crm', 'default', 'getUsers', clock.now());
  budgets.leave('crm', 2);
});

t.test('80 % and the end of a budget are told once a month', async (t) => {
  const { call, records, clock } = await createBudgets(t);
  for (let at = 0; at < 20; at++) call(10);
  t.match(records, [
    { msg: /has used 80 %/, client: 'crm', used: 8, limit: 10, month: '2026-11' },
    { msg: /has used its budget/, client: 'crm', used: 10, limit: 10 },
  ]);
  await clock.advance(4 * 24 * 3600_000);
  t.ok(call(10), 'a new month');
  for (let at = 0; at < 20; at++) call(10);
  t.equal(records.length, 4);
});

t.test('a larger budget is told of again', async (t) => {
  const { call, records, budgets } = await createBudgets(t);
  for (let at = 0; at < 10; at++) call(10);
  t.ok(call(100));
  t.equal(budgets.state('crm', 100).level, 'within');
  for (let at = 0; at < 80; at++) call(100);
  t.match(records.at(-1), { msg: /80 %/, used: 80, limit: 100 });
  budgets.keep(new Set());
  call(50);
  t.match(records.at(-1), { msg: /its budget/ }, 'forgotten, and told anew');
});
