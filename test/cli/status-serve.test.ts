// gcg serve as its admin pages see it: POST /-/quit ends it with 0, for jobs whose sidecar has to end with them; what
// it refuses is shown.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { statusTable } from '../../src/cli/commands/status.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { change } from '../helpers/admin.ts';
import { gatewaySection } from '../helpers/commands.ts';
import { startServe } from '../helpers/serve-process.ts';

async function startRange(t: Test) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const config = join(t.testdir(), 'gcg.ini');
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  writeFileSync(
    config,
    `${gatewaySection(origin)}[server]\nlisten = 127.0.0.1:0\n[credential]\nclient_id = ${id}\nclient_secret = ` +
      `${secret}\n`,
    {
      mode: 0o600,
    },
  );
  return { sandbox, config };
}

t.test('a call that runs is served, then the process ends with 0', async (t) => {
  const { sandbox, config } = await startRange(t);
  const gateway = await startServe(t, config);
  sandbox.set({ holdApi: { next: 1 } });
  const held = sandbox.events.next('held');
  const call = fetch(`${gateway.url}/api/v2/organizations/me`);
  await held;
  const gone = new Promise((resolve) => gateway.child.once('exit', resolve));
  t.equal((await change(`${gateway.url}/-/quit`)).status, 202);
  sandbox.release();
  const answer = await call;
  t.equal(answer.status, 200);
  await answer.text();
  t.equal(await gone, 0);
  t.match(gateway.output(), /"reason":"POST \/-\/quit"/);
});

t.test('a store folder that cannot be used is exit 78, with its name', async (t) => {
  const config = join(t.testdir(), 'gcg.ini');
  writeFileSync(
    config,
    `[credential]\nclient_id = x\nclient_secret = y\n[store]\ntype = file\npath = ` +
      `${config}/state\n[server]\nlisten = 127.0.0.1:0\n`,
    { mode: 0o600 },
  );
  await t.rejects(startServe(t, config), {
    message: /ended with 78: store: store folder .* cannot be used \(ENOTDIR\)/,
  });
});

t.test(
  'a configuration that was changed and refused is shown in status, on the page and by gcg status, as text',
  async (t) => {
    const { config } = await startRange(t);
    const gateway = await startServe(t, config);
    const before = readFileSync(config, 'utf8');
    writeFileSync(config, `${before}[server]\nlistenn = <b>\n`, { mode: 0o600 });
    t.equal((await change(`${gateway.url}/-/reload`)).status, 422);
    const page = await (await fetch(gateway.url)).text();
    t.match(page, /refused; the one before it is still in use/);
    t.match(page, /listenn/);
    t.notMatch(page, '<b>');
    const document = (await (await fetch(`${gateway.url}/-/status`)).json()) as StatusDocument;
    t.match(statusTable(document), /changed and refused .*still in use:\n {2}.*listenn/s);
    writeFileSync(config, before, { mode: 0o600 });
    t.equal((await change(`${gateway.url}/-/reload`)).status, 200);
    t.notMatch(await (await fetch(gateway.url)).text(), /still in use/);
  },
);
