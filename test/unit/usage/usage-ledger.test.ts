import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { UsageLedger } from '../../../src/usage/usage-ledger.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { stateFolder } from '../../helpers/gateway.ts';

const NOVEMBER = Date.UTC(2026, 10, 28, 12);
const NEXT_MONTH = Date.UTC(2026, 11, 1);

async function openLedger(t: Test, folder: string | null, clock = createFakeClock(NOVEMBER)) {
  const records: Record<string, unknown>[] = [];
  const note = (fields: Record<string, unknown>, msg: string) => void records.push({ msg, ...fields });
  const log = { error: note, warn: note, info: note, debug: note };
  const ledger = await UsageLedger.open({ folder, prefix: 'gcg', clock, log });
  t.teardown(() => ledger.close());
  return { ledger, clock, records };
}

const rowOf = (client: string | null, credential: string, operation: string, calls: number) => ({
  ...{ client, credential, operation, calls },
});

t.test('calls are counted by month, client, credential and operation', async (t) => {
  const { ledger } = await openLedger(t, null);
  ledger.count('crm', 'default', 'getUsers', NOVEMBER);
  ledger.count('crm', 'default', 'getUsers', NOVEMBER, 3);
  ledger.count('crm', 'default', null, NOVEMBER);
  ledger.count(null, 'eu', 'getUsers', NEXT_MONTH - 1);
  ledger.count(null, 'eu', 'getUsers', NEXT_MONTH);
  t.strictSame(ledger.month('2026-11'), [
    rowOf('crm', 'default', 'getUsers', 4),
    rowOf('crm', 'default', 'unlisted', 1),
    rowOf(null, 'eu', 'getUsers', 1),
  ]);
  t.strictSame(ledger.month('2026-12'), [rowOf(null, 'eu', 'getUsers', 1)]);
  t.strictSame([ledger.total('crm', NOVEMBER), ledger.total(null, NOVEMBER), ledger.total('x', NOVEMBER)], [5, 1, 0]);
  t.strictSame(await ledger.months(), ['2026-12', '2026-11']);
});

t.test('a restart goes on with what was counted', async (t) => {
  const folder = stateFolder(t);
  for (let run = 1; run <= 3; run++) {
    const { ledger } = await openLedger(t, folder);
    ledger.count('crm', 'default', 'getUsers', NOVEMBER, 2);
    ledger.count('crm', 'default', `op${run}`, NOVEMBER);
    ledger.count('crm', 'default', 'getUsers', NEXT_MONTH);
    t.equal(ledger.total('crm', NOVEMBER), 3 * run);
    await ledger.close();
  }
  const { ledger } = await openLedger(t, folder);
  t.strictSame(ledger.month('2026-11')[0], rowOf('crm', 'default', 'getUsers', 6));
  t.strictSame(ledger.month('2026-12'), [rowOf('crm', 'default', 'getUsers', 3)], 'of a month that is not open');
  t.strictSame(await ledger.months(), ['2026-12', '2026-11']);
  t.equal(statSync(join(folder, 'gcg-usage-2026-11.journal')).mode & 0o777, 0o600);
});

t.test('what is counted is in the file half a second later', async (t) => {
  const folder = t.testdir();
  const { ledger, clock } = await openLedger(t, folder);
  const file = join(folder, 'gcg-usage-2026-11.journal');
  for (let second = 0; second < 5; second++) {
    ledger.count('crm', 'default', 'getUsers', NOVEMBER);
    await clock.advance(500);
    await ledger.flush();
    t.match(readFileSync(file, 'utf8'), new RegExp(`[ ,]${second + 1}]]\n$`));
  }
  t.equal(clock.pending, 1, 'the heartbeat of the lock, and no timer where nothing is counted');
});

t.test('a journal that is cut anywhere gives what a flush had, never more and never less', async (t) => {
  const folder = t.testdir();
  const { ledger } = await openLedger(t, folder);
  const file = join(folder, 'gcg-usage-2026-11.journal');
  const flushes: { size: number; total: number }[] = [];
  for (let flush = 0; flush < 20; flush++) {
    for (let call = 0; call <= flush % 4; call++)
      ledger.count('crm', 'default', `op${(flush * 7 + call) % 9}`, NOVEMBER);
    await ledger.flush();
    flushes.push({ size: statSync(file).size, total: ledger.total('crm', NOVEMBER) });
  }
  await ledger.close();
  const whole = readFileSync(file);
  const firstSize = flushes[0]?.size as number;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: firstSize, max: whole.length }), async (size) => {
      writeFileSync(file, whole.subarray(0, size));
      const { ledger: next } = await openLedger(t, folder);
      const total = next.total('crm', NOVEMBER);
      await next.close();
      // A line without its newline is whole all the same.
      const kept = flushes.filter((flush) => flush.size <= size + 1).at(-1);
      return total === kept?.total;
    }),
  );
});

t.test('a journal that has grown is written anew', async (t) => {
  const folder = t.testdir();
  const { ledger } = await openLedger(t, folder);
  const file = join(folder, 'gcg-usage-2026-11.journal');
  let largest = 0;
  for (let flush = 0; flush < 1_200; flush++) {
    for (let at = 0; at < 100; at++) ledger.count('crm', 'default', `op${at}`, NOVEMBER);
    await ledger.flush();
    largest = Math.max(largest, statSync(file).size);
  }
  t.ok(largest < 300 * 1024, `${largest} octets at most`);
  await ledger.close();
  const { ledger: next } = await openLedger(t, folder);
  t.equal(next.total('crm', NOVEMBER), 120_000);
});

