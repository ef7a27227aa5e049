// What is sent again, when, and what never is.

import t from 'tap';
import { systemClock } from '../../../src/clock.ts';
import { GatewayError } from '../../../src/errors.ts';
import { QueueCapacity, type Send } from '../../../src/upstream/call.ts';
import { UpstreamDispatcher } from '../../../src/upstream/dispatcher.ts';
import { retryWaitMs, withRetry } from '../../../src/upstream/retry.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { type CallOptions, createCall, createResponse } from './layer-fixtures.ts';

const SETTINGS = { max: 3, waitMinMs: 1000, waitMaxMs: 5000 };

/** Runs one call against scripted outcomes; the last repeats. */
function retried(
  script: (() => ReturnType<typeof createResponse>)[],
  options: CallOptions & { totalWaitMs?: number; random?: number; send?: Send } = {},
) {
  const clock = createFakeClock();
  const sentAt: number[] = [];
  const answers: ReturnType<typeof createResponse>[] = [];
  const scripted: Send = async (request) => {
    sentAt.push(clock.monotonic());
    if (options.send) return options.send(request);
    const answer = script[Math.min(sentAt.length, script.length) - 1]!();
    answers.push(answer);
    return answer;
  };
  const send = withRetry(scripted, {
    clock,
    random: () => options.random ?? 0,
    settings: SETTINGS,
    totalWaitMs: options.totalWaitMs ?? 15_000,
  });
  const request = createCall(options);
  const outcome: { status: number | null; error: (Error & { code?: string }) | null; answer: unknown } = {
    status: null,
    error: null,
    answer: null,
  };
  send(request).then(
    (answer) => Object.assign(outcome, { status: answer.statusCode, answer }),
    (error) => Object.assign(outcome, { error }),
  );
  return { clock, sentAt, answers, outcome, request };
}

/** A dispatcher none of whose connections can be opened. */
function unreachable(
  code: 'gateway.upstream.unreachable' | 'gateway.upstream.tls' | 'gateway.proxy.auth' = 'gateway.upstream.unreachable',
) {
  const dispatcher = new UpstreamDispatcher({
    connect: (_options, callback) =>
      void callback(
        new GatewayError(code, 'no way', { cause: Object.assign(new Error('ECONNREFUSED'), { code: 'ECONNREFUSED' }) }),
        null,
      ),
    headersMs: 60_000,
    bodyMs: 60_000,
    ...{ clock: systemClock, random: () => 0, connections: 256, capacity: new QueueCapacity(1000) },
  });
  t.teardown(() => dispatcher.destroy());
  return dispatcher.send;
}

t.test(
  'GET, HEAD and OPTIONS are sent again after 502, 503 and 504, with growing waits, retry_max times; then the ' +
    'answer passes',
  async (t) => {
    for (const method of ['GET', 'HEAD', 'OPTIONS']) {
      for (const status of [502, 503, 504]) {
        const { clock, sentAt, answers, outcome, request } = retried([() => createResponse(status)], {
          method,
          random: 0.5,
        });
        await clock.advance(15_000);
        t.same(sentAt, [0, 1500, 4000, 7000], `${method} ${status}`);
        t.equal(outcome.answer, answers[3], 'the last answer itself');
        t.same(
          answers.map(({ uses }) => uses),
          [['discard'], ['discard'], ['discard'], []],
        );
        t.same(request.record.retryReasons, [String(status), String(status), String(status)]);
        t.equal(clock.pending, 0);
      }
    }
  },
);

t.test('an answer that comes after all is the answer', async (t) => {
  const { clock, outcome, sentAt } = retried([() => createResponse(503), () => createResponse(200)]);
  await clock.advance(1_000);
  t.match(outcome, { status: 200 });
  t.equal(sentAt.length, 2);
});

t.test('other methods and other statuses are sent once', async (t) => {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PURGE']) {
    const { clock, sentAt, outcome } = retried([() => createResponse(503, { 'Retry-After': '1' })], { method });
    await clock.advance(15_000);
    t.same(sentAt, [0], method);
    t.match(outcome, { status: 503 });
  }
  for (const status of [400, 401, 403, 404, 408, 409, 413, 429, 500, 501, 505]) {
    const { clock, sentAt, outcome } = retried([() => createResponse(status)]);
    await clock.advance(15_000);
    t.same(sentAt, [0], String(status));
    t.match(outcome, { status });
  }
});

