// What `gcg check`, `gcg check --online` and `gcg doctor` say of a shared store, and the rights that they name: those of
// the documentation, all of them needed, and no others.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { checkOnline } from '../../src/cli/check-online.ts';
import { check } from '../../src/cli/commands/check.ts';
import { runDoctor } from '../../src/cli/commands/doctor.ts';
import { examineStore } from '../../src/cli/store-check.ts';
import {
  aclLine,
  neededCommands,
  OPTIONAL_COMMANDS,
  SENT_COMMANDS,
  SHARED_SCRIPTS,
} from '../../src/cli/store-rights.ts';
import { systemClock } from '../../src/clock.ts';
import type { RedisStoreConfig } from '../../src/config/sections/store.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { inlineSecret } from '../../src/secret.ts';
import { ASKED_ONCE, createCommandFolder, gatewaySection } from '../helpers/commands.ts';
import { configAt } from '../helpers/gateway.ts';
import { type RedisProcess, startRedis, withoutRedis } from '../helpers/redis-process.ts';
import { redisStore } from '../helpers/redis-store.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = globSync('src/**/*.ts', { cwd: ROOT }).map((file) => readFileSync(join(ROOT, file), 'utf8'));
const found = (pattern: RegExp) =>
  new Set(SOURCES.flatMap((text) => [...text.matchAll(pattern)].map(([, name]) => name)));

t.test('every script of the code is tried, and every command that is sent is in the list', async (t) => {
  t.strictSame(
    [...found(/new Script\(\s*'([a-z-]+)'/g)].sort(),
    SHARED_SCRIPTS.map(({ name }) => name).sort(),
    'another one belongs into SHARED_SCRIPTS',
  );
  const sent = [...found(/\.(?:command|send|ask)\(\s*\[\s*'([A-Z]+)'/g)].map((name) => name?.toLowerCase() ?? '');
  // Of a Sentinel another user is asked.
  const ours = sent.filter((name) => name !== 'sentinel' && !OPTIONAL_COMMANDS.includes(name));
  t.strictSame(
    ours.filter((name) => !SENT_COMMANDS.includes(name)),
    [],
  );
});

/** Makes the user as an administrator would by the line that is printed. */
async function makeUser(redis: RedisProcess, line: string): Promise<void> {
  const words = line.match(/'[^']*'|\S+/g)?.map((word) => word.replace(/^'|'$/g, '')) ?? [];
  await redis.command(...words.map((word) => word.replace('PASSWORD', 'canary')));
}

const examined = async (store: RedisStoreConfig) =>
  examineStore({ ...configAt('http://127.0.0.1:1'), store }, systemClock);

t.test(
  'the user of the printed line may do all that is needed, and needs all that it may',
  { skip: withoutRedis },
  async (t) => {
    const redis = await startRedis(t, { users: ['default on nopass ~* &* +@all'] });
    const store = redisStore(redis.url, { username: 'gcg', password: inlineSecret('canary', 'test') });
    const line = aclLine(store);
    t.match(readFileSync(join(ROOT, 'docs/instances.md'), 'utf8'), line, 'npm run generate writes it into the page');
    await makeUser(redis, line);
    const { findings, code } = await examined(store);
    t.equal(code, 0, JSON.stringify(findings));
    t.strictSame(
      findings.map(({ step, status }) => `${step} ${status}`),
      [
        'store ok',
        'store rights ok',
        'store clock ok',
        'store eviction ok',
        'store persistence ok',
        'store replicas ok',
      ],
    );
    t.strictSame(await redis.command('KEYS', '*check*'), [], 'nothing is left');
    const unnoticed: string[] = [];
    for (const right of neededCommands()) {
      await redis.command('ACL', 'SETUSER', 'gcg', `-${right}`);
      await redis.command('SCRIPT', 'FLUSH');
      if ((await examined(store)).code === 0) unnoticed.push(right);
      await redis.command('ACL', 'SETUSER', 'gcg', `+${right}`);
    }
    // Whoever connects may say these two, whatever rights it has.
    t.strictSame(unnoticed, ['auth', 'hello']);
    await redis.command('ACL', 'SETUSER', 'gcg', '-publish');
    t.match(await examined(store), {
      code: 77,
      findings: [
        { step: 'store' },
        { step: 'store rights', status: 'failed', detail: /put.*as its administrator: ACL SETUSER gcg/ },
      ],
    });
    await redis.command('ACL', 'SETUSER', 'gcg', '+publish', 'resetchannels', '&other');
    t.match((await examined(store)).findings[0]?.detail, /no right to the channels/);
    await redis.command('ACL', 'SETUSER', 'gcg', 'resetchannels', '&{gcg}:*', '-info');
    const blind = await examined(store);
    t.equal(blind.code, 0);
    t.match(blind.findings.at(-1), { step: 'store settings', status: 'skipped', detail: /no right to info/ });
  },
);

t.test('what its administrator should change is a warning', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t, { lines: ['maxmemory-policy volatile-ttl'] });
  const store = redisStore(redis.url);
  const config = { ...configAt('http://127.0.0.1:1'), store };
  const credentials = config.credentials.map((one) => ({ ...one, grantType: 'authorization_code' as const }));
  const { findings, code } = await examineStore({ ...config, credentials }, systemClock);
  t.equal(code, 0);
  t.match(
    findings.filter(({ status }) => status === 'warning'),
    [
      { step: 'store eviction', detail: /volatile-ttl.*set noeviction/ },
      { step: 'store persistence', detail: /has saved nothing.*set appendonly yes/ },
    ],
  );
  await redis.command('CONFIG', 'SET', 'appendonly', 'yes');
  const kept = await examineStore({ ...config, credentials }, systemClock);
  t.match(
    kept.findings.find(({ step }) => step === 'store persistence'),
    { status: 'ok' },
  );
  // Another machine whose clock is off.
  const clock = { ...systemClock, now: () => Date.now() - 5000 };
  const { findings: skewed } = await examineStore(config, clock);
  t.match(
    skewed.find(({ step }) => step === 'store clock'),
    { status: 'warning', detail: /5\d{3} ms ahead/ },
  );
});

async function startFolder(t: Test, store: string) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const credential = `[credential]\nclient_id = ${id}\nclient_secret = ${secret}\n`;
  const key = `encryption_key = ${'5'.repeat(64)}\n`;
  return createCommandFolder(
    t,
    `${gatewaySection(origin)}${ASKED_ONCE}${credential}[store]\ntype = redis\n${key}${store}`,
  );
}

