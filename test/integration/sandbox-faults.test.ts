import t from 'tap';
import { start } from '../unit/sandbox/harness.ts';

t.test("beyond the limit the answer is the platform's 429, until the window ends", async (t) => {
  const { call, sandbox, clock } = await start(t, { switches: { rateLimit: { perMinute: 2 } } });
  const token = sandbox.issueToken().value;
  await call('/api/v2/tokens/me', { token });
  await call('/api/v2/users', { token });
  clock.advance(10_000);
  const { status, body, headers } = await call('/api/v2/tokens/me', { token });
  t.equal(status, 429);
  t.equal(headers.get('retry-after'), '50');
  t.match(body, {
    message: 'Rate limit exceeded the maximum. Retry the request in [50] seconds',
    code: 'too.many.requests.retry.after',
    status: 429,
    contextId: headers.get('inin-correlation-id') ?? '-',
    details: [],
    errors: [],
    limit: { key: 'token.rate.per.minute', namespace: 'platform.api', value: 2 },
  });
  t.equal(sandbox.stats.rateLimitedCalls, 1);
  clock.advance(50_000);
  t.equal((await call('/api/v2/tokens/me', { token })).status, 200);
});

t.test('an endpoint can have a limit of its own, and Retry-After can be a date', async (t) => {
  const endpoints = [{ route: 'GET /api/v2/users/{userId}', perMinute: 1, key: 'users.get.rate.per.minute' }];
  const { call, sandbox } = await start(t, { switches: { rateLimit: { endpoints, retryAfterAs: 'date' } } });
  const token = sandbox.issueToken().value;
  const [ada, bruno] = ['a11ce000-0000-4000-8000-000000000001', 'a11ce000-0000-4000-8000-000000000002'];
  t.equal((await call(`/api/v2/users/${ada}`, { token })).status, 200);
  const refused = await call(`/api/v2/users/${bruno}`, { token });
  t.match(refused.body.limit, { key: 'users.get.rate.per.minute', value: 1 });
  t.equal(refused.headers.get('retry-after'), 'Thu, 01 Jan 2026 00:01:00 GMT');
  t.equal((await call('/api/v2/users', { token })).status, 200);
});

t.test('services have limits, of a token, of all tokens, by the size of pages, and they are listed', async (t) => {
  const services = [
    { namespace: 'directory', key: 'user.rate.per.minute', perMinute: 2, paths: ['/api/v2/users'] },
    { namespace: 'routing', key: 'org.rate.per.minute', perMinute: 3, paths: ['/api/v2/tokens'], isShared: true },
    {
      namespace: 'orgs',
      key: 'list.rate.per.minute',
      perMinute: 10,
      paths: ['/api/v2/organizations/me'],
      byPageSize: true,
    },
  ];
  const { call, sandbox } = await start(t, { switches: { rateLimit: { services } } });
  const [one, two] = [sandbox.issueToken().value, sandbox.issueToken().value];
  const statuses = async (path: string, tokens: readonly string[]) => {
    const seen: number[] = [];
    for (const token of tokens) seen.push((await call(path, { token })).status);
    return seen;
  };
  t.same(await statuses('/api/v2/users', [one, one, one, two]), [200, 200, 429, 200]);
  t.same(await statuses('/api/v2/tokens/me', [one, two, one, two]), [200, 200, 200, 429]);
  t.same(await statuses('/api/v2/organizations/me?pageSize=100', [one, one, one]), [200, 200, 429]);
  t.same(await statuses('/api/v2/organizations/me', [one, one, one]), [200, 200, 429]);
  const refused = await call('/api/v2/users', { token: one });
  t.match(refused.body.limit, { key: 'user.rate.per.minute', namespace: 'directory', value: 2 });
  const listed = async (name: string) =>
    (await call(`/api/v2/organizations/limits/namespaces/${name}`, { token: two })).body.entities;
  t.same(await listed('directory'), [{ key: 'user.rate.per.minute', namespace: 'directory', value: 2 }]);
  t.match(await listed('platform.api'), [
    { key: 'client.credentials.token.rate.per.minute', value: 300 },
    { key: 'token.rate.per.minute', value: 300 },
    { key: 'request.bytes.max', value: 512_000 },
  ]);
  sandbox.set({ rateLimit: { perMinute: 0, isUnnamed: true, retryAfterAs: 'none' } });
  const bare = await call('/api/v2/users', { token: one });
  t.equal(bare.status, 429);
  t.equal(bare.headers.get('retry-after'), null);
  t.notOk('limit' in bare.body);
});

