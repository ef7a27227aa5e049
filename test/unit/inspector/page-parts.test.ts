// The parts of the live page that need no browser: the reader of its feed, the calls that it keeps, its list, its
// addresses, and how it writes things.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { parseFilter } from '../../../src/inspector/filter.ts';
import { CallList, timeOf } from '../../../src/inspector/page/call-list.ts';
import { EventParser, type FeedEvent } from '../../../src/inspector/page/feed.ts';
import { duration, outcomeOf, pathParts, size, timeOfDay, visible } from '../../../src/inspector/page/format.ts';
import { hashOf, parsePlace } from '../../../src/inspector/page/place.ts';
import { CallStore } from '../../../src/inspector/page/store.ts';
import type { Call } from '../../../src/inspector/wire.ts';

const call = (seq: number, wish: Partial<Call> = {}) =>
  ({ seq, requestId: `id-${seq}`, status: 200, time: '2026-11-28T14:00:00.000Z', client: 'crm', ...wish }) as Call;

/** Pieces of a text, cut where the numbers say. */
function cut(text: string, at: readonly number[]): string[] {
  const cuts = [...new Set(at.map((n) => n % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => text.slice(from, cuts[index] ?? text.length));
}

t.test('events are read the same however the stream is cut, and whatever ends its lines', async (t) => {
  const word = fc.stringMatching(/^[a-z]{1,8}$/);
  const event = fc.record({
    event: word,
    data: fc.array(
      fc.string().map((text) => text.replace(/[\r\n]/g, '')),
      { minLength: 1, maxLength: 3 },
    ),
    id: word,
  });
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 5 }),
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.array(fc.nat(), { maxLength: 12 }),
      (events, end, cuts) => {
        const text = events
          .map(({ event, data, id }) =>
            [': ping', `event: ${event}`, `id: ${id}`, ...data.map((line) => `data: ${line}`), '', ''].join(end),
          )
          .join('');
        // A CR at the very end may still be the half of a line's end.
        const whole = end === '\r' ? `${text}:\n` : text;
        const parser = new EventParser();
        const found = cut(whole, cuts).flatMap((piece) => parser.push(piece));
        assert.deepEqual(
          found,
          events.map(({ event, data, id }): FeedEvent => ({ event, data: data.join('\n'), id })),
        );
      },
    ),
  );
  const parser = new EventParser();
  t.strictSame(parser.push('data\n\ndata:x\n\nretry: 1\nid: a\0b\nevent: e\n\n'), [
    { event: 'message', data: '', id: '' },
    { event: 'message', data: 'x', id: '' },
  ]);
  t.throws(() => parser.push('x'.repeat(17 * 1024 * 1024)), /line without an end/);
});

t.test('the store has each call once, in order, and the newest of them', async () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 20 }), { maxLength: 10 }), (frames) => {
      const store = new CallStore(10);
      const list = new CallList(store, () => 0);
      list.show(parseFilter('status:200'));
      store.listen((change) => list.take(change));
      const all = new Set<number>();
      for (const frame of frames) {
        store.add(frame.map((seq) => call(seq, { status: seq % 3 === 0 ? 404 : 200 })));
        for (const seq of frame) all.add(seq);
        const kept = store.calls.map(({ seq }) => seq);
        assert.deepEqual(
          kept,
          [...kept].sort((a, b) => a - b),
        );
        assert.equal(new Set(kept).size, kept.length);
        assert.ok(kept.length <= 10);
        assert.deepEqual(
          list.passed.map(({ seq }) => seq),
          kept.filter((seq) => seq % 3 !== 0),
          'and the list those that pass its filter',
        );
      }
    }),
  );
});

