// A call as an entry of an archive, as Markdown, and read back: from our own files, and from files of anybody.

import fc from 'fast-check';
import t from 'tap';
import { shapeOfBody } from '../../../src/inspector/body-shape.ts';
import { callMarkdown } from '../../../src/inspector/call-markdown.ts';
import { harEntry, harTimings } from '../../../src/inspector/har.ts';
import { HarError, readHar } from '../../../src/inspector/har-reader.ts';
import type { Attempt, Call, CallTrace, Why } from '../../../src/inspector/wire.ts';
import { problemsOfHar } from '../../helpers/har.ts';

const CALL: Call = {
  ...{ seq: 7, level: 'info', time: '2026-11-28T12:00:01.123Z', requestId: 'r-7', client: 'crm', credential: 'main' },
  ...{ method: 'GET', path: '/api/v2/users?expand=a%20b&x&=y', route: '/api/v2/users', status: 200 },
  ...{ durationMs: 500, upstreamMs: 100, tokenWaitMs: 20, queueMs: 30, attempts: 1, requestBytes: 0 },
  ...{ responseBytes: 12, source: 'upstream' as const, peer: '10.1.2.3', secretFingerprint: 'abcdef' },
};

const archiveOf = (...entries: object[]) =>
  JSON.stringify({ log: { version: '1.2', creator: { name: 'test', version: '1' }, entries } });

const ms = fc.oneof(fc.double({ min: 0, max: 1e5, noNaN: true }), fc.constant(0));
const maybe = fc.option(ms, { nil: undefined });
const attempts = fc.array(
  fc.record(
    {
      ...{ at: ms, ms, pool: maybe, send: maybe, wait: maybe, body: maybe, idle: maybe },
      dial: fc.option(fc.record({ dns: ms, tcp: ms, proxy: ms, tls: ms }, { requiredKeys: [] }), { nil: undefined }),
    },
    { requiredKeys: ['at', 'ms'] },
  ),
  { maxLength: 4 },
);
const traces = fc.option(
  fc.record({
    rules: ms,
    stalled: ms,
    attempts,
    waits: fc.array(fc.record({ at: ms, ms, for: fc.constantFrom('queue', 'token', 'pause') }), { maxLength: 4 }),
  }),
  { nil: undefined },
);

t.test('phases add up to the time, and none is negative, whatever was noted', async () => {
  fc.assert(
    fc.property(ms, ms, ms, ms, traces, (durationMs, upstreamMs, tokenWaitMs, queueMs, trace) => {
      const call = {
        ...CALL,
        durationMs,
        upstreamMs,
        tokenWaitMs,
        queueMs,
        ...(trace && { trace: trace as CallTrace }),
      };
      const problems = problemsOfHar(archiveOf(harEntry({ call, origin: 'https://h' }, 'none')));
      if (problems.length > 0) throw new Error(problems.join('; '));
    }),
  );
});

t.test('each phase has its time, in the words of the specification', async (t) => {
  const dial = { dns: 5, tcp: 10, proxy: 20, tls: 30 };
  const last: Attempt = { at: 300, ms: 180, pool: 15, dial, send: 1, wait: 80, body: 19, status: 200 };
  const trace: CallTrace = {
    rules: 3,
    waits: [
      { for: 'queue', at: 3, ms: 40 },
      { for: 'pause', at: 120, ms: 60 },
      { for: 'queue', at: 200, ms: 7 },
    ],
    attempts: [{ at: 43, ms: 70, status: 503 }, last],
    stalled: 9,
  };
  t.strictSame(harTimings({ ...CALL, trace }), {
    time: 500,
    timings: {
      ...{ blocked: 315, dns: 5, connect: 60, ssl: 30, send: 1, wait: 80, receive: 39 },
      ...{ _queue: 47, _token: 20, _pause: 60, _proxyConnect: 20, _readerStall: 9 },
    },
  });
  const { dial: _, ...reused } = last;
  t.match(harTimings({ ...CALL, trace: { ...trace, attempts: [{ ...reused, idle: 4_200 }] } }).timings, {
    ...{ dns: -1, connect: -1, ssl: -1, blocked: 315, wait: 80 },
  });
  t.match(harTimings(CALL).timings, { blocked: 50, wait: 100, receive: 350, dns: -1, _queue: 30, _readerStall: -1 });
});

