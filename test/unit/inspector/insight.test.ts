// What is made of calls, counters and changes of state over time: right numbers, in bounded memory, and nothing of
// others for whoever may see only calls of its own.

import fc from 'fast-check';
import t from 'tap';
import { CallTally, OTHER_CLIENTS } from '../../../src/inspector/call-tally.ts';
import { Counters } from '../../../src/inspector/counters.ts';
import { ReloadHistory } from '../../../src/inspector/reload-history.ts';
import { Series } from '../../../src/inspector/series.ts';
import { TokenLanes } from '../../../src/inspector/token-lanes.ts';
import type { Call, Rights } from '../../../src/inspector/wire.ts';
import type { Sample } from '../../../src/logging/metrics/metric-family.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const NOW = Date.UTC(2026, 0, 1, 12);
const ALL: Pick<Rights, 'sees' | 'client'> = { sees: 'all', client: 'ops' };
const OWN: Pick<Rights, 'sees' | 'client'> = { sees: 'own', client: 'ivr' };

function call(wish: Partial<Call> = {}): Call {
  return {
    ...{ seq: 1, level: 'info', time: new Date(NOW - 5_000).toISOString(), requestId: 'id', method: 'GET' },
    ...{ path: '/api/v2/users', route: '/api/v2/users', status: 200, durationMs: 10, upstreamMs: 8, tokenWaitMs: 0 },
    ...{ queueMs: 0, attempts: 1, requestBytes: 1, responseBytes: 2, source: 'upstream', credential: 'crm' },
    ...wish,
  };
}

function tallied(calls: readonly Partial<Call>[], rights = ALL): CallTally {
  const tally = new CallTally({ rights, from: NOW - 900_000, now: NOW });
  for (const wish of calls) tally.add(call(wish));
  return tally;
}

t.test('a route has its calls, failures, percentiles, bytes and answers 429', async (t) => {
  const durations = Array.from({ length: 100 }, (_, at) => ({ durationMs: 100 - at }));
  const [route] = tallied([
    ...durations,
    { status: 404, durationMs: 0, responseBytes: 40 },
    { status: 200, durationMs: 0, attempts: 3, retries: ['429', '503'] },
  ]).routes();
  t.match(route, { method: 'GET', route: '/api/v2/users', calls: 102, failures: 1, retries: 2, limited: 1 });
  t.strictSame([route?.p50, route?.p95, route?.p99], [49, 95, 99]);
  t.strictSame([route?.bytesIn, route?.bytesOut], [102, 242]);
  t.equal(route?.spark.at(-1)?.[0], 102, 'in the last part of the span');
});

t.test('percentiles are values that there were, in their order', async (t) => {
  const durations = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 60 });
  const isSound = (values: readonly number[]) => {
    const [route] = tallied(values.map((durationMs) => ({ durationMs }))).routes();
    if (route === undefined) return false;
    const { p50, p95, p99 } = route;
    return [p50, p95, p99].every((value) => values.includes(value)) && p50 <= p95 && p95 <= p99;
  };
  t.doesNotThrow(() => fc.assert(fc.property(durations, isSound)));
});

t.test('so many routes are told apart, and of the rest is said that there are more', async (t) => {
  const tally = tallied(Array.from({ length: 300 }, (_, at) => ({ route: `/api/v2/${at}` })));
  t.equal(tally.routes().length, 200);
  t.equal(tally.moreRoutes, 100);
});

