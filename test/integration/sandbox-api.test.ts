import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { exchangeRaw, start } from '../unit/sandbox/harness.ts';

t.test('no, unknown and expired tokens get their own 401, with contextId equal to the correlation id', async (t) => {
  const { call, sandbox, clock } = await start(t);
  const { value } = sandbox.issueToken({ lifetimeS: 60 });
  t.equal((await call('/api/v2/tokens/me', { token: value })).status, 200);
  clock.advance(60_000);
  for (const [token, code] of [
    ['', 'authentication.required'],
    ['nonsense', 'bad.credentials'],
    [value, 'credentials.expired'],
  ] as const) {
    const { status, body, headers } = await call('/api/v2/tokens/me', { token });
    t.equal(status, 401);
    t.match(body, {
      message: String,
      code,
      status: 401,
      contextId: headers.get('inin-correlation-id') ?? '-',
      details: [],
      errors: [],
    });
  }
  t.match(sandbox.stats, {
    unauthenticatedCalls: 1,
    unknownTokenCalls: 1,
    expiredTokenCalls: 1,
    apiCalls: { 200: 1, 401: 3 },
  });
});

t.test('an empty Bearer is no token, and two Authorization lines are refused', async (t) => {
  const { origin, sandbox } = await start(t);
  const ask = (lines: string) =>
    exchangeRaw(origin, `GET /api/v2/tokens/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines}\r\n`);
  t.match(await ask('Authorization: Bearer \r\n'), /^HTTP\/1\.1 401 .*authentication\.required/s);
  const bearer = `Authorization: Bearer ${sandbox.issueToken().value}\r\n`;
  t.match(await ask(bearer), /^HTTP\/1\.1 200 /);
  t.match(await ask(bearer + bearer), /^HTTP\/1\.1 400 /);
});

t.test('tokens can be expired and revoked while they are in use', async (t) => {
  const { call, sandbox } = await start(t);
  const [one, two] = [sandbox.issueToken().value, sandbox.issueToken().value];
  t.equal(sandbox.revokeTokens(one), 1);
  t.equal((await call('/api/v2/tokens/me', { token: one })).body.code, 'bad.credentials');
  t.equal((await call('/api/v2/tokens/me', { token: two })).status, 200);
  t.equal(sandbox.expireTokens(), 1);
  t.equal((await call('/api/v2/tokens/me', { token: two })).body.code, 'credentials.expired');
  t.equal(sandbox.stats.validTokens, 0);
});

t.test('events name the token of a call by its serial number and tell the status', async (t) => {
  const { call, sandbox } = await start(t);
  const token = sandbox.issueToken();
  const ended = sandbox.events.next('answer');
  const { headers } = await call('/api/v2/tokens/me?x=1', { token: token.value });
  t.match(await ended, {
    kind: 'api',
    method: 'GET',
    target: '/api/v2/tokens/me?x=1',
    status: 200,
    tokenSerial: token.serial,
    clientId: token.clientId,
    correlationId: headers.get('inin-correlation-id') ?? '-',
  });
});

t.test('a caller can end its own token', async (t) => {
  const { call, sandbox } = await start(t);
  const token = sandbox.issueToken().value;
  t.equal((await call('/api/v2/tokens/me', { token, method: 'HEAD' })).status, 200);
  t.equal((await call('/api/v2/tokens/me', { token, method: 'DELETE' })).status, 200);
  t.equal((await call('/api/v2/tokens/me', { token, method: 'HEAD' })).status, 401);
});

t.test('users come in pages of at most 500, with links, and by id', async (t) => {
  const { call } = await start(t);
  const { body } = await call('/api/v2/users?pageSize=25&pageNumber=3');
  t.match(body, {
    pageSize: 25,
    pageNumber: 3,
    total: 60,
    pageCount: 3,
    previousUri: '/api/v2/users?pageSize=25&pageNumber=2',
  });
  t.equal(body.entities.length, 10);
  t.notOk('nextUri' in body);
  t.equal((await call('/api/v2/users?pageSize=500&pageNumber=0')).body.entities.length, 60);
  t.equal((await call('/api/v2/users?pageSize=501')).status, 400);
  const ids = body.entities.slice(0, 2).map((user: { id: string }) => user.id);
  t.same(
    (await call(`/api/v2/users?id=${ids.join(',')}&state=active`)).body.entities.map((user: { id: string }) => user.id),
    ids,
  );
});

t.test('a user can be created, changed with its version, read and deleted', async (t) => {
  const { call } = await start(t);
  const send = (method: string, path: string, value: unknown) =>
    call(path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });
  const created = (await send('POST', '/api/v2/users', { name: 'Zoë', email: 'zoe@example.org' })).body;
  t.match(created, { name: 'Zoë', version: 1, state: 'active' });
  t.match(await send('POST', '/api/v2/users', { name: 'Other', email: 'ZOE@example.org' }), {
    status: 409,
    body: { code: 'general.conflict' },
  });
  t.match((await send('PATCH', created.selfUri, { title: 'Lead', version: 1 })).body, { title: 'Lead', version: 2 });
  t.equal((await send('PATCH', created.selfUri, { title: 'Late', version: 1 })).status, 409);
  t.equal((await call(created.selfUri, { method: 'DELETE' })).status, 200);
  t.equal((await call(created.selfUri)).body.state, 'deleted');
  t.equal((await call('/api/v2/users')).body.total, 60);
});

