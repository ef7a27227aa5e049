// `gcg replay`: a call made again from a terminal, and `gcg explain --as`: one as something to run.

import t from 'tap';
import { explain } from '../../src/cli/commands/explain.ts';
import { replay } from '../../src/cli/commands/replay.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { startGateway } from '../helpers/gateway.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

t.test('a call is made again, explained and compared; what may change something takes the call itself', async (t) => {
  const clients = [clientNamed('boss', { isAdmin: true }), clientNamed('crm', { inspect: 'own' })];
  const { url, sandbox } = await startGateway(t, {
    config: { server: { adminListen: LOCAL }, clients, inspector: { replay: 'confirm' }, retry: { max: 0 } },
  });
  const headers = { 'X-Gateway-Key': 'crm-secret' };
  const call = (path: string, method = 'GET') =>
    fetch(`${url}/api/v2/${path}`, { method, headers }).then(async (answer) => {
      await answer.text();
      return answer.headers.get('x-gateway-request-id') ?? '';
    });
  sandbox.set({ serverError: { status: 503, next: 1 } });
  const read = await call('organizations/me?a=1');
  const change = await call('users/nobody', 'DELETE');
  const ini = `[server]\nlisten = ${new URL(url).host}\n[client.boss]\nsecret = boss-secret\nadmin = true\n`;
  const folder = createCommandFolder(t, ini);
  const run = (...argv: string[]) => folder.run(replay, ['replay', ...argv]);

  t.match(await run(read), {
    code: 0,
    err: '',
    out: /^200 GET \/api\/v2\/organizations\/me\?a=1\n[\s\S]*Before, and now\n {2}status: 503, then 200\n {2}failed by: Genesys Cloud, then none\n/,
  });
  const { out } = await run(read, '--json');
  t.match(JSON.parse(out), { call: { status: 200, client: 'crm', replayedBy: 'boss', replayOf: String } });
  const calls = sandbox.stats.apiCallsTotal;
  t.match(await run(change), {
    code: 1,
    out: '',
    err: /^gcg: it may change something: say --confirm with the call itself, "DELETE \/api\/v2\/users\/nobody"\n$/,
  });
  t.match(await run(change, '--confirm', 'DELETE /api/v2/users'), { code: 1, err: /say --confirm/ });
  t.equal(sandbox.stats.apiCallsTotal, calls);
  t.match(await run(change, '--confirm', 'DELETE /api/v2/users/nobody'), { out: /^\d+ DELETE/ });
  t.equal(sandbox.stats.apiCallsTotal, calls + 1);
  t.match(await run('99'), { code: 1, err: /no such call/ });
  t.match(await run('../status'), { code: 2, err: /no id of a call/ });
  const as = (form: string, id = read) => folder.run(explain, ['explain', id, '--as', form]);
  t.match(await as('curl'), {
    code: 0,
    out: /^curl --globoff[\s\S]*X-Gateway-Key: \$GCG_KEY[\s\S]*organizations\/me\?a=1'\n$/,
  });
  t.match(await as('python'), { code: 0, out: /OrganizationApi\(client\)\.get_organizations_me\(a=1\)/ });
  t.match(await as('go', change), { code: 0, out: /UsersApi\.DeleteUser/ });
  t.match(await as('cmd'), { code: 2, err: /--as is one of curl, powershell/ });
  const nobody = createCommandFolder(t, '[server]\nlisten = 127.0.0.1:1\n');
  t.match(await nobody.run(replay, ['replay', '1']), { code: 69, err: /no gateway is running/ });
  const stranger = createCommandFolder(t, ini.replace('boss-secret', 'not-the-secret'));
  t.match(await stranger.run(replay, ['replay', '1']), { code: 77 });
});
