// The exporter over a collector that is a function, and a clock that the test owns: what is sent when, what comes of
// each fault, what is bounded.

import t, { type Test } from 'tap';
import { GatewayError } from '../../../src/errors.ts';
import { inlineSecret, type SecretSource } from '../../../src/secret.ts';
import type { SpanPost } from '../../../src/tracing/call-tracer.ts';
import { INTERNAL, makeSpan, type SpanOrigin } from '../../../src/tracing/span.ts';
import { SpanCounts } from '../../../src/tracing/span-counts.ts';
import { SpanExporter } from '../../../src/tracing/span-exporter.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog } from '../../helpers/gateway.ts';
import { fieldsOf } from '../../helpers/otlp-receiver.ts';

type Answer = Awaited<ReturnType<SpanPost>>;

const origin = {
  resource: { attributes: { 'service.name': 'x' } },
  instrumentationScope: { name: 'test' },
} as unknown as SpanOrigin;

const spans = (count: number) =>
  Array.from({ length: count }, (_, at) =>
    makeSpan(
      {
        name: `span ${at}`,
        kind: INTERNAL,
        traceId: '1'.repeat(32),
        spanId: '2'.repeat(16),
        parentId: null,
        startedAt: at,
        endedAt: at,
        attributes: {},
        hasFailed: false,
      },
      origin,
    ),
  );

const answer = (statusCode: number, headers: Answer['headers'] = {}, body = Buffer.alloc(0)): Answer => ({
  statusCode,
  headers,
  body,
});

/** How many spans there are in a request. */
function spansIn(body: Uint8Array): number {
  const inner = (message: Buffer, wanted: number) =>
    fieldsOf(message).flatMap(([number, value]) => (number === wanted ? [value as Buffer] : []));
  return inner(Buffer.from(body), 1)
    .flatMap((resource) => inner(resource, 2))
    .flatMap((scope) => inner(scope, 2)).length;
}

function start(collector: (count: number) => Answer | Promise<Answer>, headerValue: SecretSource | null = null) {
  const clock = createFakeClock();
  const log = createTestLog();
  const counts = new SpanCounts();
  const requests: Parameters<SpanPost>[0][] = [];
  const sizes: number[] = [];
  let running = 0;
  let mostRunning = 0;
  const post: SpanPost = async (request) => {
    requests.push(request);
    sizes.push(spansIn(request.body));
    running += 1;
    mostRunning = Math.max(mostRunning, running);
    try {
      return await collector(requests.length);
    } finally {
      running -= 1;
    }
  };
  const exporter = new SpanExporter(
    { endpoint: 'https://otlp.example.com/v1/traces', headerName: 'x-key', headerValue, timeoutMs: 10_000 },
    { clock, random: () => 0.5, log, post, counts },
  );
  return { clock, log, counts, exporter, requests, sizes, mostRunning: () => mostRunning };
}

t.test('spans gather for a while, or until there are enough for a request; one request runs at a time', async (t) => {
  const { clock, exporter, sizes, counts, mostRunning } = start(() => answer(200));
  exporter.add(spans(10));
  await clock.advance(4_000);
  exporter.add(spans(10));
  t.strictSame(sizes, []);
  await clock.advance(1_000);
  t.strictSame(sizes, [20]);
  exporter.add(spans(200));
  exporter.add(spans(200));
  exporter.add(spans(200));
  await clock.advance(0);
  t.strictSame(sizes, [20, 256, 256], 'whole requests go at once, the rest waits');
  await clock.advance(5_000);
  t.strictSame(sizes, [20, 256, 256, 88]);
  t.equal(mostRunning(), 1);
  t.strictSame(counts.summary(), { sent: 620, dropped: 0 });
  t.equal(clock.pending, 0, 'no timer is left');
});

t.test('nothing is sent within the call that adds', async (t) => {
  const { exporter, requests, clock } = start(() => answer(200));
  exporter.add(spans(256));
  t.equal(requests.length, 0);
  await clock.advance(0);
  t.equal(requests.length, 1);
});

t.test('what waits is bounded, and the spans of a call stay together', async (t) => {
  const { clock, exporter, counts } = start(() => new Promise<never>(() => undefined));
  exporter.add(spans(256));
  await clock.advance(0);
  for (let i = 0; i < 300; i += 1) exporter.add(spans(7));
  t.equal(exporter.waiting, 2_044);
  t.strictSame({ ...counts.drops }, { queue_full: 300 * 7 - 2_044, refused: 0, undelivered: 0, ended: 0 });
});

t.test('the header of the collector is sent as it is now, without its outer blanks', async (t) => {
  let value = 'key-1\n';
  const source = { ...inlineSecret('x', 'test'), read: () => inlineSecret(value, 'test').read() };
  const { clock, exporter, requests } = start(() => answer(200), source);
  const sent = () => requests.at(-1)?.headers.slice(-2);
  exporter.add(spans(1));
  await clock.advance(5_000);
  t.strictSame(sent(), ['x-key', 'key-1']);
  value = 'key-2';
  exporter.add(spans(1));
  await clock.advance(5_000);
  t.strictSame(sent(), ['x-key', 'key-2']);
});

const partial = (rejected: number) => Buffer.from([0x0a, 0x03, 0x08, 0x80 | (rejected & 0x7f), rejected >> 7]);
const protobuf = { 'content-type': 'application/x-protobuf' };
const fails = (code: 'gateway.upstream.unreachable' | 'gateway.upstream.invalid' | 'gateway.upstream.tls') => () =>
  Promise.reject(new GatewayError(code, 'no'));

