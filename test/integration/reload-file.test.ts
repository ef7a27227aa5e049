// A served configuration that changes on disk: taken over, refused, reported; by the file, by SIGHUP and by POST
// /-/reload.

import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { addressOf, startCommand } from '../helpers/command.ts';
import { type Served, startServed } from '../helpers/served.ts';

const APPLIED = 'configuration reloaded';
const REFUSED = 'configuration refused, the previous one stays in use';
const RELOAD = { method: 'POST', headers: { 'x-gateway-request': '1' } };

async function statusOf({
  url,
}: Served): Promise<{ reload: { watching: boolean; last: Record<string, unknown> | null } }> {
  return (await (await fetch(`${url}/-/status`)).json()) as never;
}

async function metric({ url }: Served, name: string): Promise<string | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text.split('\n').find((line) => line.startsWith(name));
}

t.test('a changed file counts, and is told by key in log, status and metric', async (t) => {
  const served = await startServed(t);
  served.swapConfig(served.configText('[logging]\nlog_level = debug'));
  const record = await served.record(APPLIED, 1);
  t.match(record, { level: 'info', trigger: 'file', changed: ['logging.log_level'] });
  t.equal((await fetch(`${served.url}/api/v2/users?pageSize=1`, { headers: { 'x-marker': 'seen' } })).status, 200);
  t.match(await served.record('exchange', 1), { requestHeaders: { 'x-marker': 'seen' } });
  t.match(await statusOf(served), {
    reload: { watching: true, last: { applied: true, trigger: 'file', changed: ['logging.log_level'] } },
  });
  t.equal(await metric(served, 'gcg_config_reloads_total'), 'gcg_config_reloads_total{result="applied"} 1');
});

t.test('a bad file is refused with all of its problems, shown, and the old configuration stays', async (t) => {
  const served = await startServed(t);
  served.swapConfig(served.configText('[retry]\nretry_max = many\n[nonsense]\nx = 1'));
  const record = await served.record(REFUSED, 1);
  t.match(record, { level: 'error', trigger: 'file' });
  const problems = record.problems as string[];
  t.equal(problems.length, 2);
  t.match(problems[0], /gcg\.ini:11: retry\.retry_max: /);
  t.match(problems[1], /gcg\.ini:12: .*nonsense/);
  t.equal((await fetch(`${served.url}/api/v2/users?pageSize=1`)).status, 200);
  t.match(await statusOf(served), { reload: { last: { applied: false, problems } } });
  t.equal(await metric(served, 'gcg_config_last_reload_applied'), 'gcg_config_last_reload_applied 0');
  served.swapConfig(served.configText());
  await served.record(APPLIED, 1);
  t.equal(await metric(served, 'gcg_config_last_reload_applied'), 'gcg_config_last_reload_applied 1');
});

t.test('a file that was deleted is said to be gone, and nothing else', async (t) => {
  const served = await startServed(t);
  renameSync(served.configFile, `${served.configFile}.old`);
  t.match((await served.record(REFUSED, 1)).problems, [/gcg\.ini is gone: put it back/]);
  t.match(await statusOf(served), { reload: { last: { problems: { length: 1 } } } });
  t.equal((await fetch(`${served.url}/api/v2/users?pageSize=1`)).status, 200);
});

const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0;

t.test(
  'a file that could not be read, because too much was open, is read when it can be',
  { skip: !hasPrlimit && 'needs prlimit' },
  async (t) => {
    const served = await startServed(t);
    const mayOpen = (descriptors: number) =>
      spawnSync('prlimit', ['--pid', String(served.command.child.pid), `--nofile=${descriptors}:`]);
    mayOpen(10);
    served.swapConfig(served.configText('[logging]\nlog_level = debug'));
    t.match(await served.record(REFUSED, 1), { trigger: 'file', problems: [/cannot be read \(EMFILE\)/] });
    mayOpen(1024);
    t.match(await served.record(APPLIED, 1), { trigger: 'file', changed: ['logging.log_level'] });
  },
);

t.test('POST /-/reload answers what changed, or what is wrong, and needs the header', async (t) => {
  const served = await startServed(t, '[general]\nlive_reload_config = false');
  const off = '[general]\nlive_reload_config = false\n';
  t.equal((await fetch(`${served.url}/-/reload`, { method: 'POST' })).status, 403);
  served.swapConfig(served.configText(`${off}[retry]\nretry_max = 1`));
  const good = await fetch(`${served.url}/-/reload`, RELOAD);
  t.equal(good.status, 200);
  t.same(await good.json(), { status: 'reloaded', changed: ['retry.retry_max'], restart: [] });
  served.swapConfig(served.configText(`${off}[retry]\nretry_max = -1`));
  const bad = await fetch(`${served.url}/-/reload`, RELOAD);
  t.equal(bad.status, 422);
  t.match(await bad.json(), { code: 'gateway.request.invalid', message: /retry\.retry_max/ });
});