t.test('a user with odd or endless texts is refused, and leaves nothing behind', async (t) => {
  const { call } = await start(t);
  const send = (method: string, path: string, value: unknown) =>
    call(path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });
  const good = { name: 'Zoë', email: 'zoe@example.org' };
  for (const odd of [
    { title: { toString: 1 } },
    { department: ['a'] },
    { name: 'x'.repeat(1001) },
    { email: 'nobody' },
    { email: 7 },
  ]) {
    t.equal((await send('POST', '/api/v2/users', { ...good, ...odd })).status, 400, Object.keys(odd).join());
    t.equal((await send('PATCH', '/api/v2/users/a11ce000-0000-4000-8000-000000000001', odd)).status, 400);
  }
  const taken = { email: 'bruno.okafor@simulated-org.example' };
  t.equal((await send('PATCH', '/api/v2/users/a11ce000-0000-4000-8000-000000000001', taken)).status, 409);
  t.match((await call('/api/v2/users')).body, { total: 60, entities: [{ name: 'Ada Lindqvist', version: 1 }] });
  const query = { interval: '+275760-09-13T00:00:00.000Z/+275760-09-13T00:00:00.000Z' };
  t.equal((await send('POST', '/api/v2/analytics/conversations/details/query', query)).status, 400);
});

t.test('client credentials have no user, a person has', async (t) => {
  const { call, sandbox } = await start(t);
  t.match(await call('/api/v2/users/me'), { status: 400, body: { message: /requires a user context/ } });
  const userId = 'a11ce000-0000-4000-8000-000000000002';
  const { value } = sandbox.issueToken({ clientId: DEMO_CLIENTS.code.id, userId });
  t.equal((await call('/api/v2/users/me', { token: value })).body.id, userId);
});

t.test('what the simulation does not know is 404 not.found, also with an odd path', async (t) => {
  const { call } = await start(t);
  for (const path of ['/api/v2/routing/queues', '/api/v2/100%', '/api/v2/users/a%2Fb', '/api/v2/users/', '/api/v2']) {
    t.match(await call(path), { status: 404, body: { code: 'not.found', status: 404 } }, path);
  }
  t.match(
    (await call('/api/v2/routing/queues?x=1')).body.message,
    /^The simulation does not have GET \/api\/v2\/routing\/queues;/,
  );
  t.match((await call('/api/v2/users/me', { method: 'PUT' })).body.message, /does not have PUT /);
  t.match((await call(`/api/v2/${'x'.repeat(5000)}`)).body.message.length < 300, true);
  t.match(
    (await call('/api/v2/users/a11ce000-0000-4000-8000-999999999999')).body.message,
    'The requested resource was not found.',
  );
  const elsewhere = await call('/elsewhere');
  t.equal(elsewhere.status, 404);
  t.match(elsewhere.headers.get('x-simulated-by'), /sandbox/);
});

t.test('bodies beyond 512000 bytes are refused on real routes, announced or not', async (t) => {
  const { call } = await start(t);
  const headers = { 'Content-Type': 'application/json' };
  t.equal((await call('/api/v2/users', { method: 'POST', headers, body: 'x'.repeat(512_001) })).status, 413);
  const body = new Blob(['x'.repeat(512_001)]).stream();
  t.equal((await call('/api/v2/users', { method: 'POST', headers, body, duplex: 'half' } as RequestInit)).status, 413);
  t.equal(
    (await call('/api/v2/users', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: '{}' })).status,
    415,
  );
  t.equal((await call('/api/v2/users', { method: 'POST', headers, body: '[]' })).status, 400);
});

t.test('gzip goes to those who ask, and only to them', async (t) => {
  const { call } = await start(t);
  t.equal(
    (await call('/api/v2/users', { headers: { 'Accept-Encoding': 'gzip' } })).headers.get('content-encoding'),
    'gzip',
  );
  for (const wanted of ['identity', 'gzip;q=0', 'gzip;q=0.0', 'br']) {
    t.equal(
      (await call('/api/v2/users', { headers: { 'Accept-Encoding': wanted } })).headers.get('content-encoding'),
      null,
      wanted,
    );
  }
});

t.test(
  'every answer carries the headers of the platform, says it is simulated, and sets cookies only when told',
  async (t) => {
    const { call, sandbox } = await start(t);
    const { headers } = await call('/api/v2/tokens/me', { headers: { Origin: 'http://app.example' } });
    t.match(headers.get('strict-transport-security'), /max-age=600/);
    t.match(headers.get('cache-control'), /no-store/);
    t.equal(headers.get('access-control-allow-origin'), '*');
    t.match(headers.get('x-simulated-by'), /sandbox/);
    t.equal(headers.get('set-cookie'), null);
    sandbox.set({ cookies: true });
    t.equal((await call('/api/v2/tokens/me')).headers.getSetCookie().length, 2);
  },
);

t.test('a preflight needs no token', async (t) => {
  const { call } = await start(t);
  const headers = {
    Origin: 'http://app.example',
    'Access-Control-Request-Method': 'GET',
    'Access-Control-Request-Headers': 'authorization,genesys-app',
  };
  const answer = await call('/api/v2/users', { method: 'OPTIONS', token: '', headers });
  t.equal(answer.status, 204);
  t.equal(answer.headers.get('access-control-allow-headers'), 'authorization,genesys-app');
});

t.test('the organisation, its permissions and a conversation query answer in their shapes', async (t) => {
  const { call } = await start(t);
  t.match((await call('/api/v2/organizations/me')).body, {
    name: 'Simulated Organization',
    thirdPartyOrgName: 'simulated-org',
  });
  t.match((await call('/api/v2/authorization/permissions')).body, { total: 6, entities: [{ domain: 'analytics' }] });
  const query = (value: unknown) =>
    call('/api/v2/analytics/conversations/details/query', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(value),
    });
  t.match((await query({ interval: '2026-01-01T00:00:00Z/2026-01-02T00:00:00Z' })).body, {
    totalHits: 3,
    conversations: [{ conversationStart: '2026-01-01T00:01:00.000Z' }],
  });
  t.equal((await query({})).status, 400);
});
