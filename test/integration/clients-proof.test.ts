import { hash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { fileSecret } from '../../src/config/secret-source.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { basic, clientNamed, credentialOf } from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';

const sha256 = (text: string) => hash('sha256', text);
const call = async (url: string, headers: Record<string, string> = {}, path = '/api/v2/users') => {
  const answer = await fetch(url + path, { headers });
  await answer.arrayBuffer();
  return { status: answer.status, code: answer.headers.get('x-gateway-error'), headers: answer.headers };
};

t.test('a client proves itself by Bearer, Basic or X-Gateway-Key, and its record names it', async (t) => {
  const { url, log } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  for (const [way, headers] of [
    ['Bearer', { authorization: 'Bearer crm-secret' }],
    ['bearer, odd case', { authorization: 'bearer  crm-secret' }],
    ['Basic', { authorization: basic('crm', 'crm-secret') }],
    ['key', { 'x-gateway-key': 'crm-secret' }],
    ['key beside a Bearer of its own', { 'x-gateway-key': 'crm-secret', authorization: 'Bearer crm-secret' }],
  ] as const) {
    const before = log.exchanges.length;
    t.equal((await call(url, headers)).status, 200, way);
    await log.nextExchange(() => log.exchanges.length > before);
    t.equal(log.exchanges.at(-1)?.client, 'crm', way);
  }
});

t.test('a wrong secret, a wrong name, an unknown key, a foreign name with a right secret: 401 with WWW-Authenticate', async (t) => {
  const { url, log } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  for (const headers of [
    { authorization: 'Bearer wrong' },
    { authorization: basic('crm', 'wrong') },
    { authorization: basic('erp', 'crm-secret') },
  ] as Record<string, string>[]) {
    const answer = await call(url, headers);
    t.match(answer, { status: 401, code: 'gateway.client.unauthenticated' });
    t.equal(answer.headers.get('www-authenticate'), 'Bearer realm="genesys-cloud-gateway"');
  }
  t.match(await call(url), { status: 401, code: 'gateway.client.unauthenticated' }, 'nothing at all');
  t.match(await call(url, { x_gateway_key: 'crm-secret' }), { status: 401 }, 'a look-alike header');
  t.notMatch(JSON.stringify(log.lines), /crm-secret/);
});

t.test('two hashes during rotation, and a secret file that changes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-clients-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'secret');
  writeFileSync(file, 'first\n');
  const clock = createFakeClock();
  const { url } = await startGateway(t, {
    clock,
    awaitReady: false,
    config: {
      clients: [clientNamed('crm', { secret: null, secretSha256: [sha256('old'), sha256('new')] }), clientNamed('erp', { secret: fileSecret(file) })],
    },
  });
  await clock.settle();
  const status = async (secret: string) => (await call(url, { 'x-gateway-key': secret }, '/-/nothing')).status;
  t.equal(await status('old'), 404, 'known, and there is no such page');
  t.equal(await status('new'), 404);
  t.equal(await status(sha256('new')), 401, 'the hash is not the secret');
  t.equal(await status('first'), 404);
  writeFileSync(file, 'second!');
  await clock.advance(1000);
  t.equal(await status('second!'), 404);
  t.equal(await status('first'), 401);
});

t.test('anonymous use ends on every listener once a client is configured; health stays open', async (t) => {
  const { url, gateway } = await startGateway(t, {
    config: { clients: [clientNamed('crm')], server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] } },
  });
  void gateway;
  t.equal((await call(url)).status, 401);
  t.equal((await call(url, {}, '/-/status')).status, 401);
  t.equal((await call(url, {}, '/whatever')).status, 401);
  for (const path of ['/livez', '/healthz', '/readyz']) t.equal((await call(url, {}, path)).status, 200, path);
});

t.test('anonymous_credentials keeps anonymous callers, with those credentials only', async (t) => {
  const { url, log } = await startGateway(t, {
    config: (origin) => ({
      clients: [clientNamed('crm', { credentials: ['other'] })],
      credentials: [credentialAt(origin), credentialOf(origin, 'other', DEMO_CLIENTS.clientCredentials)],
      server: { anonymousCredentials: ['default'] },
    }),
  });
  t.equal((await call(url)).status, 200);
  t.equal((await call(url, { authorization: 'Bearer whatever' })).status, 200, 'any other Bearer is anonymous');
  t.equal((await call(url, { authorization: 'Bearer ' })).status, 200, 'an empty one too');
  t.match(await call(url, { authorization: basic('crm', 'wrong') }), { status: 401 }, 'but a wrong proof is not');
  t.match(await call(url, { 'x-gateway-key': 'wrong' }), { status: 401 });
  t.match(await call(url, {}, '/other/api/v2/users'), { status: 403, code: 'gateway.client.forbidden' });
  t.equal((await call(url, { authorization: 'Bearer crm-secret' })).status, 200);
  t.match(await log.nextExchange(({ client }) => client === 'crm'), { credential: 'other' }, 'the first listed is its default');
});

t.test('start says that every local user can use an anonymous loopback listener, and is silent with clients', async (t) => {
  const open = await startGateway(t);
  t.ok(open.log.lines.some(({ level, msg }) => level === 'warn' && msg === 'anonymous callers are served'));
  const closed = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
  t.notOk(closed.log.lines.some(({ msg }) => msg === 'anonymous callers are served'));
});

t.test('a client is not asked for a Host of ours; an anonymous caller is', async (t) => {
  const { port } = await startGateway(t, { config: { clients: [clientNamed('crm')], server: { anonymousCredentials: ['default'] } } });
  const status = (headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) =>
      httpRequest({ host: '127.0.0.1', port, path: '/api/v2/users', headers: { host: 'gateway.example', ...headers } }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      })
        .on('error', reject)
        .end(),
    );
  t.equal(await status({}), 403);
  t.equal(await status({ authorization: 'Bearer crm-secret' }), 200);
  t.equal(
    await status({ authorization: 'Bearer crm-secret', origin: 'http://gateway.example', 'sec-fetch-site': 'same-origin' }),
    200,
    'its own origin',
  );
  t.equal(await status({ authorization: 'Bearer crm-secret', origin: 'https://evil.example' }), 403, 'a page stays outside with any proof');
});

t.test('repeated failures of a peer are answered later and later; a right secret never waits', async (t) => {
  const clock = createFakeClock();
  const { url } = await startGateway(t, { clock, awaitReady: false, config: { clients: [clientNamed('crm')] } });
  const wrong = () => call(url, { authorization: 'Bearer wrong' }, '/-/nothing');
  for (let i = 0; i < 3; i++) t.equal((await wrong()).status, 401, 'at once');
  let isAnswered = false;
  const fourth = wrong().then((answer) => {
    isAnswered = true;
    return answer;
  });
  t.equal((await call(url, { authorization: 'Bearer crm-secret' }, '/-/nothing')).status, 404, 'the right one passes meanwhile');
  t.equal(isAnswered, false);
  while (clock.pending === 0) await clock.settle();
  await clock.advance(250);
  t.equal((await fourth).status, 401);
});
