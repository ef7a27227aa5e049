// Waiting for a token counts against the same budget as every other wait, and ends when the caller goes.

import t from 'tap';
import type { Token, TokenSource } from '../../../src/auth/credentials/token-source.ts';
import { QueueCapacity, type Send } from '../../../src/upstream/call.ts';
import { Gate } from '../../../src/upstream/gate.ts';
import { withRetry } from '../../../src/upstream/retry.ts';
import { withToken } from '../../../src/upstream/token.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createCall, createResponse, type TestCall } from './layer-fixtures.ts';

/** A source whose token never comes. */
const EMPTY = { current: () => null, token: () => new Promise(() => {}) } as unknown as TokenSource;

function waiting(waits = new Set<TestCall['connection']>()) {
  const clock = createFakeClock();
  let sent = 0;
  const inner = async () => {
    sent += 1;
    return createResponse(200);
  };
  const settings = { max: 3, waitMinMs: 1000, waitMaxMs: 5000 };
  const send = withRetry(withToken(inner, { clock, routeOf: (_method, target) => target }), {
    clock,
    random: () => 0,
    settings,
    totalWaitMs: 15_000,
  });
  const call: TestCall = { ...createCall(), source: EMPTY };
  Object.assign(call.connection, { waits });
  call.leave = () => {
    call.connection.disconnected = true;
    call.connection.onDisconnect?.();
  };
  const outcome: { code: string | null; at: number } = { code: null, at: Number.NaN };
  send(call).catch((error) => Object.assign(outcome, { code: error.code, at: clock.monotonic() }));
  return { clock, call, outcome, sent: () => sent };
}

t.test(
  'a token that does not come within total_wait is a timeout of the credential, and nothing is sent',
  async (t) => {
    const { clock, outcome, sent } = waiting();
    await clock.advance(14_900);
    t.equal(outcome.code, null);
    await clock.advance(100);
    t.same(outcome, { code: 'gateway.credential.timeout', at: 15_000 });
    t.equal(sent(), 0);
    t.equal(clock.pending, 0);
  },
);

t.test('a call that has given up on its token is not counted among those that wait', async (t) => {
  const waits = new Set<TestCall['connection']>();
  const { clock, outcome } = waiting(waits);
  await clock.advance(14_900);
  t.equal(waits.size, 1);
  await clock.advance(100);
  t.equal(outcome.code, 'gateway.credential.timeout');
  t.equal(waits.size, 0);
});

t.test('a caller that leaves meanwhile is let go at once', async (t) => {
  const { clock, call, outcome, sent } = waiting();
  await clock.advance(2_000);
  call.leave();
  await clock.settle();
  t.equal(outcome.at, 2_000);
  await clock.advance(20_000);
  t.equal(sent(), 0);
  t.equal(clock.pending, 0);
});

t.test('waits of every kind, one after the other, end together when total_wait ends', async (t) => {
  for (const [what, { tokenMs, refusals, isFull }] of Object.entries({
    'a connection': { tokenMs: 0, refusals: 0, isFull: true },
    'a token, then a connection': { tokenMs: 9_000, refusals: 0, isFull: true },
    'two tries, then a connection': { tokenMs: 0, refusals: 2, isFull: true },
    'a token, two tries, then a connection': { tokenMs: 9_000, refusals: 2, isFull: true },
    'a token that comes too late': { tokenMs: 16_000, refusals: 0, isFull: false },
  })) {
    const clock = createFakeClock();
    const gate = new Gate('http://host', { clock, random: () => 0.5, connections: 1, capacity: new QueueCapacity(10) });
    if (isFull) t.ok(gate.tryAcquire('other', 'crm'));
    let sent = 0;
    const inner: Send = async (request) => {
      if (sent++ < refusals) return createResponse(503);
      gate.tryAcquire('', 'crm') ?? (await gate.acquire(request));
      return createResponse(200);
    };
    const token = {
      authorization: 'Bearer a',
      fingerprint: 'a',
      expiresAt: Number.POSITIVE_INFINITY,
    } as unknown as Token;
    const obtained = () => (clock.monotonic() < tokenMs ? null : token);
    const source = {
      current: obtained,
      token: () => new Promise((resolve) => void clock.after(tokenMs - clock.monotonic(), () => resolve(token))),
    } as unknown as TokenSource;
    const settings = { max: 3, waitMinMs: 1_000, waitMaxMs: 2_000 };
    const send = withRetry(withToken(inner, { clock, routeOf: (_method, target) => target }), {
      clock,
      random: () => 0.5,
      settings,
      totalWaitMs: 15_000,
    });
    const ended: { at: number; code: string | null }[] = [];
    send({ ...createCall(), source }).then(
      () => ended.push({ at: clock.monotonic(), code: null }),
      (error) => ended.push({ at: clock.monotonic(), code: error.code }),
    );
    await clock.advance(14_999);
    t.same(ended, [], `${what}: it waits`);
    await clock.advance(1);
    t.same(ended, [{ at: 15_000, code: isFull ? 'gateway.upstream.unavailable' : 'gateway.credential.timeout' }], what);
    t.equal(gate.waiting, 0);
  }
});