t.test('what is read back is what was written, without what tells who a person is', async (t) => {
  const why: Why = { who: 'limit', title: 'a limit', text: 'used up', todo: ['wait'] };
  const trace: CallTrace = {
    rules: 1,
    stalled: 0,
    waits: [{ for: 'token', at: 1, ms: 2 }],
    attempts: [{ at: 3, ms: 4, dial: { tcp: 1 }, status: 429, retryAfter: 5_000 }],
  };
  const captured = {
    requestHeaders: [['Accept', '*/*']] as const,
    sentHeaders: [['host', 'h']] as const,
    responseHeaders: [['Content-Type', 'application/json']] as const,
    requestBody: '{"a":1}',
    responseBody: '{"b":"text of somebody"}',
  };
  const call: Call = { ...CALL, trace, retries: ['429'], platform: { code: 'x' }, aborted: true };
  const entry = harEntry({ call, captured, why, origin: 'https://api.test' }, 'full');
  const [read, ...others] = readHar(archiveOf(entry)).calls;
  t.strictSame(others, []);
  const { peer: _, secretFingerprint: __, ...left } = call;
  t.strictSame(read?.call, { ...left, seq: 1 });
  t.strictSame(read?.why, why);
  t.strictSame(JSON.parse(JSON.stringify(read?.captured)), JSON.parse(JSON.stringify(captured)));
  const shape = JSON.stringify(harEntry({ call, captured, origin: 'https://api.test' }, 'shape'));
  t.ok(shape.includes('string(16)') && !shape.includes('somebody'));
  t.notOk(JSON.stringify(harEntry({ call, captured, origin: 'https://api.test' }, 'none')).includes('string('));
});

t.test('the address is the one that was called, whichever credential its path names', async (t) => {
  const urlOf = (path: string) =>
    (harEntry({ call: { ...CALL, path }, origin: 'https://h' }, 'none').request as { url?: string }).url;
  t.equal(urlOf('/crm/api/v2/users?a=/b/api/v2/'), 'https://h/api/v2/users?a=/b/api/v2/');
  t.equal(urlOf('/api/v2/api/v2/x'), 'https://h/api/v2/api/v2/x');
  t.equal(urlOf('/api/v2/users'), 'https://h/api/v2/users');
});

t.test('an archive of another program is read as far as it goes', async (t) => {
  const file = readHar(
    archiveOf(
      {
        startedDateTime: '2026-01-01T00:00:00.000Z',
        time: 12,
        request: { method: 'POST', url: 'https://h:8/p/q?r=1#f', headers: [{ name: 'a', value: 'b' }], bodySize: -1 },
        response: { status: 201, content: { size: 3, text: 'abc' }, headers: [] },
        timings: { wait: 5 },
      },
      7 as unknown as object,
      { request: null },
    ),
  );
  t.match(file, { skipped: 2, creator: 'test 1', redaction: null, comment: '', filter: null });
  t.match(file.calls[0], {
    call: { method: 'POST', path: '/p/q?r=1', status: 201, upstreamMs: 5, requestBytes: 0, time: /00:00:00\.012Z$/ },
    why: null,
    captured: { requestHeaders: [['a', 'b']], responseBody: 'abc' },
  });
});

