// Refusals whose answers are odd: they pass as they came, and what is said of them is short and in our own words.

import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';

const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
const TOKEN = 'anAccessTokenOfTheHostilePlatform_7f3k2m9q4w8z';
const EXPLAIN = { 'x-gateway-explain': '1' };
const APP = 'https://app.example.com';

/** A gateway before a platform of our making; `asked` are the paths that it saw, tokens left out. */
async function started(t: Test, answer: RequestListener, clock = systemClock) {
  const asked: string[] = [];
  const platform = createServer((request, response) => {
    if (request.url?.startsWith('/oauth/token')) {
      const grant = { access_token: TOKEN, token_type: 'bearer', expires_in: 3600 };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(grant));
      return;
    }
    asked.push(request.url ?? '');
    answer(request, response);
  });
  await new Promise<void>((resolve) => platform.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    platform.closeAllConnections();
    platform.close();
  });
  const origin = `http://127.0.0.1:${(platform.address() as AddressInfo).port}`;
  const config = configAt(origin, {
    server: { adminListen: [FREE], corsOrigins: [APP] },
    credentials: [credentialAt(origin)],
  });
  const gateway = await startGatewayWith(t, config, clock);
  await gateway.gateway.runtime().credentials.default()?.source.token();
  const refusals = async () => {
    const status = await (await fetch(`${gateway.url}/-/status`)).json();
    return (status as { refusals: { explanation: string; count: number }[] }).refusals;
  };
  return { ...gateway, asked, refusals };
}

t.test('topics that are no texts: the answer passes whole, and what can be named is named', async (t) => {
  let body = '';
  const { url, log } = await started(t, (_request, response) => {
    response.setHeader('content-type', 'application/json').end(body);
  });
  const deep = `${'['.repeat(15_000)}"x"${']'.repeat(15_000)}`;
  for (const missing of ['[{"toString":1,"valueOf":1}]', `[${deep}]`, '[null,7,"routing:queue:view"]', '"abc"', '{}']) {
    body = `{"entities":[null,1,{"id":{},"missingPermissions":${missing}}]}`;
    const before = log.exchanges.length;
    const answer = await fetch(`${url}/api/v2/notifications/channels/c/subscriptions`, { method: 'PUT', body: '[]' });
    t.equal(answer.status, 200, missing.slice(0, 30));
    t.equal(await answer.text(), body);
    while (log.exchanges.length === before) await delay(1);
    const told = log.exchanges.at(-1)?.explanation ?? null;
    if (missing.includes('queue')) t.equal(told, 'the platform refused a topic: a topic (needs routing:queue:view)');
    else t.ok(told === null || told === 'the platform refused a topic: a topic', told ?? 'nothing');
  }
});

t.test("a 403 of any body passes, and the platform's own X-Gateway-Explain does not", async (t) => {
  const bodies: [string, Buffer | string, Record<string, string>][] = [
    ['huge', 'x'.repeat(300_000), {}],
    ['of a wrong encoding', '{"message":"a:b:c"}', { 'content-encoding': 'gzip' }],
    ['of an encoding nobody knows', Buffer.from([0xff, 0, 1]), { 'content-encoding': 'x-none' }],
    ['of wrong types', '{"message":{"a":1},"code":[],"messageParams":7}', {}],
    ['a list', '[[[]]]', {}],
    ['null', 'null', {}],
    ['empty', '', {}],
    ['with the token', JSON.stringify({ message: `needs a:b:${TOKEN} and ${TOKEN}` }), {}],
  ];
  let at = 0;
  const { url, refusals, asked } = await started(t, (_request, response) => {
    const [, body, headers] = bodies[at] as (typeof bodies)[0];
    response.writeHead(403, { ...headers, 'X-Gateway-Explain': 'lies', 'x-gateway-explain': 'more lies' }).end(body);
  });
  for (const [index, [what]] of bodies.entries()) {
    at = index;
    for (const method of ['GET', 'HEAD']) {
      const answer = await fetch(`${url}/api/v2/routing/queues`, {
        method,
        headers: { ...EXPLAIN, 'accept-encoding': 'identity', origin: APP },
      });
      t.equal(answer.status, 403, `${method}, ${what}`);
      t.match(answer.headers.get('x-gateway-explain'), /^getRoutingQueues needs/, `${method}, ${what}`);
      t.notMatch(answer.headers.get('x-gateway-explain'), TOKEN);
      t.match(answer.headers.get('access-control-expose-headers'), /X-Gateway-Explain/i, 'a page may read it');
      await answer.arrayBuffer().catch(() => null);
    }
    const unasked = await fetch(`${url}/api/v2/routing/queues`);
    t.equal(unasked.headers.get('x-gateway-explain'), null, 'nobody asked');
    await unasked.arrayBuffer().catch(() => null);
  }
  t.equal(asked.filter((path) => path === '/api/v2/authorization/subjects/me').length, 1, 'asked once a minute');
  t.equal((await refusals()).length, 1);
  t.notMatch(JSON.stringify(await refusals()), TOKEN);
});

t.test('a 403 that does not end, or comes slowly, is passed on all the same', async (t) => {
  const { url } = await started(t, (_request, response) => {
    response.writeHead(403, { 'content-type': 'application/json' }).write('{"message":"');
  });
  const answer = await fetch(`${url}/api/v2/routing/queues`, { headers: EXPLAIN });
  t.equal(answer.status, 403);
  t.match(answer.headers.get('x-gateway-explain'), /^getRoutingQueues needs/);
  await answer.body?.cancel();
});

t.test('what is granted is asked again a minute later: it may have failed, or roles may have changed', async (t) => {
  let later = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
  let granted: [number, unknown] = [500, {}];
  const { url, asked, refusals } = await started(
    t,
    (request, response) => {
      const [status, body] = request.url?.includes('/subjects/me') ? granted : [403, { message: 'no' }];
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    },
    clock,
  );
  const role = (action: string) => {
    const policies = [{ domain: 'routing', entityName: 'queue', actions: [action] }];
    return { grants: [{ role: { policies } }] };
  };
  const told = async (what: RegExp) => {
    let last = '';
    for (let i = 0; i < 300 && !what.test(last); i += 1) {
      await (await fetch(`${url}/api/v2/routing/queues`)).arrayBuffer();
      last = (await refusals())[0]?.explanation ?? '';
      await delay(10);
    }
    t.match(last, what);
  };
  const questions = () => asked.filter((path) => path.includes('/subjects/me')).length;
  await told(/^getRoutingQueues needs/);
  const failed = questions();
  t.ok(failed > 0);
  later = 61_000;
  granted = [200, role('add')];
  await told(/lack routing:queue:view/);
  const known = questions();
  await told(/lack routing:queue:view/);
  t.equal(questions(), known, 'not twice within a minute');
  later = 122_000;
  granted = [200, role('view')];
  await told(/which the roles of credential default grant/);
  later = 183_000;
  granted = [403, {}];
  await told(/which the roles of credential default grant/);
});