t.test('the commands tell it', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t, { password: 'canary-right' });
  const folder = await startFolder(t, `url = ${redis.url}\npassword = canary-right\n`);
  const told: string[] = [];
  const run = async (...[command, argv]: Parameters<typeof folder.run>) => {
    const result = await folder.run(command, argv);
    told.push(result.out, result.err);
    return result;
  };
  const offline = await run((args, io) => check(args, io, checkOnline), ['check']);
  t.equal(offline.code, 0);
  t.match(offline.out, `shared by instances: redis at ${redis.socket}, keys {gcg}:*`);
  t.match(offline.out, "its rights   ACL SETUSER gcg on '>PASSWORD'");
  const online = await run((args, io) => check(args, io, checkOnline), ['check', '--online']);
  t.equal(online.code, 0, online.err);
  t.match(
    online.out,
    / {2}ok {6}store: redis 7\.[^\n]*as the default user, round trip [\s\S]* {2}ok {6}default: token/,
  );
  const doctor = await run(runDoctor, ['doctor']);
  t.equal(doctor.code, 0, doctor.out);
  t.match(doctor.out, /ok +store rights +all \d+ scripts may run there under \{gcg\}:/);
  t.strictSame(await redis.command('ZRANGE', '{gcg}:inst', '0', '-1'), [], 'no command is an instance');

  await redis.command('CONFIG', 'SET', 'requirepass', 'canary-other');
  const refused = await run((args, io) => check(args, io, checkOnline), ['check', '--online']);
  t.equal(refused.code, 77);
  t.match(refused.out, /FAILED {2}store: .*store\.password.*\(WRONGPASS\)/);
  t.match(refused.err, /its store cannot be used/);
  const sick = await run(runDoctor, ['doctor']);
  t.equal(sick.code, 69);
  t.match(sick.out, /failed +store .*WRONGPASS[\s\S]*ok +credential default/);
  await redis.kill();
  t.equal((await run((args, io) => check(args, io, checkOnline), ['check', '--online'])).code, 69);
  t.notMatch(told.join(), /canary/);
});
