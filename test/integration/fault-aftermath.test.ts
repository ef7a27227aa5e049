// What the calls after a fault get: nothing of one answer in the next, no storm on a host that is gone, no refusal that was announced.

import t from 'tap';
import { givenTokenConfig } from '../helpers/direct.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { startGatewayWith } from '../helpers/gateway.ts';
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
      socket.write(isUsers ? refusal({ key: 'users.rate', value: 10 }) : ok('fine'));
    },
  });
  const { url, log } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  const first = await fetch(`${url}/api/v2/users?page=1`);
  t.equal(first.status, 429);
  t.equal(first.headers.get('x-gateway-error'), null, 'the platform’s own answer');
  t.equal(first.headers.get('retry-after'), '60');
  const startedAt = performance.now();
  const held = await fetch(`${url}/api/v2/users?page=2`);
  t.ok(performance.now() - startedAt < 200, 'at once');
  t.equal(held.headers.get('x-gateway-error'), 'gateway.rate.limited');
  t.equal(held.headers.get('retry-after'), '60', 'what is left of it, rounded up');
  t.match(await held.json(), { code: 'gateway.rate.limited', status: 429, message: /\/api\/v2\/users/ });
  t.equal((await fetch(`${url}/api/v2/routing/queues`)).status, 200, 'other routes go on');
  t.equal((await fetch(`${url}/api/v2/users`, { method: 'DELETE' })).status, 200, 'and other methods');
  t.equal(upstream.seen.length, 3, 'the held call was not sent');
  t.match(log.exchanges[1], { status: 429, attempts: 0, errorCode: 'gateway.rate.limited', source: 'gateway' });
});

t.test('a host that refuses connections is dialled five times, then left alone, and found again', async (t) => {
  const upstream = await startHostileUpstream(t, { onRequest: (socket) => void socket.write(ok('back')) });
  await upstream.stopListening();
  const { url } = await startGatewayWith(t, givenTokenConfig(upstream.origin, { retry: { max: 0, waitMinMs: 5, waitMaxMs: 20 } }));
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
    t.same(new Set(statuses), new Set([200]), `round ${round}: ${statuses.filter((status) => status !== 200).length} of 60 refused`);
  }
});
