// `gcg open`, and the file with the key of the live page: the link works once, and files of several gateways do not get
// in one another's way.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openPage } from '../../src/cli/commands/open.ts';
import { PageKeyFiles, pageKeyFile, readPageKey } from '../../src/cli/page-key.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { inlineSecret } from '../../src/secret.ts';
import { startAdminGateway } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { addressOf, startCommand } from '../helpers/command.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { MAIN } from '../helpers/program.ts';

const ASKED = { 'X-Gateway-Request': '1' };

t.test('a gateway writes the key of its start, and gcg open makes a link of it that works once', async (t) => {
  const state = t.testdir();
  const env = { XDG_STATE_HOME: state };
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const config = [
    '[server]',
    'listen = 127.0.0.1:0',
    '[credential]',
    `client_id = ${id}`,
    `client_secret = ${secret}`,
    '[gateway]',
    'host = 127.0.0.1',
    'port = 1',
    'protocol = http',
  ].join('\n');
  const file = join(state, 'gcg.ini');
  writeFileSync(file, config, { mode: 0o600 });
  const command = startCommand(t, ['serve', '--config', file], { env, cwd: state });
  const url = addressOf(await command.until('"msg":"listening"'));
  t.match(command.stdout(), `"page":"${url}/-/ui/"`);
  t.match(command.stdout(), '"pageFor":"whoever runs it, by `gcg open`"');
  const { port } = new URL(url);
  const path = join(state, 'genesys-cloud-gateway', `ui-${port}.key`);
  while (!existsSync(path)) await fetch(`${url}/livez`).then((one) => one.text());
  t.equal(statSync(path).mode & 0o777, 0o600);
  const opened = startCommand(t, ['open', '--print', '--config', file, '--listen', `127.0.0.1:${port}`], {
    env,
    cwd: state,
  });
  t.equal(await opened.ended, 0, opened.stderr());
  const [, page, code] = /^(http:\S+\/-\/ui\/)#o=([\w-]{22})\n$/.exec(opened.stdout()) ?? [];
  t.equal(page, `${url}/-/ui/`);
  const statuses = [];
  for (let at = 0; at < 2; at++) {
    const response = await fetch(`${url}/-/ui/session`, {
      method: 'POST',
      headers: ASKED,
      body: JSON.stringify({ code }),
    });
    statuses.push(response.status);
    await response.text();
  }
  t.strictSame(statuses, [200, 401]);
  t.notMatch(command.stdout() + command.stderr(), readFileSync(path, 'utf8').trim());
  t.notMatch(command.stdout() + command.stderr(), /#o=/, 'no link where nobody watches');
  const foreign = startCommand(t, ['open', '--print', '--listen', `127.0.0.1:${port}`], {
    env: { XDG_STATE_HOME: join(state, 'elsewhere') },
    cwd: state,
  });
  t.equal(await foreign.ended, 77, 'whoever cannot read the key opens nothing');
  t.match(foreign.stderr(), /run it as that user/);
  const withClients = join(state, 'clients.ini');
  writeFileSync(withClients, `${config}\n[client.crm]\nsecret = 0123456789abcdef\n`, { mode: 0o600 });
  const beside = ['open', '--print', '--config', withClients, '--listen', `127.0.0.1:${port}`];
  const besideClients = startCommand(t, beside, { env, cwd: state });
  t.equal(await besideClients.ended, 0, 'a configuration with clients does not hide the key of another gateway');
  const stored = readFileSync(path, 'utf8');
  const become = async (text: string, isThere: boolean) => {
    writeFileSync(file, text);
    command.child.kill('SIGHUP');
    while (existsSync(path) !== isThere) await fetch(`${url}/livez`).then((one) => one.text());
  };
  await become(`${config}\n[client.boss]\nsecret = boss-secret-of-the-test\nadmin = true\n`, false);
  await become(config, true);
  t.equal(readFileSync(path, 'utf8'), stored, 'it is there while it counts');
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0);
  t.strictSame(readdirSync(join(state, 'genesys-cloud-gateway')), [], 'the key is gone with the gateway');
  const late = startCommand(t, ['open', '--print', '--listen', `127.0.0.1:${port}`], { env, cwd: state });
  t.equal(await late.ended, 69);
});

t.test('each listener has a file of its own, and a gateway removes what is its own', async (t) => {
  const folder = t.testdir();
  const names: [string, string][] = [
    ['127.0.0.1', 'ui-8080.key'],
    ['localhost', 'ui-8080.key'],
    ['::', 'ui-8080.key'],
    ['::1', 'ui-__1-8080.key'],
    ['[::1]', 'ui-__1-8080.key'],
    ['0:0:0:0:0:0:0:1', 'ui-__1-8080.key'],
    ['0.0.0.0', 'ui-8080.key'],
    ['127.0.0.2', 'ui-127.0.0.2-8080.key'],
    ['gateway.example', 'ui-gateway.example-8080.key'],
    ['fe80::1%eth0', 'ui-fe80__1_eth0-8080.key'],
  ];
  for (const [host, name] of names) t.equal(pageKeyFile(folder, { host, port: 8080 }), join(folder, name));
  const listener = { host: '127.0.0.1', port: 8080 };
  const [first, second] = [new PageKeyFiles('gcgp_first'), new PageKeyFiles('gcgp_second')];
  await first.write(folder, [listener, { ...listener, port: 8081 }]);
  await second.write(folder, [listener]);
  first.remove();
  t.strictSame(readdirSync(folder), ['ui-8080.key']);
  const io = { env: {}, home: undefined, platform: 'linux' as const };
  const store = {
    type: 'memory',
    path: folder,
    prefix: 'gcg',
    encryptionKey: null,
    encryptionKeyPrevious: null,
  } as const;
  t.equal(readPageKey({ store }, { kind: 'tcp', ...listener }, io), 'gcgp_second');
  t.equal(readPageKey({ store }, { kind: 'tcp', ...listener, port: 9 }, io), undefined);
  t.equal(readPageKey({ store }, { kind: 'unix', path: '/run/x.sock' }, io), undefined);
  writeFileSync(join(folder, 'ui-8080.key'), 'x'.repeat(10_000));
  t.equal(readPageKey({ store }, { kind: 'tcp', ...listener }, io), undefined, 'what is no key is not read');
  second.remove();
  t.strictSame(readdirSync(folder), ['ui-8080.key'], 'it is not ours');
});

