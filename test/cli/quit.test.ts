// POST /-/quit ends the process of gcg serve with 0, for jobs whose sidecar has to end with them.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { change } from '../helpers/admin.ts';
import { gatewaySection } from '../helpers/commands.ts';
import { startServe } from '../helpers/serve-process.ts';

async function startRange(t: Test) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const config = join(t.testdir(), 'gcg.ini');
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  writeFileSync(config, `${gatewaySection(origin)}[server]\nlisten = 127.0.0.1:0\n[credential]\nclient_id = ${id}\nclient_secret = ${secret}\n`, {
    mode: 0o600,
  });
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
    `[credential]\nclient_id = x\nclient_secret = y\n[store]\ntype = file\npath = ${config}/state\n[server]\nlisten = 127.0.0.1:0\n`,
    { mode: 0o600 },
  );
  await t.rejects(startServe(t, config), { message: /ended with 78: store: store folder .* cannot be used \(ENOTDIR\)/ });
});