t.test('live_reload_config = false stops the watch, SIGHUP still reloads, and may switch it on again', async (t) => {
  const served = await startServed(t);
  served.swapConfig(served.configText('[general]\nlive_reload_config = false'));
  await served.record(APPLIED, 1);
  t.match(await statusOf(served), { reload: { watching: false } });
  served.swapConfig(served.configText('[retry]\nretry_max = 1'));
  served.command.child.kill('SIGHUP');
  t.match(await served.record(APPLIED, 2), {
    trigger: 'signal',
    changed: ['general.live_reload_config', 'retry.retry_max'],
  });
  t.match(await statusOf(served), { reload: { watching: true } });
  served.swapConfig(served.configText('[retry]\nretry_max = 2'));
  t.match(await served.record(APPLIED, 3), { trigger: 'file' });
});

t.test('what needs a restart is said by key, the rest counts at once', async (t) => {
  const served = await startServed(t);
  served.swapConfig(
    served.configText('[store]\nprefix = other\n[retry]\nretry_max = 1').replace('127.0.0.1:0', '127.0.0.1:1'),
  );
  t.match(await served.record(APPLIED, 1), {
    changed: ['server.listen', 'server.admin_listen', 'retry.retry_max', 'store.prefix'],
  });
  t.match(await served.record('changes that need a restart', 1), {
    level: 'warn',
    keys: ['server.listen', 'server.admin_listen', 'store.prefix'],
  });
  t.equal((await fetch(`${served.url}/api/v2/users?pageSize=1`)).status, 200, 'at the address it was started with');
});

t.test('a reload cannot open a listener to strangers that its own rules would not allow', async (t) => {
  const served = await startServed(t, '[client.crm]\nsecret = a-secret-of-the-client\nadmin = true');
  const wide = createWide(served);
  t.teardown(() => wide.child.kill('SIGKILL'));
  await wide.until('"msg":"listening"');
  writeFileSync(wide.file, served.configText().replace('127.0.0.1:0', '127.0.0.1:2'), { mode: 0o600 });
  await wide.until(/server\.listen: 0\.0\.0\.0:\d+ stays open until a restart/);
  const url = addressOf(wide.stdout()).replace('0.0.0.0', '127.0.0.1');
  t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 401);

  function createWide(from: Served) {
    const file = join(from.folder, 'wide.ini');
    writeFileSync(
      file,
      from
        .configText('[client.crm]\nsecret = a-secret-of-the-client\nadmin = true')
        .replace('127.0.0.1:0', '0.0.0.0:0'),
      {
        mode: 0o600,
      },
    );
    return { file, ...startCommand(t, ['serve', '--config', file], { cwd: from.folder }) };
  }
});

t.test('a secret in a file of its own counts when it changes, and so does one that was missing', async (t) => {
  const served = await startServed(t);
  const secretFile = join(served.folder, 'client_secret');
  const { secret = '' } = DEMO_CLIENTS.clientCredentials;
  const text = served.configText().replace(/client_secret = .*/, `client_secret_file = ${secretFile}`);
  served.swapConfig(text);
  t.match(await served.record(REFUSED, 1), { problems: [/client_secret/] });
  writeFileSync(secretFile, `${secret}\n`, { mode: 0o600 });
  await served.record(APPLIED, 1);
  t.equal((await fetch(`${served.url}/api/v2/users?pageSize=1`)).status, 200);
  writeFileSync(secretFile, 'another-secret\n', { mode: 0o600 });
  t.match(await served.record(APPLIED, 2), { changed: ['credential.client_secret_file'] }, 'and is named');
});

t.test('a reload while the gateway drains is refused, and told why', async (t) => {
  const served = await startServed(t);
  served.sandbox.set({ holdApi: { next: 1, path: '/api/v2/users' } });
  const held = served.sandbox.events.next('held');
  const call = fetch(`${served.url}/api/v2/users?pageSize=1`);
  await held;
  served.command.child.kill('SIGTERM');
  await served.record('draining', 1);
  served.command.child.kill('SIGHUP');
  t.match(await served.record(REFUSED, 1), { problems: [/shutting down/] });
  served.sandbox.release();
  t.equal((await call).status, 200);
  t.equal(await served.command.ended, 0);
});

t.test('a file that appears after the start is taken over', async (t) => {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const { id, secret = '' } = DEMO_CLIENTS.clientCredentials;
  const home = t.testdir({});
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], {
    cwd: home,
    env: {
      HOME: home,
      GCG_GATEWAY_HOST: host,
      GCG_GATEWAY_PORT: String(port),
      GCG_GATEWAY_PROTOCOL: 'http',
      GCG_CREDENTIAL_CLIENT_ID: id,
      GCG_CREDENTIAL_CLIENT_SECRET: secret,
    },
  });
  await command.until('"msg":"listening"');
  const folder = join(home, '.config', 'genesys-cloud-gateway');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.ini'), '[retry]\nretry_max = 1\n');
  await command.until('"changed":["retry.retry_max"]');
  t.pass('it was noticed');
});