t.test('gateways of one port, at 127.0.0.1 and at ::1, do not take the key of one another', async (t) => {
  const folder = t.testdir();
  const io = { env: {}, home: undefined, platform: 'linux' as const };
  const store = {
    type: 'memory',
    path: folder,
    prefix: 'gcg',
    encryptionKey: null,
    encryptionKeyPrevious: null,
  } as const;
  const [sixth, fourth] = [new PageKeyFiles('gcgp_sixth'), new PageKeyFiles('gcgp_fourth')];
  const found = (host: string) => readPageKey({ store }, { kind: 'tcp', host, port: 8080 }, io);
  await sixth.write(folder, [{ host: '::1', port: 8080 }]);
  t.strictSame(['::1', 'localhost', '127.0.0.1'].map(found), ['gcgp_sixth', 'gcgp_sixth', undefined]);
  await fourth.write(folder, [{ host: '0.0.0.0', port: 8080 }]);
  t.strictSame(['::1', '127.0.0.1'].map(found), ['gcgp_sixth', 'gcgp_fourth']);
  sixth.remove();
  t.strictSame(['::1', 'localhost', '127.0.0.1'].map(found), Array(3).fill('gcgp_fourth'), 'it may listen there, too');
  fourth.remove();
  t.strictSame(readdirSync(folder), []);
});

t.test('a folder that cannot be used is an error of the system, and reading finds nothing', async (t) => {
  const folder = t.testdir({ file: 'x' });
  await t.rejects(new PageKeyFiles('gcgp_x').write(join(folder, 'file'), [{ host: '127.0.0.1', port: 1 }]));
});

t.test('what it says where there is nothing to open', async (t) => {
  const rows: [string, string[], number, RegExp][] = [
    ['[server]\nlisten = unix:/run/gcg-none.sock\n', ['open'], 1, /gcg tail.*admin_listen/],
    ['', ['open', '--listen', '127.0.0.1:1'], 69, /no gateway is running at 127\.0\.0\.1:1/],
    ['[server]\nlisten = nonsense\n', ['open'], 78, /not sent to a guess/],
  ];
  for (const [ini, argv, code, said] of rows) {
    const seen = await createCommandFolder(t, ini).run(openPage, argv);
    t.equal(seen.code, code, seen.err);
    t.match(seen.err, said);
    t.equal(seen.out, '');
  }
});

t.test('a browser is shown the link, and where clients are configured their secret is what counts', async (t) => {
  const boss = inlineSecret('boss-secret-boss', 'test');
  const { port, url } = await startAdminGateway(t, {
    overrides: { clients: [clientNamed('boss', { isAdmin: true, secret: boss })] },
  });
  const folder = createCommandFolder(t, '[client.boss]\nsecret = boss-secret-boss\nadmin = true\n');
  const shown: string[] = [];
  const open = async (link: string) => shown.push(link) > 0;
  const seen = await folder.run((args, io) => openPage(args, io, open), ['open', '--listen', `127.0.0.1:${port}`]);
  t.equal(seen.code, 0, seen.err);
  t.equal(seen.out, '');
  const [, code] = /#o=(.+)$/.exec(shown[0] ?? '') ?? [];
  const session = await fetch(`${url}/-/ui/session`, {
    method: 'POST',
    headers: ASKED,
    body: JSON.stringify({ code }),
  });
  t.match(await session.json(), { key: /^gcgp_/, client: 'boss' });
  const nobody = await createCommandFolder(t, '').run(openPage, ['open', '--listen', `127.0.0.1:${port}`]);
  t.match(nobody, { code: 77, err: /GCG_ADMIN_KEY/ });
});

t.test('on a terminal the start prints a link, once good, and no record has it', async (t) => {
  if (spawnSync('script', ['--version']).status !== 0) return t.comment('skipped: there is no script(1)');
  const state = t.testdir();
  const log = join(state, 'gateway.log');
  const argv = [process.execPath, MAIN, 'demo', '--listen', '127.0.0.1:0', '--set', `logging.log_file_path=${log}`];
  const terminal = spawn('script', ['-qec', argv.map((word) => `'${word}'`).join(' '), '/dev/null'], {
    env: { ...childEnvironment, HOME: '/nonexistent', XDG_STATE_HOME: state, TERM: 'xterm' },
    cwd: state,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => terminal.kill('SIGKILL'));
  let output = '';
  terminal.stdout.setEncoding('utf8');
  for await (const text of terminal.stdout as AsyncIterable<string>) {
    output += text;
    if (/#o=[\w-]{22}\b/.test(output)) break;
  }
  const [, url, code] = /(http:\/\/127\.0\.0\.1:\d+)\/-\/ui\/#o=([\w-]{22})/.exec(output) ?? [];
  const session = await fetch(`${url}/-/ui/session`, {
    method: 'POST',
    headers: ASKED,
    body: JSON.stringify({ code }),
  });
  t.match(await session.json(), { key: /^gcgp_/, client: null });
  t.notMatch(readFileSync(log, 'utf8'), code ?? 'no code');
});