/** What a collector does with 200 spans: how often it is asked, what is sent, what is dropped, and how long it took. */
const ROWS: Readonly<
  Record<
    string,
    {
      collector: (count: number) => Answer | Promise<Answer>;
      asked: number;
      sent?: number;
      refused?: number;
      undelivered?: number;
      seconds?: number;
    }
  >
> = {
  'takes all': { collector: () => answer(200), asked: 1, sent: 200 },
  'takes some': { collector: () => answer(200, protobuf, partial(150)), asked: 1, sent: 50, refused: 150 },
  'takes fewer than none': { collector: () => answer(200, protobuf, partial(400)), asked: 1, sent: 0, refused: 200 },
  'answers nonsense': {
    collector: () => answer(200, protobuf, Buffer.from('\xff\xff<html>', 'latin1')),
    asked: 1,
    sent: 200,
  },
  'answers a page': {
    collector: () => answer(200, { 'content-type': 'text/html' }, Buffer.from('<p>')),
    asked: 1,
    sent: 200,
  },
  'does not know us': { collector: () => answer(401), asked: 1, refused: 200 },
  'is not there': { collector: () => answer(404), asked: 1, refused: 200 },
  'finds it too large': { collector: () => answer(413), asked: 1, refused: 200 },
  'sends us elsewhere': {
    collector: () => answer(307, { location: 'http://elsewhere.example' }),
    asked: 1,
    refused: 200,
  },
  breaks: { collector: () => answer(500), asked: 1, refused: 200 },
  'is busy once': { collector: (count) => answer(count === 1 ? 503 : 200), asked: 2, sent: 200, seconds: 0.75 },
  'says when': {
    collector: (count) => answer(count === 1 ? 429 : 200, { 'retry-after': '7' }),
    asked: 2,
    sent: 200,
    seconds: 7,
  },
  'says tomorrow': {
    collector: (count) => answer(count === 1 ? 429 : 200, { 'retry-after': '86400' }),
    asked: 2,
    sent: 200,
    seconds: 30,
  },
  'is busy': { collector: () => answer(503), asked: 5, undelivered: 200, seconds: 11.25 },
  'is away': { collector: fails('gateway.upstream.unreachable'), asked: 5, undelivered: 200, seconds: 11.25 },
  'is another one': { collector: fails('gateway.upstream.tls'), asked: 5, undelivered: 200, seconds: 11.25 },
  'answers too much': { collector: fails('gateway.upstream.invalid'), asked: 1, refused: 200 },
  hangs: { collector: () => new Promise<never>(() => undefined), asked: 5, undelivered: 200, seconds: 61.25 },
};

for (const [what, row] of Object.entries(ROWS)) {
  t.test(`a collector that ${what}`, async (t) => {
    const { clock, exporter, counts, requests, log } = start(row.collector);
    exporter.add(spans(200));
    await clock.advance(5_000);
    const from = clock.monotonic();
    let seconds = 0;
    while (counts.summary().sent + counts.summary().dropped < 200) {
      await clock.advance(250);
      seconds = (clock.monotonic() - from) / 1_000;
      if (seconds > 120) break;
    }
    t.equal(requests.length, row.asked);
    t.equal(counts.sent, row.sent ?? 0);
    t.match(
      { ...counts.drops },
      { queue_full: 0, refused: row.refused ?? 0, undelivered: row.undelivered ?? 0, ended: 0 },
    );
    t.equal(seconds, row.seconds ?? 0);
    t.equal(clock.pending, 0, 'nothing is left to do');
    const isFailure = row.asked > 1 || (row.refused === 200 && row.sent === undefined);
    t.equal(log.lines.filter(({ level }) => level === 'warn').length, isFailure ? 1 : 0);
    t.notMatch(JSON.stringify(log.lines), /elsewhere|html/, 'nothing of the collector is in the log');
  });
}

t.test('failures are told now and then, and the recovery once', async (t) => {
  let isBack = false;
  const { clock, exporter, log, counts } = start(() => answer(isBack ? 200 : 401));
  const minute = async () => {
    exporter.add(spans(1));
    await clock.advance(60_000);
  };
  for (let i = 0; i < 11; i += 1) await minute();
  t.strictSame(
    log.lines.map(({ level, msg }) => [level, msg]),
    Array(3).fill(['warn', 'spans are not delivered']),
  );
  t.match(log.lines[2]?.fields, { origin: 'https://otlp.example.com', reason: 'status 401', dropped: 11 });
  isBack = true;
  await minute();
  await minute();
  t.match(log.lines.slice(3), [{ level: 'info', msg: 'spans are delivered again' }]);
  t.match(counts.lastFailure, { reason: 'status 401' });
});

const close = async (t: Test, collector: (count: number) => Answer | Promise<Answer>, withinMs: number) => {
  const started = start(collector);
  const { exporter, clock } = started;
  exporter.add(spans(500));
  let isClosed = false;
  const closed = exporter.close(withinMs).then(() => {
    isClosed = true;
  });
  const from = clock.monotonic();
  while (!isClosed) await clock.advance(100);
  await closed;
  t.ok(clock.monotonic() - from <= withinMs + 100);
  t.equal(exporter.waiting, 0);
  exporter.add(spans(1));
  t.equal(started.counts.drops.ended > 0, true, 'what comes later is dropped');
  return started;
};

t.test('the end sends what waits', async (t) => {
  const { counts, requests } = await close(t, () => answer(200), 2_000);
  t.equal(requests.length, 2);
  t.equal(counts.sent, 500);
});

t.test('the end does not wait for a collector that hangs', async (t) => {
  const { counts } = await close(t, () => new Promise<never>(() => undefined), 2_000);
  t.equal(counts.sent, 0);
});

t.test('the end tries each request once', async (t) => {
  const { requests } = await close(t, () => answer(503), 2_000);
  t.equal(requests.length, 2);
});