t.test('rows are bounded: what has no place is counted as other', async (t) => {
  const folder = t.testdir();
  const { ledger } = await openLedger(t, folder);
  for (let at = 0; at < 30_000; at++) ledger.count('crm', 'default', `op${at}`, NOVEMBER);
  for (let at = 0; at < 5_000; at++) ledger.count(`client${at}`, 'default', 'getUsers', NOVEMBER);
  const rows = ledger.month('2026-11');
  t.ok(rows.length <= 11_002, `${rows.length} rows`);
  t.equal(
    rows.reduce((sum, { calls }) => sum + calls, 0),
    35_000,
    'no call is missing',
  );
  t.equal(ledger.total('crm', NOVEMBER), 30_000, 'a budget counts them all');
  await ledger.close();
  const { ledger: next } = await openLedger(t, folder);
  t.equal(
    next.month('2026-11').reduce((sum, { calls }) => sum + calls, 0),
    35_000,
  );
});

t.test(
  'a second process with the same folder counts in memory until the first has ended, and loses nothing',
  async (t) => {
    const folder = t.testdir();
    const { ledger } = await openLedger(t, folder);
    ledger.count('crm', 'default', 'getUsers', NOVEMBER);
    const clock = createFakeClock(NOVEMBER);
    const opening = openLedger(t, folder, clock);
    for (let step = 0; step < 30; step++) {
      await clock.advance(50);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const { ledger: second, records } = await opening;
    t.match(records, [{ msg: 'usage is counted in memory until another process lets go of its file' }]);
    second.count('crm', 'default', 'getUsers', NOVEMBER, 100);
    second.count('crm', 'default', 'getUsers', NEXT_MONTH, 7);
    t.notOk(second.isKept);
    await clock.advance(10_000);
    t.equal(second.total('crm', NOVEMBER), 100);
    await ledger.close();
    for (let step = 0; !second.isKept && step < 100; step++) {
      await clock.advance(1_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    t.equal(second.total('crm', NOVEMBER), 101);
    second.count('crm', 'default', 'getQueues', NOVEMBER);
    await second.close();
    const { ledger: third } = await openLedger(t, folder);
    t.strictSame([third.total('crm', NOVEMBER), third.total('crm', NEXT_MONTH)], [102, 7]);
  },
);

t.test('a folder that cannot be used: counts in memory', async (t) => {
  const { ledger, records } = await openLedger(t, '/dev/null/state');
  ledger.count('crm', 'default', 'getUsers', NOVEMBER);
  t.equal(ledger.total('crm', NOVEMBER), 1);
  t.equal(records.length, 1);
});

t.test('a disk that refuses is told once, and nothing is lost when it works again', async (t) => {
  const folder = t.testdir();
  const { ledger, clock, records } = await openLedger(t, folder);
  const file = join(folder, 'gcg-usage-2026-11.journal');
  mkdirSync(file);
  for (let at = 0; at < 5; at++) {
    ledger.count('crm', 'default', 'getUsers', NOVEMBER);
    await clock.advance(6_000);
    await ledger.flush();
  }
  t.match(records, [{ msg: 'usage cannot be written' }]);
  rmdirSync(file);
  ledger.count('crm', 'default', 'getQueues', NOVEMBER);
  await ledger.close();
  const { ledger: next } = await openLedger(t, folder);
  t.equal(next.total('crm', NOVEMBER), 6);
});

t.test('a damaged file: what can be read counts, and a copy is kept', async (t) => {
  const folder = t.testdir();
  const { ledger } = await openLedger(t, folder);
  ledger.count('crm', 'default', 'getUsers', NOVEMBER, 7);
  await ledger.close();
  const file = join(folder, 'gcg-usage-2026-11.journal');
  appendFileSync(file, 'x\n[[99,5]]\n[[1,-4]]\n[[1,"a"]]\n{}\n');
  const { ledger: next, records } = await openLedger(t, folder);
  t.equal(next.total('crm', NOVEMBER), 7);
  t.match(records, [{ msg: /damaged/, lines: 5 }]);
  t.ok(existsSync(`${file}.damaged`));
});

t.test('a clock that is put back counts in the month it says', async (t) => {
  const { ledger } = await openLedger(t, t.testdir());
  for (const at of [NOVEMBER, NEXT_MONTH, NOVEMBER, Date.UTC(2025, 0), NOVEMBER, NEXT_MONTH]) {
    ledger.count('crm', 'default', 'getUsers', at);
    await ledger.flush();
  }
  t.equal(ledger.total('crm', NOVEMBER), 3);
  t.equal(ledger.total('crm', NEXT_MONTH), 2);
  t.equal(ledger.total('crm', Date.UTC(2025, 0, 2)), 1);
});

t.test('a month whose file cannot be read is not kept, and says so', async (t) => {
  const { ledger } = await openLedger(t, t.testdir({ 'gcg-usage-2026-11.journal': {} }));
  t.equal(ledger.isKept, false);
  ledger.count('crm', 'default', 'getUsers', NEXT_MONTH);
  t.equal(ledger.isKept, true);
});
