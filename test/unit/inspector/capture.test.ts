// A capture ends by itself and forgets by itself, and holds no more than it may; and the last look for secrets.

import t from 'tap';
import { Capture, type CaptureOrder } from '../../../src/inspector/capture.ts';
import { Fingerprints } from '../../../src/inspector/fingerprints.ts';
import { findLeak } from '../../../src/inspector/leak.ts';
import type { CaptureState } from '../../../src/inspector/wire.ts';
import { createBodyCapture } from '../../../src/logging/body-capture.ts';
import { CallTrace } from '../../../src/logging/call-trace.ts';
import { createExchangeRecord, type ExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { createLiveSecrets } from '../../../src/logging/redact/live-secrets.ts';
import { CANARY_KINDS, createCanaries } from '../../helpers/canary.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const ORDER: CaptureOrder = { what: 'bodies', matches: () => true, calls: 500, seconds: 900, by: 'boss' };

function setUp() {
  const clock = createFakeClock();
  let watchers = 0;
  const told: CaptureState[] = [];
  const capture = new Capture({
    clock,
    log: { info() {} },
    watch: () => {
      watchers += 1;
      return () => {
        watchers -= 1;
      };
    },
    mask: (text) => text,
    fingerprint: new Fingerprints().kept,
  });
  capture.onChange = (state) => told.push(state);
  let count = 0;
  const begin = (): ExchangeRecord => {
    count += 1;
    const record = createExchangeRecord(0);
    record.requestId = `r-${count}`;
    record.trace = new CallTrace(clock.monotonic);
    record.requestHeaders = ['Accept', '*/*', 'Authorization', 'Bearer abcdefgh'];
    capture.begun(record);
    return record;
  };
  const end = (record: ExchangeRecord, body = 'x') => {
    if (record.captured !== null) {
      const { maxBytes } = record.captured;
      record.captured.requestBody = createBodyCapture({ maxBytes, contentType: 'text/plain', contentEncoding: null });
      record.captured.requestBody.write(Buffer.from(body));
    }
    capture.ended(record, '{}');
    return capture.of(record.requestId);
  };
  return { clock, capture, begin, end, told, watchers: () => watchers };
}

t.test('it ends after its time, and what it kept is forgotten ten minutes later', async (t) => {
  const { clock, capture, begin, end, told, watchers } = setUp();
  t.equal(end(begin()), undefined, 'nothing is kept before');
  capture.start(ORDER);
  t.equal(watchers(), 1);
  const record = begin();
  t.match(end(record), {
    requestHeaders: [
      ['Accept', '*/*'],
      ['Authorization', /^\[redacted~/],
    ],
    requestBody: 'x',
  });
  const late = begin();
  await clock.advance(899_999);
  t.match(capture.state, { what: 'bodies', kept: 1 });
  await clock.advance(1);
  t.match(capture.state, { what: null, until: null, kept: 1 });
  t.equal(watchers(), 0, 'calls are not traced for its sake any more');
  t.same(
    told.map(({ what }) => what),
    ['bodies', null],
  );
  t.equal(end(late), undefined, 'what ends after it is not kept');
  await clock.advance(599_999);
  t.ok(capture.of(record.requestId));
  await clock.advance(1);
  t.equal(capture.of(record.requestId), undefined);
  t.equal(clock.pending, 0);
});

t.test(
  'a call that was refused before it went anywhere is kept with its headers, one from before the order is not',
  async (t) => {
    const { clock, capture } = setUp();
    const refused = (id: string): ExchangeRecord => {
      const record = createExchangeRecord(0);
      record.requestId = id;
      record.requestHeaders = ['X-Gateway-Key', 'wrong-secret-of-somebody'];
      record.trace = new CallTrace(clock.monotonic);
      return record;
    };
    const before = refused('before');
    await clock.advance(1);
    capture.start(ORDER);
    const during = refused('during');
    for (const record of [before, during]) capture.ended(record, '{}');
    t.match(capture.of('during'), { requestHeaders: [['X-Gateway-Key', /^\[redacted~/]] });
    t.equal(capture.of('before'), undefined);
    capture.ended(refused('not looked at'), null);
    t.match(capture.state, { kept: 1 });
    capture.close();
  },
);

t.test('it ends after its calls; another order takes its place and keeps what was kept', async (t) => {
  const { clock, capture, begin, end, watchers } = setUp();
  capture.start({ ...ORDER, calls: 2 });
  const running = begin();
  for (let at = 0; at < 2; at++) t.ok(end(begin()));
  t.match(capture.state, { what: null, kept: 2, left: 0 });
  t.equal(end(running), undefined);
  capture.start({ ...ORDER, what: 'headers' });
  const before = capture.state;
  await clock.advance(700_000);
  t.match(capture.state, { ...before, what: 'headers', kept: 2 }, 'the end of the first forgets nothing now');
  const second = begin();
  await clock.advance(10);
  capture.start(ORDER);
  t.equal(end(second), undefined, 'a call belongs to the order that it began under');
  t.equal(watchers(), 1);
  capture.close();
  t.equal(watchers(), 0);
  t.equal(clock.pending, 0);
});

t.test('it holds no more than 16 MiB, with what running calls may still come to', async (t) => {
  const { capture, begin, end } = setUp();
  capture.start(ORDER);
  const running = Array.from({ length: 200 }, begin);
  const taken = running.filter(({ captured }) => captured !== null).length;
  t.equal(taken, 128, 'of two bodies of 64 KiB each');
  t.equal(capture.state.missed, 72);
  const big = 'word '.repeat(40_000);
  for (const record of running) end(record, big);
  t.equal(capture.state.kept, 200, 'headers of those without room for bodies are kept');
  t.equal(begin().captured === null, false, 'there is room again');
});

t.test('the last look finds every secret in use in every encoding, and every shape of one', async (t) => {
  const canaries = createCanaries();
  const live = createLiveSecrets();
  for (const kind of CANARY_KINDS) live.add(canaries[kind]);
  for (const kind of CANARY_KINDS) {
    const secret = canaries[kind];
    const bytes = Buffer.from(secret);
    const forms: Record<string, string> = {
      raw: secret,
      percent: encodeURIComponent(secret),
      'percent throughout': bytes.toString('hex').replace(/../g, '%$&'),
      JSON: JSON.stringify(secret).slice(1, -1).replaceAll('/', '\\/'),
      'JSON in JSON': JSON.stringify(JSON.stringify({ secret })),
      hex: bytes.toString('hex'),
      HEX: bytes.toString('hex').toUpperCase(),
      base64: bytes.toString('base64'),
      'base64 among others': Buffer.from(`id:${secret};`).toString('base64'),
      base64url: Buffer.from(`ab${secret}`).toString('base64url'),
    };
    for (const [form, text] of Object.entries(forms))
      t.equal(findLeak(`{"a":"before ${text} after"}`, live)?.what, 'a secret in use', `${kind} ${form}`);
  }
  const none = { find: () => -1 };
  const shapes = {
    'a JSON Web Token': 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln',
    'a handle of this gateway': `gcgh_${'a1'.repeat(20)}`,
    'a token behind Bearer': `Bearer ${'aB3-'.repeat(8)}`,
    'a password behind Basic': `basic ${Buffer.from('somebody:password').toString('base64')}`,
  };
  for (const [what, text] of Object.entries(shapes)) t.equal(findLeak(`x ${text} y`, none)?.what, what);
  for (const text of [
    'send its secret as Bearer, or in X-Gateway-Key',
    'Bearer [redacted~BBBBBBBBBB] and gcgh_[redacted~BBBBBBBBBB]',
    'the metric gcg_requests_total; basic authentication is taken',
    '{"tokenFingerprint":"0123456789ab"}',
  ])
    t.equal(findLeak(text, none), null, text);
});
