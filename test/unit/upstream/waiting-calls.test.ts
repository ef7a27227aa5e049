// What is said of calls that wait long, and how little of it.

import t from 'tap';
import { GatewayError } from '../../../src/errors.ts';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { beginWait, endWait } from '../../../src/upstream/call.ts';
import { type WaitingCall, WaitingCalls } from '../../../src/upstream/waiting-calls.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog } from '../../helpers/gateway.ts';

function start(mostAMinute: number) {
  const clock = createFakeClock();
  const log = createTestLog();
  const waits = new WaitingCalls({ clock, log, mostAMinute });
  const call = (target = '/api/v2/users?access_token=abc'): WaitingCall => ({
    disconnected: false,
    onDisconnect: null,
    rejectWait: null,
    waits,
    record: Object.assign(createExchangeRecord(0), { requestId: 'r-1', method: 'GET', target, credential: 'default' }),
    isWaitTold: false,
  });
  const wait = (one: WaitingCall, what = 'the limit x', forMs = 13_000) => {
    const since = clock.monotonic();
    beginWait(one, { what, since, until: since + forMs }, () => {});
    return one;
  };
  return { clock, log, waits, call, wait };
}

t.test('a call that waits longer than two seconds is told once, whatever it waits for next', async (t) => {
  const { clock, log, call, wait } = start(20);
  const slow = wait(call());
  const quick = wait(call());
  await clock.advance(1_900);
  endWait(quick);
  await clock.advance(700);
  t.strictSame(log.lines, [
    {
      level: 'info',
      msg: 'waiting',
      fields: {
        requestId: 'r-1',
        credential: 'default',
        method: 'GET',
        path: '/api/v2/users?access_token=[redacted]',
        heldBy: 'the limit x',
        waitedMs: 2_000,
        atMostMs: 13_000,
        waiting: 1,
      },
    },
  ]);
  endWait(slow);
  wait(slow, 'a token');
  await clock.advance(5_000);
  t.equal(log.lines.length, 1);
  endWait(slow);
  await clock.advance(1_000);
  t.equal(clock.pending, 0, 'no timer runs while nobody waits');
});

t.test('machines get one record for each limit and minute, people some', async (t) => {
  for (const most of [1, 20]) {
    const { clock, log, waits, call, wait } = start(most);
    const calls = Array.from({ length: 50 }, (_, at) => wait(call(), at % 2 === 0 ? 'the limit x' : 'a token', 1e9));
    await clock.advance(3_000);
    t.equal(log.lines.length, 2 * Math.min(most, 25), `${most} a minute`);
    for (const one of calls) endWait(one);
    wait(call());
    await clock.advance(3_000);
    t.equal(log.lines.length, 2 * Math.min(most, 25), 'the same minute');
    await clock.advance(60_000);
    wait(call());
    await clock.advance(3_000);
    t.equal(log.lines.length, 2 * Math.min(most, 25) + 1, 'the next one');
    waits.close();
  }
});

t.test('what calls wait for has as many names as it likes, and the records are bounded all the same', async (t) => {
  const { clock, log, call, wait, waits } = start(1);
  for (let at = 0; at < 2_000; at++) wait(call(), `the limit of route ${at}`, 1e9);
  await clock.advance(3_000);
  t.ok(log.lines.length <= 101, `${log.lines.length} records`);
  waits.close();
  await clock.advance(10_000);
  t.equal(clock.pending, 0, 'nothing goes on after close');
});

t.test('once calls are told that they cannot wait, so is each that begins to', async (t) => {
  const { clock, call, waits } = start(20);
  const error = new GatewayError('gateway.draining', 'the gateway is shutting down');
  const told: string[] = [];
  const begin = (name: string) => {
    const one = call();
    beginWait(one, { what: 'a token', since: 0, until: 1e9 }, ({ code }) => {
      endWait(one);
      told.push(`${name} ${code}`);
    });
    return one;
  };
  begin('before');
  t.strictSame(told, []);
  waits.rejectAll(error);
  t.strictSame(told, ['before gateway.draining']);
  begin('after');
  endWait(begin('served in the same turn'));
  await clock.settle();
  t.strictSame(told, ['before gateway.draining', 'after gateway.draining']);
  waits.close();
});