t.test('whatever a file holds, reading it ends, and what comes out is of the right kinds', async (t) => {
  for (const text of ['', '{', 'null', '[]', '7', '{"log":7}', '{"log":{"entries":{}}}', '\ufeff'])
    t.throws(() => readHar(text), HarError, text);
  t.throws(() => readHar(' '.repeat(64 * 1024 * 1024 + 1)), /larger than 64 MiB/);
  const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  t.equal(readHar(`{"log":{"entries":[{"request":{"method":"GET"},"_gcg":{"trace":${deep}}}]}}`).calls.length, 1);
  const many = readHar(`{"log":{"entries":[${'{"request":{}},'.repeat(12_000)}{}]}}`);
  t.same([many.calls.length, many.skipped], [10_000, 2_001]);
  const hostile =
    '{"log":{"entries":[{"__proto__":{"request":{"method":"X"}},"request":{"__proto__":{"method":"evil"},' +
    '"constructor":{"prototype":{"polluted":1}},"url":"javascript:alert(1)"},"_gcg":{"__proto__":{"client":"evil"},' +
    '"status":"200","durationMs":-1,"attempts":1e999,"retries":[1,{}],"time":"soon","source":"<b>"}}]}}';
  const { call } = readHar(hostile).calls[0] ?? {};
  t.match(call, { method: '', status: 0, durationMs: 0, attempts: 1, source: 'upstream', seq: 1 });
  t.notOk(call && ('client' in call || 'retries' in call));
  t.equal(({} as Record<string, unknown>).polluted, undefined);

  const kinds: Readonly<Record<string, string>> = {
    method: 'string',
    path: 'string',
    time: 'string',
    status: 'number',
  };
  const json = fc.jsonValue({ maxDepth: 4 });
  fc.assert(
    fc.property(json, json, json, json, (request, response, about, trace) => {
      const entry = {
        request: mix(request, 'method', about),
        response,
        _gcg: mix(about, 'trace', trace),
        _attempts: trace,
      };
      for (const { call: read } of readHar(archiveOf(entry)).calls)
        for (const [name, kind] of Object.entries(kinds)) {
          const value = read[name as keyof Call];
          if (typeof value !== kind) throw new Error(`${name} is ${JSON.stringify(value)}`);
        }
    }),
  );
});

/** An object with the value under a name, and what else the other holds. */
function mix(value: unknown, name: string, inner: unknown): object {
  return { ...(typeof value === 'object' ? value : {}), [name]: inner };
}

t.test('the shape of a body says which fields there are, and nothing of what is in them', async (t) => {
  const shape = (value: unknown) => JSON.parse(shapeOfBody(JSON.stringify(value)) ?? 'null');
  t.strictSame(
    shape({ id: 'x'.repeat(36), count: 7, on: true, none: null, state: 'active', list: [{ a: 1 }, {}, {}] }),
    {
      ...{ id: 'string(36)', count: 'number', on: 'boolean', none: null, state: 'active' },
      list: [{ a: 'number' }, '× 3'],
    },
  );
  t.strictSame(shape({ name: 'anna', firstName: 'anna', token: '[redacted~BBBBBBBBBB]' }), {
    ...{ name: 'string(4)', firstName: 'string(4)', token: '[redacted~BBBBBBBBBB]' },
  });
  t.strictSame(shape({ 'anna@example.org': 1, '4915112345678': 2 }), { '{key}': 'number' }, 'names may be data');
  t.equal(shapeOfBody('no json'), null);
  let deep: unknown = 'x';
  for (let depth = 0; depth < 2_000; depth++) deep = [deep];
  t.ok((shapeOfBody(JSON.stringify(deep)) ?? '').length < 200);
  const secret = 'Zebra-42';
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = shapeOfBody(JSON.stringify({ field: [value, { name: secret }], other: { text: secret } }));
      return text !== null && !text.includes(secret);
    }),
  );
});

t.test('a ticket holds the call as text, and nothing of it becomes markup', async (t) => {
  const text = callMarkdown(
    { ...CALL, path: '/api/v2/`x`/<img src=x>\n# heading', errorCode: 'gateway.rate.limited', retries: ['429'] },
    { who: 'limit', title: '[a](javascript:alert(1))', text: 'see https://x @all <b>', todo: ['`rm`\n- item'] },
    '0.1.0',
  );
  t.equal(text.split('\n').filter((line) => /^\s*(?:#|- item|<)/.test(line)).length, 0);
  t.ok(text.startsWith('**``GET /api/v2/`x`/<img src=x> # heading`` → 200**'));
  t.notMatch(text, /(?<!\\)[[(]|https:\/\/|(?<!\\)<b>/);
  t.match(text, /- took: `500 ms, 1 attempt, queue 30 ms, token 20 ms, platform 100 ms`/);
  const usual = callMarkdown(CALL, null, '1').split('\n').length;
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (path) => {
      const lines = callMarkdown({ ...CALL, path }, null, '1').split('\n');
      return (lines[0] ?? '').startsWith('**`') && lines.length === usual;
    }),
  );
});
