// `gcg run -- COMMAND`: a gateway for one command, and the command's own streams, signals and exit code.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseCommandLine } from '../../src/cli/args.ts';
import { programEnvironment } from '../../src/cli/program-environment.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { startCommand } from '../helpers/command.ts';
import { ASKED_ONCE, gatewaySection } from '../helpers/commands.ts';
import { good, load } from '../unit/config/load-text.ts';

const NODE = process.execPath;
const SECRET = 'demo-secret-client-credentials';
const ID = '5a4d0b1e-0001-4000-8000-000000000001';

/** A simulation, and a configuration for it whose own listeners cannot even be read. */
async function prepare(t: Test, extra = '') {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const dir = t.testdir();
  const ini = `[server]
listen = 0.0.0.0:1
health_listen = 127.0.0.1:2
public_url = https://gw.example
[server.tls]
cert_file = /not/there.pem
key_file = /not/there.key
${gatewaySection(origin)}[credential]
client_id = ${ID}
client_secret_env = CRM_SECRET
${extra}`;
  writeFileSync(join(dir, 'gcg.ini'), ini, { mode: 0o600 });
  const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    startCommand(t, ['run', ...args], { cwd: dir, env: { CRM_SECRET: SECRET, ...env } });
  return { sandbox, dir, start };
}

/** A program in this Node. */
const script = (text: string) => ['--', NODE, '-e', text];

t.test('the command reaches the gateway, sees no secret, and its output and exit code are its own', async (t) => {
  const { start, sandbox } = await prepare(t);
  const program = `fetch(process.env.GATEWAY_URL + '/api/v2/organizations/me').then(async (r) => {
    console.log(JSON.stringify({ status: r.status, name: (await r.json()).name, env: process.env }));
    console.error('words of the command');
    process.exitCode = 7;
  })`;
  const command = start(script(program), {
    OTHER: SECRET,
    GCG_STORE_ENCRYPTION_KEY: 'canary-key-canary-key-canary-key',
    GENESYSCLOUD_ACCESS_TOKEN: 'canary-token',
    HTTPS_PROXY: 'http://proxy.example:1',
    NO_PROXY: 'example.com',
  });
  t.equal(await command.ended, 7);
  t.equal(command.stderr(), 'words of the command\n', 'not a word of ours');
  const { status, name, env } = JSON.parse(command.stdout());
  t.match({ status, name }, { status: 200, name: 'Simulated Organization' });
  t.notMatch(JSON.stringify(env), new RegExp(`canary-key|canary-token|${SECRET}`));
  t.notOk(Object.keys(env).some((key) => key.startsWith('GCG_') || key === 'CRM_SECRET' || key === 'OTHER'));
  t.match(env, {
    GATEWAY_URL: /^http:\/\/127\.0\.0\.1:\d+$/,
    GENESYSCLOUD_GATEWAY_HOST: '127.0.0.1',
    GENESYSCLOUD_GATEWAY_PROTOCOL: 'http',
    GENESYSCLOUD_REGION: 'us-east-1',
    NO_PROXY: 'example.com,127.0.0.1,localhost',
    HOME: '/nonexistent',
  });
  t.equal(sandbox.stats.tokensIssued, 1);
  await t.rejects(fetch(env.GATEWAY_URL), 'the gateway ended with the command');
});

t.test('it logs in as the Terraform provider does, also where clients are configured', async (t) => {
  const { start } = await prepare(t, '[client.app]\nsecret = a-secret-of-a-client\n[store]\ntype = memory\n');
  const program = `const e = process.env, url = e.GENESYSCLOUD_GATEWAY_PROTOCOL + '://' + e.GENESYSCLOUD_GATEWAY_HOST +
      ':' + e.GENESYSCLOUD_GATEWAY_PORT;
    const basic = Buffer.from(e.GENESYSCLOUD_OAUTHCLIENT_ID + ':' + e.GENESYSCLOUD_OAUTHCLIENT_SECRET).toString('base64');
    const form = new URLSearchParams({ grant_type: 'client_credentials' });
    fetch(url + '/oauth/token', { method: 'POST', body: form, headers: { authorization: 'Basic ' + basic } })
      .then((r) => r.json())
      .then(({ access_token }) => fetch(url + '/api/v2/tokens/me', { headers: { authorization: 'Bearer ' + access_token } }))
      .then((r) => console.log(r.status))`;
  const command = start(script(program));
  t.equal(await command.ended, 0);
  t.equal(command.stdout(), '200\n');
});

t.test('signals are passed on, and the exit code says what ended the command', async (t) => {
  const { start } = await prepare(t);
  const ended = [
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const;
  await Promise.all(
    ended.map(async ([signal, expected]) => {
      const command = start(script('console.log("up"); setInterval(() => {}, 1e9)'));
      await command.until('up');
      command.child.kill(signal);
      t.equal(await command.ended, expected, signal);
    }),
  );
});

t.test('a command that handles a signal decides itself', async (t) => {
  const { start } = await prepare(t);
  const program = `process.on('SIGUSR2', () => console.log('usr2')).on('SIGTERM', () => process.exit(3));
    console.log('up'); setInterval(() => {}, 1e9)`;
  const command = start(script(program));
  await command.until('up');
  command.child.kill('SIGUSR2');
  await command.until('usr2');
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 3);
});

