// Waiting for a token counts against the same budget as every other wait, and ends when the caller goes.

import t from 'tap';
import type { CachedTokenSource } from '../../../src/auth/token-source.ts';
import { withRetry } from '../../../src/upstream/retry.ts';
import { withToken } from '../../../src/upstream/token-replay.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createAnswer, createCall, type TestCall } from './layer-fixtures.ts';

/** A source whose token never comes. */
const EMPTY = { current: () => null, token: () => new Promise(() => {}) } as unknown as CachedTokenSource;

function waiting() {
  const clock = createFakeClock();
  let sent = 0;
  const inner = async () => {
    sent += 1;
    return createAnswer(200);
  };
  const settings = { max: 3, waitMinMs: 1000, waitMaxMs: 5000 };
  const send = withRetry(withToken(inner, { clock, routeOf: (target) => target }), { clock, random: () => 0, settings, totalWaitMs: 15_000 });
  const call: TestCall = { ...createCall(), source: EMPTY };
  call.leave = () => {
    call.caller.left = true;
    call.caller.onLeave?.();
  };
  const outcome: { code: string | null; at: number } = { code: null, at: Number.NaN };
  send(call).catch((error) => Object.assign(outcome, { code: error.code, at: clock.monotonic() }));
  return { clock, call, outcome, sent: () => sent };
}

t.test('a token that does not come within total_wait is a timeout of the credential, and nothing is sent', async (t) => {
  const { clock, outcome, sent } = waiting();
  await clock.advance(14_900);
  t.equal(outcome.code, null);
  await clock.advance(100);
  t.same(outcome, { code: 'gateway.credential.timeout', at: 15_000 });
  t.equal(sent(), 0);
  t.equal(clock.pending, 0);
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
