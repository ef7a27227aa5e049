// Who decides whether a call has spans, and that they tell nothing of another session's logins.

import t from 'tap';
import { CallTrace } from '../../../src/logging/call-trace.ts';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import type { ReadableSpan } from '../../../src/tracing/span.ts';
import { SpanCounts } from '../../../src/tracing/span-counts.ts';
import { Spans } from '../../../src/tracing/spans.ts';
import { Tracer } from '../../../src/tracing/tracer.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { configAt, createTestLog } from '../../helpers/gateway.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

function makeTracer(settings: { sampleRatio?: number; parentBased?: boolean } = {}, random = () => 0.5) {
  const clock = createFakeClock();
  const { tracing } = configAt('http://127.0.0.1:1', { tracing: settings });
  const tracer = new Tracer('http://127.0.0.1:4318/v1/traces', tracing, {
    clock,
    random,
    log: createTestLog(),
    post: () => new Promise<never>(() => undefined),
    mask: (text) => text.replaceAll('secret-in-use', '[redacted]'),
    counts: new SpanCounts(),
  });
  const added: ReadableSpan[] = [];
  tracer.exporter.add = (spans) => void added.push(...spans);
  return { tracer, clock, added };
}

t.test('the sampled flag counts for some callers only, and chance for all others', async (t) => {
  const flags = [null, '00', '01', 'no'] as const;
  for (const sampleRatio of [0, 0.4, 0.6, 1])
    for (const parentBased of [true, false])
      for (const mayDecide of [true, false])
        for (const flag of flags) {
          const { tracer } = makeTracer({ sampleRatio, parentBased });
          const record = createExchangeRecord();
          const traceparent = flag === null ? undefined : `00-${TRACE}-${PARENT}-${flag}`;
          tracer.begin(record, { traceparent, mayDecide, isTls: false, hasOwnToken: true });
          const follows = parentBased && mayDecide && (flag === '00' || flag === '01');
          const expected = follows ? flag === '01' : 0.5 < sampleRatio;
          const row = JSON.stringify({ sampleRatio, parentBased, mayDecide, flag });
          t.equal(record.trace !== null, expected, row);
          if (!expected) continue;
          const isJoined = flag === '00' || flag === '01';
          t.equal(record.trace?.span?.parentId, isJoined ? PARENT : null, row);
          t.equal(record.traceId === TRACE, isJoined, row);
        }
});

t.test('a call that is watched already keeps its notes', async (t) => {
  const { tracer, clock } = makeTracer();
  const record = createExchangeRecord();
  const trace = new CallTrace(clock.monotonic);
  record.trace = trace;
  tracer.begin(record, { traceparent: undefined, mayDecide: true, isTls: false, hasOwnToken: true });
  t.equal(record.trace, trace);
  t.ok(trace.span);
});

const login = {
  credential: 'crm',
  grant: 'client_credentials',
  startedAt: 0,
  endedAt: 10,
  url: 'https://login.example.com/oauth/token',
  isOfSession: false,
};
const got = (tokenFingerprint: string) => ({
  ...login,
  result: 'success',
  statusCode: 200,
  errorCode: null,
  tokenFingerprint,
});
const failed = {
  ...login,
  result: 'refused',
  statusCode: 401,
  errorCode: 'gateway.credential.rejected',
  tokenFingerprint: null,
};