t.test('why it is not ready, and the exit code that scripts go by', async (t) => {
  const { start, sandbox } = await prepare(t);
  const touch = ['--', 'touch', 'started'];
  const refused = start(touch, { CRM_SECRET: ' wrong-secret ' });
  t.equal(await refused.ended, 77);
  t.match(refused.stderr(), /not ready: .*wrong client secret.*env CRM_SECRET\) begins or ends with a blank/);
  const unset = start(touch, { CRM_SECRET: undefined });
  t.equal(await unset.ended, 78);
  t.match(unset.stderr(), /CRM_SECRET is not set/);
  await sandbox.close();
  const late = start(['--timeout', '3s', ...touch]);
  t.equal(await late.ended, 69);
  t.match(late.stderr(), /not ready within 3 s: .*cannot be reached/);
  for (const { stdout } of [refused, unset, late]) t.equal(stdout(), '');
});

t.test('a signal before the command has started ends the wait', async (t) => {
  const { start, sandbox } = await prepare(t, ASKED_ONCE);
  await sandbox.close();
  const command = start(script(''));
  await command.until('waiting:');
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 143);
});

t.test('a command that is not there, or is none, has the exit codes of a shell', async (t) => {
  const { start } = await prepare(t);
  const missing = start(['--', '/nowhere/at-all']);
  t.equal(await missing.ended, 127);
  t.match(missing.stderr(), /\/nowhere\/at-all: there is no such command/);
  t.equal(await start(['--', '/etc/passwd']).ended, 126);
});

t.test('its listener is for this machine alone, and records go to stderr when they are asked for', async (t) => {
  const { start } = await prepare(t);
  const open = start(['--listen', '0.0.0.0:0', '--', 'true']);
  t.not(await open.ended, 0);
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const taken = start(['--listen', `127.0.0.1:${port}`, '--', 'true']);
  t.equal(await taken.ended, 69);
  const told = start(['--log-level', 'info', ...script("fetch(process.env.GATEWAY_URL + '/api/v2/users')")]);
  t.equal(await told.ended, 0);
  t.match(told.stderr(), /"msg":"exchange"/);
  t.equal(told.stdout(), '');
});

t.test('the words behind -- are the command, whatever they look like', async (t) => {
  const parsed = parseCommandLine(['run', '--timeout', '5', '--', 'gcg', '--help', '--', '--set']);
  t.match(parsed, { kind: 'run', command: 'run', program: ['gcg', '--help', '--', '--set'] });
  for (const argv of [['run'], ['run', '--'], ['run', 'npm', 'test'], ['run', 'npm', '--', 'test']])
    t.match(parseCommandLine(argv), { kind: 'usage', message: /needs -- before the command/ }, argv.join(' '));
  t.match(parseCommandLine(['run', '--help']), { kind: 'help', text: /Usage: gcg run \[options\] -- COMMAND/ });
  t.match(parseCommandLine(['check', 'gcg.ini']), { kind: 'usage', message: /for a file write --config gcg\.ini/ });
});

t.test('a variable that holds a secret of ours within is kept from the command, a short one is not', async (t) => {
  const SECRETS = ['a-secret-of-length-24-00', 'eight-ch'];
  const [one, two] = SECRETS.map((secret) => `client_id = i\nclient_secret = ${secret}\n`);
  const config = good(load({ file: `[credential]\n${one}[credential.two]\n${two}` }));
  const env = {
    WHOLE: SECRETS[0],
    URL: `https://i:${SECRETS[0]}@login.example.com`,
    SHORT: SECRETS[1],
    WORD: `x-${SECRETS[1]}`,
    OTHER: 'a-secret-of-length-24',
  };
  const made = programEnvironment(env, { config, settings: [], url: 'http://127.0.0.1:4711', program: 'x' });
  t.same(
    Object.keys(env).filter((name) => name in made),
    ['WORD', 'OTHER'],
  );
});

t.test("Genesys' own CLI is pointed here in its own way", async (t) => {
  const result = load({ file: '[general]\nhost = eu-central-1\n[credential]\nclient_id = i\nclient_secret = s\n' });
  const config = good(result);
  const env = (program: string) =>
    programEnvironment({}, { config, settings: [], url: 'http://127.0.0.1:4711', program });
  t.equal(env('/usr/local/bin/gc').GENESYSCLOUD_REGION, 'localhost:4711');
  t.equal(env('terraform').GENESYSCLOUD_REGION, 'eu-central-1');
  t.equal(env('x').NO_PROXY, undefined);
});