t.test('Retry-After of a 503 takes the place of our own wait, as seconds or as a date', async (t) => {
  const inFour = new Date(createFakeClock().now() + 4000).toUTCString();
  for (const value of ['4', inFour]) {
    const { clock, sentAt } = retried([() => createResponse(503, { 'retry-after': value }), () => createResponse(200)]);
    await clock.advance(15_000);
    t.same(sentAt, [0, 4000], value);
  }
});

t.test('a wait that total_wait does not allow is not begun: the answer passes at once', async (t) => {
  const asked = retried([() => createResponse(503, { 'Retry-After': '16' })]);
  await asked.clock.advance(0);
  t.same(asked.sentAt, [0]);
  t.match(asked.outcome, { status: 503 });
  const short = retried([() => createResponse(503)], { totalWaitMs: 2_500, random: 0.5 });
  await short.clock.advance(15_000);
  t.same(short.sentAt, [0, 1500], 'the second wait would have ended after 4 s');
  t.match(short.outcome, { status: 503 });
});

t.test('what was never sent is sent again whatever its method, when its body is at hand', async (t) => {
  const body = (canReplay: boolean) => ({
    canReplay,
    receivedBytes: 2,
    isStreaming: false,
    isAwaitingCaller: false,
    attempt: () => Buffer.from('{}'),
    release() {},
  });
  for (const method of ['GET', 'POST', 'DELETE']) {
    const { clock, sentAt, outcome, request } = retried([], { method, body: body(true), send: unreachable() });
    await clock.advance(15_000);
    t.equal(sentAt.length, 4, method);
    t.match(outcome, { error: { code: 'gateway.upstream.unreachable' } });
    t.same(request.record.retryReasons, ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED']);
    t.equal(request.record.attempts, 4);
  }
  const gone = retried([], { method: 'POST', body: body(false), send: unreachable() });
  await gone.clock.advance(15_000);
  t.equal(gone.sentAt.length, 1);
});

t.test('what a retry cannot mend is not retried', async (t) => {
  for (const code of ['gateway.upstream.tls', 'gateway.proxy.auth'] as const) {
    const { clock, sentAt, outcome } = retried([], { send: unreachable(code) });
    await clock.advance(15_000);
    t.same(sentAt, [0]);
    t.match(outcome, { error: { code } });
  }
  const ours = retried([], { send: () => Promise.reject(new GatewayError('gateway.upstream.unavailable', 'shed')) });
  await ours.clock.advance(15_000);
  t.equal(ours.sentAt.length, 1);
});

t.test('a failure after bytes were sent repeats a GET and never a POST', async (t) => {
  const broken = () =>
    Promise.reject(
      new GatewayError('gateway.upstream.unreachable', 'reset', {
        cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }),
      }),
    );
  const get = retried([], { send: broken });
  await get.clock.advance(15_000);
  t.equal(get.sentAt.length, 4);
  const post = retried([], { method: 'POST', send: broken });
  await post.clock.advance(15_000);
  t.same(post.sentAt, [0]);
  t.match(post.outcome, { error: { code: 'gateway.upstream.unreachable' } });
});

t.test('a caller that leaves ends the wait', async (t) => {
  const { clock, sentAt, outcome, request } = retried([() => createResponse(503)]);
  await clock.advance(500);
  request.leave();
  await clock.settle();
  t.match(outcome, { error: { statusCode: 499 } });
  await clock.advance(15_000);
  t.equal(sentAt.length, 1);
  t.equal(clock.pending, 0);
});

t.test('waits grow from the shortest to the longest and are spread over the whole range', async (t) => {
  const range = (retries: number) => [retryWaitMs(retries, 0, SETTINGS), retryWaitMs(retries, 1, SETTINGS)];
  t.same([0, 1, 2, 9].map(range), [
    [1000, 2000],
    [1000, 4000],
    [1000, 5000],
    [1000, 5000],
  ]);
  t.equal(retryWaitMs(0, 0.5, { waitMinMs: 3000, waitMaxMs: 1000 }), 3000, 'a minimum above the maximum wins');
});
