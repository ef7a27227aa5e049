// Two calls side by side: what is told as a difference, and what is none.

import fc from 'fast-check';
import t from 'tap';
import { compareCalls, lastGoodOf, repeatsOf, type Side } from '../../../src/inspector/compare.ts';
import type { Call } from '../../../src/inspector/wire.ts';
import { fakeCall } from '../../helpers/fake-inspector.ts';

const side = (fields: Partial<Call> = {}, captured?: Side['captured'], why: Side['why'] = null): Side => ({
  call: fakeCall(1, fields),
  why,
  ...(captured && { captured }),
});

const told = (rows: readonly { name: string; difference: string }[] | null) =>
  rows?.filter(({ difference }) => difference !== 'same').map(({ name, difference }) => `${difference} ${name}`);

t.test('outcome and culprit', (t) => {
  const { outcome } = compareCalls(
    side({ client: 'etl' }),
    side({ status: 429, source: 'gateway', errorCode: 'gateway.rate.limited', error: 'used up', durationMs: 3 }),
  );
  t.match(
    outcome.map(({ name, a, b }) => [name, a, b]),
    [
      ['status', '200', '429'],
      ['failed by', null, 'a rate limit'],
      ['code', null, 'gateway.rate.limited'],
      ['message', null, 'used up'],
      ['made by', 'Genesys Cloud', 'this gateway'],
      ['took', '43 ms', '3 ms'],
      ['answer', '100 bytes', '100 bytes'],
    ],
  );
  const same = compareCalls(side(), side());
  t.strictSame(told(same.outcome), []);
  t.strictSame(
    same.outcome.map(({ name }) => name),
    ['status', 'failed by', 'took', 'answer'],
  );
  t.end();
});

t.test('headers, parameters and fields by name, whatever their order', (t) => {
  const a = side(
    { path: '/api/v2/x?b=2&a=1&a=3&gone' },
    {
      requestHeaders: [
        ['Accept', 'x'],
        ['X-One', '1'],
        ['X-Two', '2'],
      ],
      responseHeaders: [['Via', 'a']],
      responseBody: '{"id":"abc","list":[{"n":1}],"old":true,"same":"x y"}',
      requestBody: 'plain',
    },
  );
  const b = side(
    { path: '/api/v2/x?a=1&a=3&b=5&new=' },
    {
      requestHeaders: [
        ['x-two', '2'],
        ['accept', 'y'],
        ['X-New', ''],
      ],
      responseHeaders: [['via', 'a']],
      responseBody: '{"same":"z y","list":[{"n":"1"},{}],"id":7}',
      requestBody: 'plain',
    },
  );
  const found = compareCalls(a, b);
  t.strictSame(told(found.query), ['changed b', 'gone gone', 'added new']);
  t.strictSame(told(found.requestHeaders), ['changed accept', 'added x-new', 'gone x-one']);
  t.strictSame(told(found.responseHeaders), []);
  t.strictSame(told(found.responseBody), ['changed id', 'changed list[]', 'changed list[].n', 'gone old']);
  t.strictSame(told(found.requestBody), []);
  t.strictSame(compareCalls(side(), b).responseHeaders, null, 'not captured of both');
  t.strictSame(told(compareCalls(a, { ...b, captured: { requestBody: '{}' } }).requestBody), ['changed body']);
  t.end();
});

t.test('phases are paired by what they are, with or without a trace', (t) => {
  const attempt = { at: 0, ms: 30, wait: 20, body: 5 };
  const trace = {
    rules: 1,
    waits: [
      { for: 'queue', at: 1, ms: 7 },
      { for: 'token', at: 8, ms: 2 },
    ],
    attempts: [{ ...attempt, dial: { dns: 1, tcp: 2, tls: 3 } }, attempt],
    stalled: 4,
  } as const;
  t.strictSame(
    compareCalls(side({ trace }), side({ trace: { rules: 2, waits: [], attempts: [attempt], stalled: 0 } })).phases,
    [
      { name: 'rules of this gateway', a: 1, b: 2 },
      { name: 'waiting for a limit', a: 7, b: null },
      { name: 'waiting for a token', a: 2, b: null },
      { name: 'looking up the name', a: 1, b: null },
      { name: 'connecting', a: 2, b: null },
      { name: 'TLS', a: 3, b: null },
      { name: 'waiting for the answer', a: 40, b: 20 },
      { name: 'reading the answer', a: 10, b: 5 },
      { name: 'the caller did not read', a: 4, b: null },
    ],
  );
  t.match(compareCalls(side(), side({ queueMs: 5 })).phases[0], { name: 'waiting for a limit', a: 0, b: 5 });
  t.end();
});

t.test('a comparison is never more than what is there, and of a call with itself says nothing', (t) => {
  const text = fc.string({ maxLength: 12 });
  const headers = fc.array(fc.tuple(text, text), { maxLength: 4 });
  const sides = fc.record({
    call: fc
      .record({ path: text.map((query) => `/api/v2/x?${query}`), status: fc.nat(599) })
      .map((one) => fakeCall(1, one)),
    why: fc.constant(null),
    captured: fc.record({ requestHeaders: headers, responseBody: fc.oneof(text, fc.json({ maxDepth: 3 })) }),
  });
  fc.assert(
    fc.property(sides, sides, (a, b) => {
      const [one, other, self] = [compareCalls(a, b), compareCalls(b, a), compareCalls(a, a)];
      const all = (found: typeof one) => [found.outcome, found.query, found.requestHeaders, found.responseBody].flat();
      const turned = { same: 'same', changed: 'changed', added: 'gone', gone: 'added' } as const;
      return (
        all(self).every((row) => row?.difference === 'same') &&
        JSON.stringify(all(one).map((row) => row && [row.name, row.difference])) ===
          JSON.stringify(all(other).map((row) => row && [row.name, turned[row.difference]]))
      );
    }),
  );
  t.end();
});

t.test('what a call is compared with', (t) => {
  const calls = [
    fakeCall(1),
    fakeCall(2, { method: 'POST' }),
    fakeCall(3),
    fakeCall(4, { status: 500 }),
    fakeCall(5, { route: '/other' }),
    fakeCall(6, { status: 404 }),
    fakeCall(7, { replayOf: fakeCall(6).requestId }),
    fakeCall(8),
  ];
  t.equal(lastGoodOf(calls[5] as Call, calls)?.seq, 3);
  t.equal(lastGoodOf(calls[0] as Call, calls), undefined);
  t.strictSame(
    repeatsOf(calls[5] as Call, calls).map(({ seq }) => seq),
    [7],
  );
  t.strictSame(
    repeatsOf(calls[6] as Call, calls).map(({ seq }) => seq),
    [6],
  );
  t.end();
});