t.test('a client has what failed by whom, what rules refuse or would, who made whom wait', async (t) => {
  const forbidden = { status: 403, source: 'gateway', errorCode: 'gateway.client.forbidden', attempts: 0 } as const;
  const tally = tallied([
    ...Array.from({ length: 9 }, () => ({ client: 'etl' })),
    { client: 'ivr', queueMs: 1_000 },
    { client: 'etl', ...forbidden, rule: 'deny[] = DELETE /**' },
    { client: 'etl', rule: 'deny[] = GET /**' },
    { client: 'ivr', status: 429, source: 'gateway', errorCode: 'gateway.rate.limited', attempts: 0 },
    { client: 'ivr', status: 429, attempts: 2, retries: ['429'] },
  ]);
  const [etl, ivr] = tally.clients();
  t.match(etl, { client: 'etl', calls: 11, failures: 1, culprits: { rule: 1 }, limitedByGateway: 0 });
  t.strictSame(etl?.denied, [{ rule: 'deny[] = DELETE /**', calls: 1 }]);
  t.strictSame(etl?.wouldBeDenied, [{ rule: 'deny[] = GET /**', calls: 1 }]);
  t.match(ivr, { client: 'ivr', calls: 3, culprits: { limit: 2 }, limitedByGateway: 1, limitedByPlatform: 2 });
  t.equal(ivr?.queueMs, 1_000);
  t.equal(ivr?.causedMs, 0, 'its own waiting is not caused to others');
  t.ok(Math.abs((etl?.causedMs ?? 0) - (1_000 * 10) / 13) < 1e-9, 'by its part of the attempts');
  t.ok(Math.abs((etl?.share ?? 0) + (ivr?.share ?? 0) - 1) < 1e-9);
});

t.test('the use of a limit is that of the last minute, by client, without what was refused', async (t) => {
  const old = new Date(NOW - 61_000).toISOString();
  const calls = [
    { client: 'etl' },
    { client: 'etl', route: '/api/v2/queues' },
    { client: 'ivr', attempts: 2, retries: ['429'] },
    { client: 'ivr', time: old },
    { client: 'etl', credential: 'other' },
  ];
  t.strictSame(tallied(calls).usedBy('crm', null), [
    { client: 'etl', calls: 2 },
    { client: 'ivr', calls: 1 },
  ]);
  t.strictSame(tallied(calls).usedBy('crm', ['GET /api/v2/queues']), [{ client: 'etl', calls: 1 }]);
  t.strictSame(tallied(calls).usedBy('nobody', null), []);
  t.strictSame(tallied(calls, OWN).usedBy('crm', null), [
    { client: OTHER_CLIENTS, calls: 2 },
    { client: 'ivr', calls: 1 },
  ]);
});

t.test('answers 429 count for the limit that they named, others for that of the token', async (t) => {
  const calls = [
    { limit: 'endpoint', status: 429 },
    { limit: 'endpoint', attempts: 2, retries: ['429'] },
    { attempts: 3, retries: ['429', '429'] },
    { limit: 'token', status: 429 },
  ];
  const of = (limit: string | null, credential: string | null = 'crm') =>
    tallied(calls).refusals(credential, limit, ['endpoint']).refusals;
  t.strictSame(of('endpoint'), { seen: 2, absorbed: 1, passed: 1 });
  t.strictSame(of(null), { seen: 3, absorbed: 2, passed: 1 });
  t.strictSame(of('endpoint', null), { seen: 2, absorbed: 1, passed: 1 }, 'of all credentials');
  t.strictSame(of('endpoint', 'other'), { seen: 0, absorbed: 0, passed: 0 });
  t.equal(tallied(calls).refusals('crm', 'endpoint', []).lastRefusalAt, call().time);
});

t.test('whoever sees only its own calls gets no name and no number of another', async (t) => {
  const secret = { client: 'secret-client', route: '/api/v2/secret-route', rule: 'deny[] = GET /secret-rule' };
  const tally = tallied([{ client: 'ivr', tokenWaitMs: 5 }, secret, { ...secret, status: 500, tokenWaitMs: 900 }], OWN);
  const all = JSON.stringify([tally.routes(), tally.clients(), tally.usedBy('crm', null), tally.waitedFor('crm')]);
  t.notMatch(all, 'secret');
  t.equal(tally.calls, 1);
  t.strictSame(tally.clients().length, 1);
  t.strictSame(tally.waitedFor('crm'), { calls: 1, ms: 5, longestMs: 5 });
});

