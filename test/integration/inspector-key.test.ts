// How somebody comes to look at calls: by the key of a start, by a link that is good once, or for a client's secret; and
// how each of these ends.

import t, { type Test } from 'tap';
import type { ClientConfig } from '../../src/config/gateway-config.ts';
import { clientNamed } from '../helpers/clients.ts';
import { type ConfigOverrides, configAt, startGateway, type TestGateway } from '../helpers/gateway.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const ASKED = { 'X-Gateway-Request': '1' };
const as = (key: string) => ({ ...ASKED, 'X-Gateway-Key': key });

function start(t: Test, config: ConfigOverrides = {}): Promise<TestGateway> {
  return startGateway(t, { config: { ...config, server: { adminListen: LOCAL, ...config.server } } });
}

async function post(url: string, path: string, headers: Record<string, string>, body?: object) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers,
    ...(body && { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, string>,
  };
}

async function looks(url: string, key: string): Promise<number> {
  const response = await fetch(`${url}/-/calls`, { headers: as(key) });
  await response.text();
  return response.status;
}

t.test('a link opens the page once, without a cookie, and its second use is refused and logged', async (t) => {
  const { url, gateway, log } = await start(t);
  const { body: link } = await post(url, '/-/ui/link', as(gateway.pageKey));
  t.match(link, { code: /^[\w-]{22}$/, seconds: 60 });
  const first = await post(url, '/-/ui/session', ASKED, { code: link.code });
  t.strictSame([first.status, first.body], [200, { key: gateway.pageKey, client: null }]);
  t.equal(first.headers.get('set-cookie'), null);
  t.match(first.headers.get('cache-control'), /no-store/);
  const second = await post(url, '/-/ui/session', ASKED, { code: link.code });
  t.equal(second.status, 401);
  t.match(second.body.message, /used already/);
  t.match(await log.nextLine('link to the live page was used again'), { peer: '127.0.0.1' });
  t.notMatch(JSON.stringify([log.lines, log.exchanges.map(({ target, error }) => [target, error])]), link.code ?? '');
  t.equal(await looks(url, first.body.key as string), 200);
  const invited = gateway.inviteToPage();
  t.equal((await post(url, '/-/ui/session', ASKED, { code: invited as string })).status, 200);
});

t.test('what is no code is refused, whatever it is', async (t) => {
  const { url, gateway } = await start(t);
  const bodies = ['{', '[]', 'null', '{"code":7}', '{"code":null}', '"x"', 'x'.repeat(2_000)];
  for (const body of bodies) {
    const response = await fetch(`${url}/-/ui/session`, { method: 'POST', headers: ASKED, body });
    t.ok(response.status === 400 || response.status === 413, `${body.slice(0, 20)}: ${response.status}`);
    await response.text();
  }
  t.equal((await post(url, '/-/ui/session', ASKED, { code: 'nonsense' })).status, 401);
  t.equal((await post(url, '/-/ui/session', ASKED)).status, 401, 'without anything');
  t.equal((await post(url, '/-/ui/link', ASKED)).status, 401);
  t.equal((await post(url, '/-/ui/session', {}, { code: gateway.inviteToPage() })).status, 403, 'a form cannot do it');
});

t.test('a client gets a key for its secret; what ends the client ends the key', async (t) => {
  const clients = [clientNamed('boss', { isAdmin: true }), clientNamed('crm', { inspect: 'own' }), clientNamed('etl')];
  const { url, gateway, config } = await start(t, { clients });
  t.equal(gateway.inviteToPage(), null, 'nobody is let in without a proof');
  t.equal(await looks(url, gateway.pageKey), 401, 'the key of the start opens nothing where there are clients');
  t.equal((await post(url, '/-/ui/session', as('etl-secret'))).status, 403);
  const keyOf = async (name: string) => (await post(url, '/-/ui/session', as(`${name}-secret`))).body.key as string;
  const boss = await keyOf('boss');
  const crm = await keyOf('crm');
  t.strictSame([await looks(url, boss), await looks(url, crm)], [200, 200]);
  t.equal((await fetch(`${url}/-/status`, { headers: as(boss) })).status, 200, 'the pages it belongs to, too');
  t.equal((await fetch(`${url}/-/status`, { headers: as(crm) })).status, 403);
  t.equal((await fetch(`${url}/api/v2/users/me`, { headers: as(boss) })).status, 401, 'it is no secret for calls');
  t.equal(
    (await fetch(`${url}/-/calls`, { headers: { ...as(crm), Authorization: 'Bearer boss-secret' } })).status,
    200,
    'what a browser sends along counts for nothing',
  );
  const link = (await post(url, '/-/ui/link', as(crm))).body.code as string;
  const opened = await post(url, '/-/ui/session', ASKED, { code: link });
  t.equal(opened.body.client, 'crm');
  const withClients = (next: ClientConfig[]) =>
    gateway.replace(
      configAt(config.credentials[0]?.hosts.api.origin ?? '', {
        ...config,
        clients: next,
      } as ConfigOverrides),
    );
  withClients([clients[0] as ClientConfig, clientNamed('crm', { inspect: 'none' })]);
  t.equal(await looks(url, crm), 403);
  withClients([clients[0] as ClientConfig]);
  t.strictSame([await looks(url, crm), await looks(url, boss)], [401, 200]);
  await fetch(`${url}/-/ui/session`, { method: 'DELETE', headers: as(boss) });
  t.equal(await looks(url, boss), 401);
});
