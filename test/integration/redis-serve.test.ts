// The gateway over a shared store that is absent, refuses it, dies and comes back: what it exits with, shows and counts.

import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { startCommand } from '../helpers/command.ts';
import { gatewaySection } from '../helpers/commands.ts';
import { parseScrape } from '../helpers/prometheus.ts';
import { startFront } from '../helpers/redis-front.ts';
import { startRedis, startSentinel, withoutRedis } from '../helpers/redis-process.ts';
import { startServe } from '../helpers/serve-process.ts';

const KEY = '5'.repeat(64);

async function configFor(t: Test) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const folder = t.testdir();
  let files = 0;
  return (store: string) => {
    files += 1;
    const file = join(folder, `${files}.ini`);
    const sections = `${gatewaySection(origin)}[credential]\nclient_id = ${id}\nclient_secret = ${secret}\n`;
    writeFileSync(file, `${sections}[server]\nlisten = 127.0.0.1:0\n[store]\n${store}\n`, { mode: 0o600 });
    return file;
  };
}

const jsonOf = async (url: string) => (await fetch(url)).json() as Promise<{ store: Record<string, unknown> }>;

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it never came to be: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

t.test(
  'a gateway whose store is absent serves, is ready, and shares when the store comes',
  { skip: withoutRedis },
  async (t) => {
    const redis = await startRedis(t);
    await redis.kill();
    const file = (await configFor(t))(`type = redis\nurl = ${redis.url}\nencryption_key = ${KEY}`);
    const gateway = await startServe(t, file);
    await until('it is ready', async () => (await fetch(`${gateway.url}/readyz`)).status === 200);
    t.match(await jsonOf(`${gateway.url}/readyz`), { status: 'ready', store: { state: 'down' } });
    t.equal((await fetch(`${gateway.url}/api/v2/users/me`)).status < 500, true, 'calls are served without it');
    t.match(await jsonOf(`${gateway.url}/-/status`), { store: { type: 'redis', state: 'down', server: null } });

    await redis.start();
    await until('it is connected', async () =>
      /"ok"/.test(JSON.stringify((await jsonOf(`${gateway.url}/readyz`)).store)),
    );
    const { store } = await jsonOf(`${gateway.url}/-/status`);
    t.match(store, {
      type: 'redis',
      state: 'ok',
      error: null,
      server: redis.socket,
      version: /^redis \d/,
      gaps: Number,
    });
    t.match(store.instances, [{ id: store.instance, lastSeenS: Number }]);
    const scrape = parseScrape(await (await fetch(`${gateway.url}/metrics`)).text());
    const sampleOf = (series: string) => scrape.get(series)?.value;
    t.equal(sampleOf('gcg_store_up{}'), 1);
    t.equal(sampleOf('gcg_instances{}'), 1);
    t.equal(sampleOf('gcg_store_gaps_total{}'), store.gaps);
    t.ok(
      (sampleOf('gcg_store_commands_total{script="read",result="offline"}') ?? 0) > 0,
      'what was not sent is counted',
    );
    t.ok([...scrape.keys()].some((key) => /^gcg_store_commands_total\{script="[a-z-]+",result="ok"\}$/.test(key)));
    t.equal((await fetch(`${gateway.url}/livez`)).status, 200);
    t.strictSame(await redis.command('ZRANGE', '{gcg}:inst', '0', '-1'), [store.instance]);
    t.equal(await gateway.end('SIGTERM'), 0);
    t.strictSame(await redis.command('ZRANGE', '{gcg}:inst', '0', '-1'), [], 'who ends in good order is no instance');
    t.notMatch(gateway.output(), KEY);
  },
);

t.test('a store that refuses us ends the start with 78 and the reason', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t, { tcp: true, password: 'canary' });
  const replica = await startRedis(t, { replicaOf: redis });
  const rights = ['on', '>canary-right', '~{gcg}:*', '&{gcg}:*', '+@all', '-eval', '-evalsha'];
  await redis.command('ACL', 'SETUSER', 'narrow', ...rights);
  const older = await startFront(t, redis.port);
  older.change = (said) =>
    Buffer.from(said.toString('latin1').replace(/(\$7\r\nversion\r\n)\$\d+\r\n[\d.]+/, '$1$$6\r\n6.0.20'), 'latin1');
  const sentinel = await startSentinel(t, { name: 'known', master: redis });
  const config = await configFor(t);
  const rows: [store: string, reason: RegExp][] = [
    [`url = ${redis.url}`, /^store: .*password_file.*\(NOAUTH\)$/m],
    [`url = ${redis.url}\npassword = wrong`, /^store: .*store\.password.* \(WRONGPASS\)$/m],
    [`url = ${replica.url}`, /^store: .* is a replica/m],
    [`url = ${redis.url}\nusername = narrow\npassword = canary-right`, /^store: .* no right to .* \(NOPERM\)$/m],
    [
      `url = redis://127.0.0.1:${older.port}\npassword = canary`,
      /^store: .* has version 6\.0\.20; Redis 6\.2 or Valkey 7\.2 is the least/m,
    ],
    [`url = redis://127.0.0.1:${sentinel.port}\nsentinel = other`, /^store: .*no Sentinel knows a master "other"/m],
    [`url = redis://127.0.0.1:${redis.port}\nsentinel = m\nsentinel_password = canary`, /^store: .* is no Sentinel/m],
  ];
  const outcomes = rows.map(async ([store, reason]) => {
    const file = config(`type = redis\nencryption_key = ${KEY}\n${store}`);
    const command = startCommand(t, ['serve', '--config', file], { cwd: dirname(file) });
    t.equal(await command.ended, 78, store);
    t.match(command.stderr(), reason, store);
    t.notMatch(command.stderr() + command.stdout(), /canary|listening/, store);
  });
  await Promise.all(outcomes);
});

t.test('without a shared store nothing of one is shown', async (t) => {
  const { url } = await startServe(t, (await configFor(t))('type = memory'));
  const { store } = await jsonOf(`${url}/-/status`);
  t.strictSame(store, { type: 'memory', state: 'ok', error: null, unwritten: 0, toldAgain: 0 });
  t.equal((await jsonOf(`${url}/readyz`)).store, undefined);
  t.notMatch(await (await fetch(`${url}/metrics`)).text(), /^gcg_(?:store|instances)[^\n]* \d/m);
});