t.test('a series adds up counters, keeps the largest of gauges, and says where nothing was noted', async (t) => {
  const series = new Series({ stepMs: 10, rows: 100, columns: 4 });
  for (const at of [0, 10, 20, 50]) {
    series.begin(at);
    series.write('calls', 'counter', 2);
    series.write('used', 'gauge', at);
  }
  const { columns, stepMs, from } = series.read(['calls', 'used', 'nobody'], 0, 59, 100);
  t.strictSame([from, stepMs], [10, 10]);
  t.strictSame(columns, { calls: [2, 2, null, null, 2], used: [10, 20, null, null, 50] });
  const merged = series.read(['calls', 'used'], 0, 59, 3);
  t.equal(merged.stepMs, 20);
  t.strictSame(merged.columns, { calls: [4, 2, 2], used: [10, 20, 50] });
});

t.test('a clock that is put back loses nothing, and one that leaps leaves a gap', async (t) => {
  const series = new Series({ stepMs: 10, rows: 10, columns: 4 });
  const write = (at: number) => {
    series.begin(at);
    series.write('calls', 'counter', 1);
  };
  [1_000, 950, 1_010].forEach(write);
  t.strictSame(series.read(['calls'], 990, 1_019, 10).columns.calls, [2, 1]);
  write(900_000);
  t.strictSame(series.read(['calls'], 899_900, 900_009, 10).columns.calls, [...Array(9).fill(null), 1]);
});

t.test('a series has so many columns, and one that is not written any more makes room', async (t) => {
  const series = new Series({ stepMs: 10, rows: 5, columns: 2 });
  series.begin(0);
  t.ok(series.write('a', 'counter', 1));
  t.ok(series.write('b', 'counter', 1));
  t.notOk(series.write('c', 'counter', 1));
  for (const at of [10, 20, 30, 40, 50]) {
    series.begin(at);
    series.write('a', 'counter', 1);
  }
  t.ok(series.write('c', 'counter', 1), 'in the place of b');
  t.strictSame(series.names, ['a', 'c']);
});

/** Metrics that a test sets. */
function fakeMetrics() {
  const metrics = new Map<string, Sample[]>();
  const sources = {
    samples: (name: string) => metrics.get(name) ?? [],
    used: () => Array.from({ length: 40 }, (_, at) => [`credential-${at}`, at] as const),
  };
  return { metrics, sources };
}

const requests = (client: string, status: string, value: number, route = '/api/v2/users'): Sample => {
  return { labels: { client, status, route }, value };
};

t.test('counters are noted every ten seconds by what they grew, without our own routes', async (t) => {
  const clock = createFakeClock();
  const counters = new Counters(clock);
  t.teardown(() => counters.close());
  const { metrics, sources } = fakeMetrics();
  metrics.set('gcg_requests_total', [requests('etl', '2xx', 100), requests('etl', '2xx', 5, '/-/status')]);
  counters.start(sources);
  metrics.set('gcg_requests_total', [
    ...[requests('etl', '2xx', 103), requests('etl', '429', 2), requests('ivr', '5xx', 1), requests('ivr', '404', 4)],
    requests('etl', '2xx', 500, '/-/status'),
  ]);
  await clock.advance(10_000);
  const last = (name: string) => counters.read(900_000, null).columns[name]?.at(-2);
  t.strictSame(['ok', 'limited', 'failed', 'refused'].map(last), [3, 2, 1, 4]);
  t.strictSame(['client:etl', 'client:ivr'].map(last), [5, 5]);
  metrics.set('gcg_requests_total', []);
  await clock.advance(10_000);
  t.strictSame(last('ok'), 0, 'what a reload forgot is no negative number');
  t.strictSame(Object.keys(counters.read(900_000, 'ivr').columns), ['client:ivr'], 'one client sees its own');
});

