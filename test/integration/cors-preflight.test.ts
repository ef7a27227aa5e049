import { request as httpRequest } from 'node:http';
import t from 'tap';
import { clientNamed, postToken } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';

const APP = 'https://app.example.com';

/** One request with headers that fetch would not let through. */
function send(port: number, method: string, path: string, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: Record<string, string | string[] | undefined>; body: string }>(
    (resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (chunk) => {
          body += chunk;
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
      });
      request.on('error', reject).end();
    },
  );
}
const asking = (origin: string) => ({
  origin,
  'access-control-request-method': 'DELETE',
  'access-control-request-headers': 'authorization,content-type',
});

t.test('a preflight of a listed origin is answered here, whoever asks and whatever for', async (t) => {
  const { port, sandbox, log } = await startGateway(t, {
    config: { server: { corsOrigins: [APP] }, clients: [clientNamed('crm')] },
  });
  const before = sandbox.events.recent.length;
  for (const path of ['/api/v2/users', '/oauth/token', '/default/api/v2/x', '/streaming/channels/x']) {
    const { status, headers, body } = await send(port, 'OPTIONS', path, {
      ...asking(APP),
      host: 'gateway.example',
      'access-control-request-private-network': 'true',
    });
    t.equal(status, 204, path);
    t.match(headers, {
      'access-control-allow-origin': APP,
      'access-control-allow-methods': /DELETE/,
      'access-control-allow-headers': 'authorization,content-type',
      'access-control-allow-private-network': 'true',
      'access-control-max-age': '600',
      vary: /Origin/,
    });
    t.notOk(headers['access-control-allow-credentials'], 'no cookies');
    t.equal(body, '');
  }
  t.equal(sandbox.events.recent.length, before);
  t.equal((await log.nextExchange()).status, 204);
});

t.test('origins are exact: no other scheme, port, subdomain, case or prefix is one of them', async (t) => {
  const { port } = await startGateway(t, { config: { server: { corsOrigins: [APP] } } });
  for (const origin of [
    'http://app.example.com',
    `${APP}:444`,
    `${APP}.evil.example`,
    'https://evil-app.example.com',
    'https://APP.example.com',
    'null',
    `${APP}/`,
    'https://sub.app.example.com',
  ]) {
    const preflight = await send(port, 'OPTIONS', '/api/v2/users', asking(origin));
    t.match([preflight.status, preflight.headers['x-gateway-error']], [403, 'gateway.origin.forbidden'], origin);
    const call = await send(port, 'GET', '/api/v2/users', { origin });
    t.equal(call.status, 403, origin);
    for (const answer of [preflight, call]) t.notOk(answer.headers['access-control-allow-origin'], origin);
  }
});

t.test('answers for a listed origin say so, passed on or made here, and keep the Vary of the upstream', async (t) => {
  const { port, url } = await startGateway(t, {
    config: { server: { corsOrigins: [APP], anonymousCredentials: ['default'] }, clients: [clientNamed('crm')] },
  });
  const passed = await send(port, 'GET', '/api/v2/sandbox/gzip', { origin: APP, 'sec-fetch-site': 'cross-site' });
  t.equal(passed.status, 200);
  t.equal(passed.headers['access-control-allow-origin'], APP);
  t.match(passed.headers['access-control-expose-headers'], /ININ-Correlation-Id/);
  t.match(passed.headers.vary, /Origin/);
  const made = await send(port, 'GET', '/nobody/api/v2/users', { origin: APP });
  t.match([made.status, made.headers['access-control-allow-origin'], made.headers.vary], [404, APP, 'Origin']);
  const refused = await send(port, 'GET', '/api/v2/users', { origin: APP, authorization: 'Bearer gcgh_x' });
  t.match([refused.status, refused.headers['access-control-allow-origin']], [401, APP], 'a page can read why');
  const token = await postToken(url, { grant_type: 'client_credentials', client_id: 'x' }, { origin: APP });
  t.match([token.status, token.headers.get('access-control-allow-origin')], [200, APP]);
  const none = await send(port, 'GET', '/api/v2/users', {});
  t.notOk(none.headers['access-control-allow-origin'], 'not said to others');
});

t.test(
  'a navigation to the login page or to logout may come from any page; a script or a frame of another origin may not',
  async (t) => {
    const { port } = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
    const navigation = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    for (const path of ['/oauth/authorize?client_id=crm', '/logout?client_id=crm']) {
      t.equal((await send(port, 'GET', path, navigation)).status, 302, path);
      t.equal((await send(port, 'GET', path, { ...navigation, 'sec-fetch-dest': 'iframe' })).status, 403);
      t.equal((await send(port, 'GET', path, { ...navigation, 'sec-fetch-mode': 'no-cors' })).status, 403);
      t.equal((await send(port, 'GET', path, { ...navigation, host: 'rebound.example' })).status, 403);
    }
    t.equal(
      (await send(port, 'GET', '/api/v2/users', { ...navigation, 'x-gateway-key': 'crm-secret' })).status,
      403,
      'never a call',
    );
  },
);
