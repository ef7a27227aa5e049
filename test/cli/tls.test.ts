// The commands that ask the running gateway, where its listener has a certificate that some CA issued.

import t from 'tap';
import { healthcheck, wait } from '../../src/cli/commands/healthcheck.ts';
import { logout } from '../../src/cli/commands/logout.ts';
import { status } from '../../src/cli/commands/status.ts';
import { startAdminGateway } from '../helpers/admin.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createCommandFolder } from '../helpers/commands.ts';

const ca = await createTestCa('Company CA');
t.teardown(() => ca.close());
const issued = ca.issue(['gateway.internal']);
const other = ca.issue(['gateway.internal']);
const outdated = ca.issue(['gateway.internal'], {
  notAfter: new Date('2020-01-01'),
  notBefore: new Date('2019-01-01'),
});

const folderFor = (t: Parameters<typeof createCommandFolder>[0], port: number, { certFile, keyFile } = issued) =>
  createCommandFolder(
    t,
    `[server]\nlisten = 127.0.0.1:${port}\n[server.tls]\ncert_file = ${certFile}\nkey_file = ` +
      `${keyFile}\n[credential]\nclient_id = x\nclient_secret = y\n`,
  );
const startWith = (t: Parameters<typeof startAdminGateway>[0], { certFile, keyFile } = issued) =>
  startAdminGateway(t, { overrides: { server: { tls: { certFile, keyFile, clientCaFile: null } } } });

t.test('healthcheck and wait find it ready', async (t) => {
  const { port } = await startWith(t);
  const folder = folderFor(t, port);
  t.match(await folder.run(healthcheck, ['healthcheck']), { code: 0, err: '' });
  t.match(await folder.run(wait, ['wait', '--timeout', '5']), { code: 0, err: '' });
});

t.test('and do not care for the dates of its certificate, which the caller will', async (t) => {
  const { port } = await startWith(t, outdated);
  t.match(await folderFor(t, port, outdated).run(healthcheck, ['healthcheck']), { code: 0, err: '' });
});

t.test('status and logout trust the certificate of the configuration, and no other of the same CA', async (t) => {
  const { port } = await startWith(t);
  const folder = folderFor(t, port);
  t.match(await folder.run(status, ['status']), { code: 0, err: '' });
  t.match(await folder.run(logout, ['logout']), { code: 0 });
  t.match(await folderFor(t, port, other).run(status, ['status']), { code: 69, out: '' });
});