t.test(
  'a wait for a token is linked to the login of that token, or to those of its credential that failed',
  async (t) => {
    const rows = {
      'its token': { logins: [got('a'), got('b')], what: 'b', links: 1 },
      'a token that another instance got': { logins: [got('a')], what: 'c', links: 0 },
      'none came': { logins: [got('a'), failed, failed], what: null, links: 2 },
      'none came of another credential': { logins: [{ ...failed, credential: 'other' }], what: null, links: 0 },
      'none came, and a session had the same trouble': {
        logins: [{ ...failed, isOfSession: true }],
        what: null,
        links: 0,
      },
      'none came to a session': { logins: [failed], what: null, links: 0, hasOwnToken: false },
      'a failure long before': { logins: [{ ...failed, startedAt: -20, endedAt: -10 }], what: null, links: 0 },
      'more than can be': { logins: Array<typeof failed>(20).fill(failed), what: null, links: 8 },
    };
    for (const [name, { logins, what, links, ...more }] of Object.entries(rows)) {
      const { tracer, clock, added } = makeTracer({ sampleRatio: 0 });
      const record = createExchangeRecord();
      record.credential = 'crm';
      const hasOwnToken = !('hasOwnToken' in more);
      const traceparent = `00-${TRACE}-${PARENT}-01`;
      tracer.begin(record, { traceparent, mayDecide: true, isTls: false, hasOwnToken });
      for (const one of logins) tracer.tokenRequest(one);
      t.equal(added.length, 0, 'a login that is not sampled is kept back');
      await clock.advance(10);
      record.trace?.waited('token', 0, what);
      tracer.ended(record);
      const wait = added.find((span) => span.name === 'wait for token');
      t.equal(wait?.links.length, links, name);
      t.equal(added.filter((span) => span.name === 'POST /oauth/token').length, links, 'what is linked to is exported');
    }
  },
);

t.test('values of secrets are masked wherever names may hold them', async (t) => {
  const { tracer, added } = makeTracer();
  const record = createExchangeRecord();
  tracer.begin(record, { traceparent: undefined, mayDecide: true, isTls: true, hasOwnToken: true });
  record.method = 'GET';
  record.client = 'secret-in-use';
  record.credential = 'secret-in-use';
  record.correlationId = 'x secret-in-use';
  record.limit = 'secret-in-use';
  record.trace?.waited('queue', 0, 'the limit of secret-in-use');
  tracer.tokenRequest({ ...got('a'), credential: 'secret-in-use' });
  tracer.ended(record);
  t.ok(added.length >= 3);
  t.notMatch(JSON.stringify(added), /secret-in-use/);
});

t.test('a call has so many spans at most, and says that some are left out', async (t) => {
  const { tracer, added } = makeTracer();
  const record = createExchangeRecord();
  tracer.begin(record, { traceparent: undefined, mayDecide: true, isTls: true, hasOwnToken: true });
  for (let i = 0; i < 200; i += 1) {
    record.trace?.waited('pause', 0);
    record.trace?.attempt().ended('ECONNRESET');
  }
  let made = 0;
  const newId = record.trace?.span?.newId as () => string;
  Object.assign(record.trace?.span ?? {}, {
    newId: () => {
      made += 1;
      return newId();
    },
  });
  tracer.ended(record);
  t.equal(added.length, 101);
  t.equal(made, 100, 'none is made to be left out');
  t.same(
    added.slice(1, 5).map(({ name }) => name.split(' ')[0]),
    ['wait', '_OTHER', 'wait', '_OTHER'],
  );
  t.match(added[0]?.attributes, { 'gcg.spans_left_out': true });
});

t.test('times follow a wall clock that is stepped', async (t) => {
  const { tracer, clock, added } = makeTracer();
  const call = () => {
    const record = createExchangeRecord();
    tracer.begin(record, { traceparent: undefined, mayDecide: true, isTls: true, hasOwnToken: true });
    tracer.ended(record);
    return added.at(-1)?.endTime[0];
  };
  const before = call() ?? 0;
  clock.stepWall(3_600_000);
  t.equal(call(), before + 3_600);
});

t.test('the end does not wait for what an earlier configuration left at a collector that hangs', async (t) => {
  const clock = createFakeClock();
  const spans = new Spans({
    clock,
    random: () => 0,
    log: createTestLog(),
    post: () => new Promise<never>(() => undefined),
    mask: undefined,
  });
  const at = (port: number) =>
    configAt('http://127.0.0.1:1', {
      tracing: { otlpEndpoint: `http://127.0.0.1:${port}/v1/traces`, timeoutMs: 60_000 },
    }).tracing;
  await spans.use(at(1));
  spans.tokenRequest(got('a'));
  await clock.advance(6_000);
  await spans.use(at(2));
  let isOver = false;
  const closed = spans.close(500).then(() => {
    isOver = true;
  });
  await clock.advance(600);
  t.ok(isOver);
  await clock.advance(60_000);
  await closed;
});