t.test('a day of the counters is 1.1 MB, whatever the number of clients and credentials', async (t) => {
  const clock = createFakeClock();
  const counters = new Counters(clock);
  t.teardown(() => counters.close());
  const { metrics, sources } = fakeMetrics();
  counters.start(sources);
  for (let round = 1; round < 6; round += 1) {
    const clients = Array.from({ length: 200 }, (_, at) => requests(`client-${at}`, '2xx', round));
    metrics.set('gcg_requests_total', clients);
    await clock.advance(10_000);
  }
  t.ok(counters.bytes <= 32 * 8_640 * 4, `${counters.bytes}`);
  const { columns } = counters.read(900_000, null);
  const clients = Object.keys(columns).filter((name) => name.startsWith('client:'));
  t.equal(clients.length, 12);
  const sum = clients.reduce((all, name) => all + (columns[name]?.at(-2) ?? 0), 0);
  t.equal(sum, 200, 'the rest is counted as others');
  t.equal(clock.pending, 1, 'one timer');
});

t.test('the lane of a token: its states, renewals and failed attempts, for a day', async (t) => {
  const lanes = new TokenLanes(NOW);
  const note = (at: number, from: [string, string], to: [string, string], errorCode: string | null = null) =>
    lanes.note(
      {
        ...{ credential: 'crm', fromToken: from[0], fromRenewal: from[1], toToken: to[0], toRenewal: to[1], errorCode },
      },
      NOW + at,
    );
  note(10, ['none', 'idle'], ['none', 'running']);
  note(20, ['none', 'running'], ['none', 'backoff'], 'gateway.credential.unavailable');
  note(30, ['none', 'backoff'], ['none', 'running']);
  note(40, ['none', 'running'], ['fresh', 'idle']);
  lanes.note(
    {
      ...{ credential: 'crm', number: 2, fromToken: 'none', fromRenewal: 'idle', toToken: 'fresh', toRenewal: 'idle' },
      errorCode: null,
    },
    NOW + 50,
  );
  const current = { token: 'fresh', renewal: 'idle' };
  const lane = lanes.of('crm', current, NOW + 60);
  t.equal(lane.states.length, 5, 'what it was before, and four changes; a second token is not followed');
  t.match(lane.states[0], { at: NOW, token: 'none' });
  t.strictSame(lane.marks, [
    { at: NOW + 20, kind: 'failed', code: 'gateway.credential.unavailable' },
    { at: NOW + 40, kind: 'renewed' },
  ]);
  t.strictSame(lanes.of('other', current, NOW).states, [{ at: NOW, ...current }], 'one that never changed');
  const later = lanes.of('crm', current, NOW + 2 * 86_400_000);
  t.match(later, { states: [{ at: NOW + 40, token: 'fresh' }], marks: [] }, 'a day later its state is left');
  for (let at = 0; at < 10_000; at += 1) note(at, ['none', 'running'], ['none', 'backoff'], 'x');
  t.ok(lanes.of('crm', current, NOW + 10_000).states.length <= 2_000, 'bounded');
  for (let at = 0; at < 500; at += 1)
    lanes.note(
      {
        ...{ credential: `c${at}`, fromToken: 'none', fromRenewal: 'idle', toToken: 'fresh', toRenewal: 'idle' },
        errorCode: null,
      },
      NOW,
    );
  t.equal(lanes.of('c0', { token: 'x', renewal: 'y' }, NOW).states[0]?.token, 'x', 'the oldest lane made room');
});

t.test('a reload is in the history once, with what was reported of it', async (t) => {
  const reloads = new ReloadHistory();
  const at = (ms: number) => new Date(NOW + ms).toISOString();
  reloads.note({ at: at(0), applied: true });
  const report = { at: at(3), applied: true, trigger: 'file', changed: ['log.level'] };
  reloads.note(report);
  reloads.note(report);
  t.strictSame(reloads.list(), [report]);
  for (let n = 1; n < 60; n += 1) reloads.note({ at: at(n * 60_000), applied: false, trigger: 'signal' });
  t.equal(reloads.list().length, 20);
  t.equal(reloads.list()[0]?.at, at(59 * 60_000), 'the newest first');
});
