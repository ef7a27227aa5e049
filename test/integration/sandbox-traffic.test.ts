import { createHash } from 'node:crypto';
import t from 'tap';
import { exchangeRaw, start } from '../unit/sandbox/harness.ts';

t.test('echo tells the octets of the request, but not the token', async (t) => {
  const { origin, sandbox } = await start(t);
  const token = sandbox.issueToken().value;
  const raw = await exchangeRaw(
    origin,
    `PATCH /api/v2/sandbox/echo/a%2Fb%?x=1,2:3&y HTTP/1.1\r\nhOsT: x\r\nX-Odd_Name: a\r\nx-odd_name: ` +
      `b\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nContent-Length: 3\r\n\r\nabc`,
  );
  const body = JSON.parse(raw.slice(raw.indexOf('\r\n\r\n') + 4));
  t.match(body, { method: 'PATCH', target: '/api/v2/sandbox/echo/a%2Fb%?x=1,2:3&y', bodyBytes: 3 });
  t.same(body.rawHeaders.slice(0, 6), ['hOsT', 'x', 'X-Odd_Name', 'a', 'x-odd_name', 'b']);
  t.notMatch(raw, token);
  t.ok(sandbox.events.recent.at(-1)?.rawHeaders.includes(`Bearer ${token}`), 'the event, for tests, does show it');
});

t.test('bytes come in the asked number, octet i being i modulo 251, with or without a length', async (t) => {
  const { origin, sandbox } = await start(t);
  for (const [query, length] of [
    ['size=1000003', '1000003'],
    ['size=1000003&chunked=1', null],
  ] as const) {
    const response = await fetch(`${origin}/api/v2/sandbox/bytes?${query}`, {
      headers: { Authorization: `Bearer ${sandbox.issueToken().value}` },
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    t.equal(response.headers.get('content-length'), length);
    t.equal(bytes.length, 1_000_003);
    t.ok(bytes.every((octet, index) => octet === index % 251));
  }
});

t.test('HEAD of gigabytes answers at once, and a reader that leaves stops the stream', async (t) => {
  const { call, origin, sandbox } = await start(t);
  t.equal(
    (await call('/api/v2/sandbox/bytes?size=4294967296', { method: 'HEAD' })).headers.get('content-length'),
    '4294967296',
  );
  const response = await fetch(`${origin}/api/v2/sandbox/bytes?size=4294967296`, {
    headers: { Authorization: `Bearer ${sandbox.issueToken().value}` },
  });
  const reader = response.body?.getReader();
  await reader?.read();
  const ended = sandbox.events.next('answer');
  await reader?.cancel();
  t.match(await ended, { status: 0 });
  t.equal((await call('/api/v2/sandbox/bytes?size=9999999999')).status, 400);
});

t.test('the sink counts and digests bodies beyond the limit of real routes', async (t) => {
  const { call } = await start(t);
  const body = Buffer.alloc(3_000_000, 'genesys');
  const answer = await call('/api/v2/sandbox/sink', { method: 'POST', body });
  t.same(answer.body, { bytes: 3_000_000, sha256: createHash('sha256').update(body).digest('hex') });
});

t.test('gzip comes unasked', async (t) => {
  const { call } = await start(t);
  const answer = await call('/api/v2/sandbox/gzip', { headers: { 'Accept-Encoding': 'identity' } });
  t.equal(answer.headers.get('content-encoding'), 'gzip');
  t.equal(answer.body.encoding, 'gzip');
});

t.test('any final status can be had, with Location and Retry-After', async (t) => {
  const { call } = await start(t);
  t.match(await call('/api/v2/sandbox/status/204'), { status: 204, text: '' });
  t.match(await call('/api/v2/sandbox/status/418'), { status: 418, body: { code: 'sandbox.status.418' } });
  const moved = await call('/api/v2/sandbox/status/307?location=/api/v2/users&retryAfter=12', { redirect: 'manual' });
  t.equal(moved.status, 307);
  t.equal(moved.headers.get('location'), '/api/v2/users');
  t.equal(moved.headers.get('retry-after'), '12');
  t.equal((await call('/api/v2/sandbox/status/99')).status, 400);
  t.equal((await call('/api/v2/sandbox/status/302?location=%0d%0aX:y')).status, 400);
});
