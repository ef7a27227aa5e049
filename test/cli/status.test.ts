// gcg status: the table and the JSON of the running gateway, and what is said when none answers.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { status } from '../../src/cli/commands/status.ts';
import { inlineSecret } from '../../src/secret.ts';
import { personAt, startAdminGateway } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { credentialAt } from '../helpers/gateway.ts';

const at = (port: number, more = '') =>
  `[server]\nlisten = 127.0.0.1:${port}\n[credential]\nclient_id = x\nclient_secret = y\n${more}`;

t.test('a table for people: state, life left, failures in words', async (t) => {
  const { port } = await startAdminGateway(t, {
    awaitReady: true,
    credentials: (origin) => [credentialAt(origin), personAt(origin, 'pkce', { isDefault: false, isRequired: false })],
  });
  const { code, out, err } = await createCommandFolder(t, at(port)).run(status, ['status']);
  t.equal(code, 0, err);
  t.match(out, /^ready: version \d/);
  t.match(out, /^default \* +client_credentials +fresh, 23 h 5\d min left +idle/m);
  t.match(out, /^crm +pkce +none +login_required/m);
  t.match(out, /crm: credential crm has nobody logged in: run `gcg login crm`/);
  t.match(out, /kept in memory/);
});

t.test('--json is the document itself', async (t) => {
  const { port } = await startAdminGateway(t);
  const { code, out } = await createCommandFolder(t, at(port)).run(status, ['status', '--json']);
  t.equal(code, 0);
  t.match(JSON.parse(out), { status: 'ready', credentials: [{ name: 'default', token: 'fresh' }] });
});

t.test('nobody there, somebody else there, and no admin listener are 69, each in its own words', async (t) => {
  const other = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo;
  t.match(await createCommandFolder(t, at(port)).run(status, ['status']), {
    code: 69,
    out: '',
    err: `gcg: no gateway is running at 127.0.0.1:${port}: something else answers there (HTTP 200)\n`,
  });
  t.match(await createCommandFolder(t, at(1)).run(status, ['status']), { code: 69, out: '' });
  t.match(
    await createCommandFolder(t, at(1, '[server.tls]\n')).run(status, ['status', '--set', 'server.admin_listen=none']),
    {
      code: 69,
      err: /server\.admin_listen.*write admin_listen = 127\.0\.0\.1:8081/,
    },
  );
});

t.test(
  'where clients are configured the secret comes from the configuration or the environment, else 77',
  async (t) => {
    const boss = clientNamed('boss', { secret: inlineSecret('boss-secret-boss', 'test'), isAdmin: true });
    const { port } = await startAdminGateway(t, { overrides: { clients: [boss] } });
    const knows = createCommandFolder(t, at(port, '[client.boss]\nsecret = boss-secret-boss\nadmin = true\n'));
    t.equal((await knows.run(status, ['status'])).code, 0);
    const hash = '0'.repeat(64);
    const ignorant = createCommandFolder(t, at(port, `[client.boss]\nsecret_sha256[] = ${hash}\nadmin = true\n`));
    t.match(await ignorant.run(status, ['status']), {
      code: 77,
      err: /^gcg: [^:]+: set GCG_ADMIN_KEY to the secret of a client with admin = true \(gcg client add NAME makes one; /,
    });
    t.equal((await ignorant.run(status, ['status'], { env: { GCG_ADMIN_KEY: 'boss-secret-boss' } })).code, 0);
  },
);