for (const status of [500, 502, 503, 504] as const) {
  t.test(`${status} comes for the next calls only, in the platform's shape`, async (t) => {
    const { call } = await start(t, { switches: { serverError: { status, next: 1, retryAfterS: 3 } } });
    const failed = await call('/api/v2/users');
    t.equal(failed.status, status);
    t.match(failed.body, { status, code: String, contextId: failed.headers.get('inin-correlation-id') ?? '-' });
    t.equal(failed.headers.get('retry-after'), '3');
    t.equal((await call('/api/v2/users')).status, 200);
  });
}

t.test('a good token can be refused on every other call', async (t) => {
  const { call } = await start(t, { switches: { unauthorized: { every: 2 } } });
  t.same(
    [(await call('/api/v2/users')).status, (await call('/api/v2/users')).status, (await call('/api/v2/users')).status],
    [200, 401, 200],
  );
});

t.test('a cut answer never arrives whole', async (t) => {
  const { call, sandbox } = await start(t, { switches: { cutBody: { next: 3 } } });
  for (const path of [
    '/api/v2/users',
    '/api/v2/sandbox/bytes?size=300000',
    '/api/v2/sandbox/bytes?size=300000&chunked=1',
  ]) {
    const ended = sandbox.events.next('answer');
    await t.rejects(call(path), path);
    t.match(await ended, { status: 0 });
  }
  t.equal((await call('/api/v2/users')).status, 200);
  t.match(sandbox.stats.apiCalls, { closed: 3, 200: 1 });
});

t.test('the connection can be closed before any answer', async (t) => {
  const { call } = await start(t, { switches: { closeBeforeAnswer: { next: 1, method: 'POST' } } });
  t.equal((await call('/api/v2/users')).status, 200);
  await t.rejects(call('/api/v2/sandbox/sink', { method: 'POST', body: 'x' }));
});

t.test('calls can be held, seen in flight, and released', async (t) => {
  const { call, sandbox } = await start(t, { switches: { holdApi: {} } });
  const calls: Promise<{ status: number }>[] = [];
  for (let count = 1; count <= 3; count++) {
    const held = sandbox.events.next('held');
    calls.push(call('/api/v2/users'));
    t.match(await held, { kind: 'api', target: '/api/v2/users' });
  }
  t.equal(sandbox.stats.inFlight.api, 3);
  t.equal(sandbox.release(), 3);
  for (const answer of calls) t.equal((await answer).status, 200);
  t.equal(sandbox.stats.peak.api, 3);
});

t.test('latency is waited out, and a client that leaves meanwhile is noticed', async (t) => {
  const { origin, call, sandbox } = await start(t, { switches: { latencyMs: 30 } });
  const began = performance.now();
  t.equal((await call('/api/v2/users')).status, 200);
  t.ok(performance.now() - began >= 29);
  sandbox.set({ latencyMs: 3_600_000 });
  const leaving = new AbortController();
  const arrived = sandbox.events.next('request');
  const answer = fetch(`${origin}/api/v2/users`, {
    headers: { Authorization: `Bearer ${sandbox.issueToken().value}` },
    signal: leaving.signal,
  });
  answer.catch(() => {});
  await arrived;
  const ended = sandbox.events.next('answer');
  leaving.abort();
  t.match(await ended, { status: 0 });
});

t.test('closing ends what is held at once, and the same port can be listened on again', async (t) => {
  const { origin, call, sandbox, token } = await start(t, {
    switches: { holdApi: {}, tokenEndpoint: { fault: 'hang' } },
  });
  const held = sandbox.events.next('held');
  const [one, waiter] = [
    call('/api/v2/users'),
    sandbox.events.next('request', (request) => request.method === 'TRACE'),
  ];
  one.catch(() => {});
  waiter.catch(() => {});
  await held;
  const heldToken = sandbox.events.next('held');
  const two = token();
  two.catch(() => {});
  await heldToken;
  await sandbox.close();
  await t.rejects(one);
  await t.rejects(two);
  await t.rejects(waiter, /closed before the awaited request/);
  await t.rejects(call('/api/v2/users'));
  sandbox.set({ holdApi: null });
  t.equal((await sandbox.listen({ port: Number(new URL(origin).port) })).origin, origin);
  t.equal((await call('/api/v2/users')).status, 200);
});