t.test('a list stands still while the store goes on', async (t) => {
  const store = new CallStore(5);
  const list = new CallList(store, () => Date.parse('2026-11-28T14:00:10Z'));
  store.listen((change) => list.take(change));
  list.show(parseFilter(''));
  store.add([call(1), call(2)]);
  list.stop(true);
  store.add([call(3), call(4), call(5), call(6), call(7)]);
  t.match(list, { isStill: true, isReading: true, newer: 5 });
  t.strictSame(
    list.shown.map(({ seq }) => seq),
    [1, 2],
    'also where the store has dropped them',
  );
  list.goOn();
  t.strictSame(
    list.shown.map(({ seq }) => seq),
    [3, 4, 5, 6, 7],
  );
  store.clear();
  t.equal(list.shown.length, 0);
  list.show(parseFilter('client:crm since:2026-11-28T14:00:00Z until:2026-11-28T14:00:05Z'));
  t.strictSame(timeOf(list.filter), { from: Date.parse('2026-11-28T14:00Z'), to: Date.parse('2026-11-28T14:00:05Z') });
  const late = call(9, { time: '2026-11-28T15:00:00.000Z' });
  store.add([late]);
  t.equal(list.passed.length, 0);
  t.strictSame(list.untimed([late, call(10, { client: 'etl' })]), [late], 'a chart counts it all the same');
  t.equal(timeOf(parseFilter('since:5m')), null);
});

t.test('addresses', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary', minLength: 1 }), (filter, id) => {
      assert.equal(parsePlace(hashOf('calls', { f: filter })).params.get('f') ?? '', filter);
      const { view, rest } = parsePlace(hashOf('call', {}, id));
      assert.deepEqual([view, rest], ['call', [id]]);
    }),
  );
  t.equal(
    hashOf('calls', { f: 'status:>=500 path:/users/**', w: '', cols: null }),
    '#/calls?f=status:>%3D500+path:/users/**',
  );
  for (const [hash, view] of [
    ['', ''],
    ['#', ''],
    ['#/calls', 'calls'],
    ['#/calls/', 'calls'],
    ['#/calls/a', 'call'],
    ['#/calls/%', 'call'],
    ['#/nothing/a', 'nothing'],
  ] as const)
    t.equal(parsePlace(hash).view, view, hash);
});

t.test('how things are written', async (t) => {
  for (const [ms, text] of [
    [0, '0 ms'],
    [0.44, '0.4 ms'],
    [48.2, '48 ms'],
    [999.6, '1000 ms'],
    [1240, '1.24 s'],
    [12_340, '12.3 s'],
    [123_000, '2 min 03 s'],
    [-1, '–'],
    [Number.NaN, '–'],
  ] as const)
    t.equal(duration(ms), text);
  for (const [bytes, text] of [
    [0, '0 B'],
    [999, '999 B'],
    [1804, '1.8 kB'],
    [29_400, '29 kB'],
    [5_000_000_000, '5.0 GB'],
  ] as const)
    t.equal(size(bytes), text);
  t.match(timeOfDay(Date.parse('2026-11-28T14:02:11.083Z')), /:02:11\.083$/);
  t.equal(timeOfDay(Number.NaN), '–');
  t.strictSame(
    pathParts('/api/v2/users/4f1c/presences/X?a=b', '/api/v2/users/{userId}/presences/{sourceId}').map(
      ({ text, kind }) => `${kind} ${text}`,
    ),
    ['base /api/v2', 'fixed /users/', 'own 4f1c', 'fixed /presences/', 'own X?a=b'],
  );
  t.strictSame(pathParts('/nowhere', 'other'), [{ text: '/nowhere', kind: 'fixed' }]);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (path, route) => {
      const text = pathParts(`/${path}`, route)
        .map((part) => part.text)
        .join('');
      assert.equal(text, visible(`/${path}`, Number.POSITIVE_INFINITY), 'nothing of a path is lost');
      assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/);
    }),
  );
  t.equal(visible('a\u202eb\nc'), 'a\\u202eb\\u000ac');
  t.match(visible('x'.repeat(3000)), /^x{2048}… \(3000 characters\)$/);
  for (const [wish, outcome] of [
    [{}, 'ok'],
    [{ status: 404 }, 'refused'],
    [{ status: 429 }, 'limited'],
    [{ status: 503 }, 'failed'],
    [{ status: 0 }, 'left'],
    [{ aborted: true }, 'left'],
    [{ errorCode: 'gateway.upstream.timeout' }, 'failed'],
  ] as const)
    t.equal(outcomeOf(call(1, wish)), outcome);
});
