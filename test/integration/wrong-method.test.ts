// A local address asked with a method it does not have: 405 and the methods it has, and nothing to those who may not
// know of it.

import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { change, startAdminGateway } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createTestLog, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

const ROUTES = [
  ['/', 'GET, HEAD'],
  ['/livez', 'GET, HEAD'],
  ['/readyz', 'GET, HEAD'],
  ['/metrics', 'GET, HEAD'],
  ['/-/status', 'GET, HEAD'],
  ['/-/reload', 'POST'],
  ['/-/quit', 'POST'],
  ['/-/credentials/default/refresh', 'POST'],
  ['/-/login/default', 'GET, POST'],
  ['/-/callback', 'GET, POST'],
  ['/oauth/token', 'POST'],
  ['/login/oauth/token', 'POST'],
  ['/default/oauth/token', 'POST'],
  ['/oauth/authorize', 'GET, HEAD'],
  ['/logout', 'GET, HEAD'],
] as const;

const asked = async (url: string, method: string, headers: Record<string, string> = {}, body?: string) => {
  const answer = await fetch(url, { method, headers, ...(body !== undefined && { body }) });
  return {
    status: answer.status,
    code: answer.headers.get('x-gateway-error'),
    allow: answer.headers.get('allow'),
    text: await answer.text(),
  };
};

t.test('every local route answers other methods by 405 and names its own', async (t) => {
  const { url, sandbox } = await startAdminGateway(t);
  for (const [path, allow] of ROUTES) {
    for (const method of [
      'PUT',
      'DELETE',
      ...(allow.includes('GET') ? [] : ['GET']),
      ...(allow.includes('POST') ? [] : ['POST']),
    ]) {
      const answer = await asked(url + path, method);
      t.match(answer, { status: 405, code: 'gateway.request.invalid', allow }, `${method} ${path}`);
      t.match(answer.text, `not ${method}`);
    }
  }
  t.equal(sandbox.stats.tokensIssued, 1, 'and does nothing');
  t.equal((await asked(`${url}/livez`, 'GET')).status, 200);
});

t.test('a body of any type is no reason for another answer, and the connection goes on', async (t) => {
  const { url, port } = await startAdminGateway(t);
  for (const type of ['application/xml', 'application/json', 'application/x-www-form-urlencoded']) {
    t.match(await asked(`${url}/-/status`, 'POST', { 'content-type': type }, '<'), { status: 405 }, type);
    t.match(
      await asked(`${url}/nowhere`, 'POST', { 'content-type': type }, '<'),
      { status: 404, code: 'gateway.route.not.found' },
      type,
    );
  }
  const lines = ['PROPFIND /-/status HTTP/1.1', 'Host: localhost', 'Connection: close', '', ''];
  const answer = parseAnswer(await exchangeRaw(port, lines.join('\r\n')));
  t.equal(answer.status, 405);
  t.equal(headerOf(answer, 'Allow'), 'GET, HEAD');
});

t.test('the token endpoint says it in the shape of OAuth', async (t) => {
  const { url } = await startGateway(t);
  const { status, allow, text } = await asked(`${url}/oauth/token`, 'GET');
  t.match({ status, allow }, { status: 405, allow: 'POST' });
  t.match(JSON.parse(text), { error: 'invalid_request', error_description: /POST/ });
});

t.test('whoever may not see a route is not told that there is one', async (t) => {
  const clients = [clientNamed('crm'), clientNamed('boss', { isAdmin: true })];
  const { url } = await startAdminGateway(t, { overrides: { clients } });
  for (const path of [
    '/',
    '/-/status',
    '/-/reload',
    '/-/login/default',
    '/metrics',
    '/-/credentials/default/refresh',
  ]) {
    t.match(await asked(url + path, 'PUT'), { status: 401, code: 'gateway.client.unauthenticated', allow: null }, path);
    t.match(
      await asked(url + path, 'PUT', { 'x-gateway-key': 'crm-secret' }),
      { status: 403, code: 'gateway.client.forbidden', allow: null },
      path,
    );
    t.match(await asked(url + path, 'PUT', { 'x-gateway-key': 'boss-secret' }), { status: 405 }, path);
    const foreign = { origin: 'https://evil.example', 'x-gateway-key': 'boss-secret' };
    t.match(
      await asked(url + path, 'PUT', foreign),
      { status: 403, code: 'gateway.origin.forbidden', allow: null },
      path,
    );
  }
  const plain = await startGateway(t);
  for (const path of ['/', '/-/status', '/metrics']) {
    t.match(
      await asked(plain.url + path, 'PUT'),
      { status: 404, code: 'gateway.route.not.found', allow: null },
      `${path} where calls alone are served`,
    );
  }
});

t.test("an embedding program's routes are treated alike", async (t) => {
  const { config } = await startGateway(t);
  const gateway = await createGateway(config, {
    log: createTestLog(),
    env: {},
    plugins: [
      (app) => app.get('/hello', async () => ({})),
      (app) => app.get('/greetings/:name', async ({ params }) => params),
    ],
  });
  t.teardown(() => gateway.drain());
  const [url] = await gateway.listen();
  t.match(await asked(`${url}/hello`, 'POST'), { status: 405, allow: 'GET, HEAD' });
  t.match(await asked(`${url}/hello2`, 'POST'), { status: 404 });
  t.same(await (await fetch(`${url}/greetings/ada`)).json(), { name: 'ada' });
  t.match(await asked(`${url}/greetings/ada`, 'PUT'), { status: 405, allow: 'GET, HEAD' });
});

t.test('a reload where there is no configuration file says so, to those who may reload', async (t) => {
  const { url } = await startAdminGateway(t);
  for (const body of [undefined, '', 'x']) {
    const answer = await change(
      `${url}/-/reload`,
      body,
      body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' },
    );
    t.equal(answer.status, 400);
    t.match(await answer.json(), {
      code: 'gateway.request.invalid',
      message: /no configuration file that it reads again.*gcg serve --config FILE/,
    });
  }
  t.match(
    await asked(`${url}/-/reload`, 'POST'),
    { status: 403, code: 'gateway.origin.forbidden' },
    'without X-Gateway-Request',
  );
  const guarded = await startAdminGateway(t, { overrides: { clients: [clientNamed('crm')] } });
  t.equal((await change(`${guarded.url}/-/reload`)).status, 401);
  t.equal((await change(`${guarded.url}/-/reload`, undefined, { 'x-gateway-key': 'crm-secret' })).status, 403);
});
