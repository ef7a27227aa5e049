// What the calls after a fault get: nothing of one answer in the next, no storm on a host that is gone, no refusal that
// was announced.

import { createServer } from 'node:http';
import t, { type Test } from 'tap';
import { givenTokenConfig } from '../helpers/direct.ts';
import { listenFor } from '../helpers/egress.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { startHostileUpstream } from '../helpers/hostile-upstream.ts';

const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

t.test('octets after a complete answer never become the next one', async (t) => {
  const upstream = await startHostileUpstream(t, {
    onRequest: (socket, nth) => void socket.write(`${ok(`answer-${nth}`)}${ok('poison')}`),
  });
  const { url } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  for (let nth = 1; nth <= 5; nth += 1) t.equal(await (await fetch(`${url}/api/v2/users`)).text(), `answer-${nth}`);
  t.equal(upstream.connections(), 5, 'each such connection is dropped');
});

t.test('a 429 that was passed on holds the same limit, and tells the rest of its Retry-After', async (t) => {
  const refusal = (limit: object) => {
    const body = JSON.stringify({ code: 'too.many.requests.retry.after', limit });
    return `HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  };
  const upstream = await startHostileUpstream(t, {
    onRequest(socket, nth) {
      const isUsers = upstream.seen[nth - 1]?.startsWith('GET /api/v2/users');
      socket.write(isUsers ? refusal({ key: 'users.rate.per.minute', value: 10 }) : ok('fine'));
    },
  });
  // Time stands still: whatever has to be waited for would never come.
  const { url, log } = await startGatewayWith(t, givenTokenConfig(upstream.origin), createFakeClock());
  const first = await fetch(`${url}/api/v2/users?page=1`);
  t.equal(first.status, 429);
  t.equal(first.headers.get('x-gateway-error'), null, 'the platform’s own answer');
  t.equal(first.headers.get('retry-after'), '60');
  const held = await fetch(`${url}/api/v2/users?page=2`);
  t.equal(held.headers.get('x-gateway-error'), 'gateway.rate.limited');
  t.equal(held.headers.get('retry-after'), '60', 'what is left of it');
  t.match(await held.json(), { code: 'gateway.rate.limited', status: 429, message: /\/api\/v2\/users/ });
  t.equal((await fetch(`${url}/api/v2/routing/queues`)).status, 200, 'other routes go on');
  t.equal((await fetch(`${url}/api/v2/users`, { method: 'DELETE' })).status, 200, 'and other methods');
  t.equal(upstream.seen.length, 3, 'the held call was not sent');
  t.match(log.exchanges[1], { status: 429, attempts: 0, errorCode: 'gateway.rate.limited', source: 'gateway' });
});

t.test('a host that refuses connections is dialled five times, then left alone, and found again', async (t) => {
  const upstream = await startHostileUpstream(t, { onRequest: (socket) => void socket.write(ok('back')) });
  await upstream.stopListening();
  const { url } = await startGatewayWith(
    t,
    givenTokenConfig(upstream.origin, { retry: { max: 0, waitMinMs: 5, waitMaxMs: 20 } }),
  );
  const codes: (string | null)[] = [];
  let retryAfter: string | null = null;
  for (let nth = 0; nth < 8; nth += 1) {
    const answer = await fetch(`${url}/api/v2/users`);
    codes.push(answer.headers.get('x-gateway-error'));
    retryAfter = answer.headers.get('retry-after');
    await answer.text();
  }
  t.same(codes, [...Array(5).fill('gateway.upstream.unreachable'), ...Array(3).fill('gateway.upstream.unavailable')]);
  t.match(retryAfter, /^[12]$/, 'when the next probe is due, in whole seconds');
  await upstream.listenAgain();
  let answer = await fetch(`${url}/api/v2/users`);
  while (answer.status === 503) {
    await answer.text();
    answer = await fetch(`${url}/api/v2/users`);
  }
  t.equal(await answer.text(), 'back');
});

t.test('once the host is back, calls made at the same time are not refused for the failures before', async (t) => {
  const upstream = await startHostileUpstream(t, { onRequest: (socket) => void socket.write(ok('back')) });
  await upstream.stopListening();
  const clock = createFakeClock();
  const { url } = await startGatewayWith(t, givenTokenConfig(upstream.origin), clock);
  const call = async (method: string) => (await fetch(`${url}/api/v2/users`, { method })).status;
  for (let nth = 0; nth < 8; nth += 1) await call('GET');
  t.equal(await call('GET'), 503);
  await upstream.listenAgain();
  await clock.advance(2_000);
  for (let round = 0; round < 3; round += 1) {
    const statuses = await Promise.all(Array.from({ length: 60 }, (_, nth) => call(nth % 2 ? 'GET' : 'POST')));
    t.same(
      new Set(statuses),
      new Set([200]),
      `round ${round}: ${statuses.filter((status) => status !== 200).length} of 60 refused`,
    );
  }
});

/** A platform whose login host fails whenever it is told to, with paths that answer 401 whatever the token is. */
async function startRefusing(t: Test, refused: Readonly<Record<string, string>>) {
  const clock = createFakeClock();
  const state = { isLoginDown: false, logins: 0 };
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      const refusal = refused[request.url?.split('?')[0] ?? ''];
      if (request.url === '/oauth/token') {
        if (state.isLoginDown) response.writeHead(503).end();
        else
          response.end(
            JSON.stringify({ access_token: `token-${++state.logins}`, token_type: 'bearer', expires_in: 86_400 }),
          );
      } else if (refusal !== undefined) response.writeHead(401).end(refusal);
      else response.end(request.headers.authorization);
    });
  });
  const origin = `http://127.0.0.1:${await listenFor(t, server)}`;
  const reauthentication = { refreshAccessToken: true, refreshTokenWaitMaxMs: 50 };
  const { url, log, gateway } = await startGatewayWith(t, configAt(origin, { reauthentication }), clock);
  const source = gateway.runtime().credentials.default()?.source;
  await source?.token();
  // Two token requests are a second apart.
  await clock.advance(1_000);
  const ask = async (path: string, method = 'GET') => {
    const answer = await fetch(url + path, { method, ...(method === 'POST' && { body: '{}' }) });
    return { status: answer.status, code: answer.headers.get('x-gateway-error'), body: await answer.text() };
  };
  return { ask, log, state, source };
}

const SPEAKS = '{"code":"bad.credentials"}';
const USERS = '/api/v2/users';
const ODD = '/api/v2/routing/queues';
const OTHER = '/api/v2/conversations';

for (const [what, method, body] of [
  ['a 401 that speaks of the token', 'GET', SPEAKS],
  ['a 401 without a readable code', 'GET', 'denied by a firewall'],
  ['an empty 401', 'POST', ''],
] as const) {
  t.test(`${what}, while the login host is down, costs its own call alone`, async (t) => {
    const { ask, state, source } = await startRefusing(t, { [ODD]: body });
    state.isLoginDown = true;
    for (let nth = 0; nth < 3; nth += 1) {
      t.match(
        await ask(ODD, method),
        { status: 503, code: 'gateway.credential.unavailable' },
        'no token to try it with again',
      );
      t.match(await ask(USERS), { status: 200, body: 'Bearer token-1' }, 'others go on');
      t.match(await ask('/readyz'), { status: 200 });
    }
    t.match(source?.state(), { token: 'suspect' });
    state.isLoginDown = false;
    await source?.refresh();
    t.match(await ask(USERS), { status: 200, body: 'Bearer token-2' });
    t.match(await ask(ODD, method), { status: 401, code: null }, 'for a minute its 401 passes');
    t.equal(state.logins, 2);
  });
}

t.test('a 401 to HEAD, which has no body, says nothing of the token: it passes', async (t) => {
  const { ask, state, source } = await startRefusing(t, { [ODD]: SPEAKS });
  for (const isLoginDown of [false, true]) {
    state.isLoginDown = isLoginDown;
    t.match(await ask(ODD, 'HEAD'), { status: 401, code: null });
    t.match(await ask(USERS), { status: 200, body: 'Bearer token-1' });
  }
  t.match([source?.state().token, state.logins], ['fresh', 1]);
});

t.test('a token refused on two routes is not used again', async (t) => {
  const { ask, log, state } = await startRefusing(t, { [ODD]: SPEAKS, [OTHER]: SPEAKS });
  state.isLoginDown = true;
  t.match(await ask(ODD), { status: 503 });
  t.match(await ask(`${ODD}?page=2`), { status: 503 }, 'the same route again');
  t.match(await ask(USERS), { status: 200 });
  t.match(await ask(OTHER), { status: 503 });
  t.match(await ask(USERS), { status: 503, code: 'gateway.credential.unavailable' });
  t.match(log.exchanges.at(-1), { attempts: 0 }, 'and was not sent');
});
