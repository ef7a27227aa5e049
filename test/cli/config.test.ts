// gcg config: effective values with their origin, secrets masked, as text and as JSON; and the schema.

import t from 'tap';
import { parseCommandLine } from '../../src/cli/args.ts';
import { showConfig } from '../../src/cli/commands/config.ts';

async function run(dir: string, argv: readonly string[], env: Record<string, string> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const parsed = parseCommandLine(argv);
  if (parsed.kind !== 'run') throw new Error(parsed.kind);
  const write = (to: string[]) => ({ write: (text: string) => to.push(text) });
  const io = {
    stdout: write(out),
    stderr: write(err),
    env,
    cwd: dir,
    isTTY: false,
    home: '/home/x',
    platform: process.platform,
  };
  const code = await showConfig(parsed, io);
  return { code, out: out.join(''), err: err.join('') };
}

const FILE = `[credential]
client_id = an-id
client_secret = CANARY-1
[credential.crm]
client_id = another
client_secret_env = CRM
[client.a]
secret = CANARY-2
[proxy]
url = http://user:CANARY-3@proxy:3128
[upstream.headers]
Genesys-App = my-app
X-Api-Key = CANARY-5
`;
const ENV = { GCG_TIMEOUTS_BODY: '2m', CRM: 'CANARY-4' };
const ARGV = ['config', '--listen', '127.0.0.1:9999', '--set', 'retry.retry_max=1'];

t.test('each value is shown with its origin', async (t) => {
  const { code, out } = await run(t.testdir({ 'gcg.ini': FILE }), ARGV, ENV);
  t.equal(code, 0);
  const lines = out.split('\n').map((line) => line.replace(/ +# /, ' # '));
  for (const line of [
    'credential.client_id = an-id # gcg.ini:2',
    'credential.client_secret = [redacted] # gcg.ini:3',
    'credential.crm.client_secret_env = CRM # gcg.ini:6',
    'client.a.secret = [redacted] # gcg.ini:8',
    'proxy.url = http://[redacted]@proxy:3128 # gcg.ini:10',
    'upstream.headers.Genesys-App = my-app # gcg.ini:12',
    'server.listen = 127.0.0.1:9999 # flag --listen',
    'retry.retry_max = 1 # flag --set retry.retry_max',
    'timeouts.body = 2m # env GCG_TIMEOUTS_BODY',
    'timeouts.connect = 5 # default',
    'server.admin_listen = 127.0.0.1:9999 # flag --listen (server.listen)',
    'credential.default = true # default',
    'credential.crm.host = mypurecloud.com # default',
    'logging.log_format = json # default',
  ]) {
    t.ok(lines.includes(line), line);
  }
});

t.test('a value that follows from another setting is shown with that one', async (t) => {
  const shown = async (file: string, env: Record<string, string> = {}) =>
    (await run(t.testdir({ 'gcg.ini': file }), ['config'], env)).out
      .split('\n')
      .map((line) => line.replace(/ +# /, ' # '));
  const service = 'client_id = i\nclient_secret = s\n';
  const all = await shown(
    `[general]\nhost = eu-central-1\n[gateway]\nhost = ` +
      `http://127.0.0.1:1\n[credential]\n${service}[credential.crm]\n${service}default = true\n` +
      '[credential.given]\naccess_token = t\n[retry]\nretry_wait_max = 500ms\n[server]\nlisten = ' +
      '0.0.0.0:2\n[client.a]\nsecret = sixteen-letters-\n',
    { XDG_STATE_HOME: '/state' },
  );
  for (const line of [
    'credential.host = mypurecloud.de # gcg.ini:2 (general.host)',
    'credential.crm.host = mypurecloud.de # gcg.ini:2 (general.host)',
    'gateway.protocol = http # gcg.ini:4 (gateway.host)',
    'credential.default = false # gcg.ini:11 (credential.crm.default)',
    'credential.required = false # gcg.ini:11 (credential.crm.default)',
    'credential.crm.required = true # gcg.ini:11 (credential.crm.default)',
    'credential.grant_type = client_credentials # default',
    'credential.given.grant_type = access_token # gcg.ini:13 (credential.given.access_token)',
    'retry.retry_wait_min = 0.5 # gcg.ini:15 (retry.retry_wait_max)',
    'server.admin_listen = none # gcg.ini:17 (server.listen)',
    'store.type = file # gcg.ini:18 (client.a)',
    'store.path = /state/genesys-cloud-gateway # env XDG_STATE_HOME',
  ]) {
    t.ok(all.includes(line), line);
  }
  const person = await shown('', {
    GCG_CREDENTIAL_ME_GRANT_TYPE: 'pkce',
    GCG_CREDENTIAL_ME_CLIENT_ID: 'i',
    GCG_GENERAL_HOST: 'eu-west-1',
  });
  for (const line of [
    'store.type = file # env GCG_CREDENTIAL_ME_GRANT_TYPE (credential.me.grant_type)',
    'store.path = /home/x/.local/state/genesys-cloud-gateway # default',
    'credential.me.host = mypurecloud.ie # env GCG_GENERAL_HOST (general.host)',
    'gateway.protocol = https # default',
    'retry.retry_wait_min = 1 # default',
  ]) {
    t.ok(person.includes(line), line);
  }
});

t.test('no secret appears, in text or in JSON, while other values do', async (t) => {
  const dir = t.testdir({ 'gcg.ini': FILE });
  for (const argv of [ARGV, [...ARGV, '--json']]) {
    const { out, err } = await run(dir, argv, ENV);
    t.notMatch(out + err, 'CANARY');
    t.match(out, 'an-id');
  }
});

t.test('--json has the files, the settings and the warnings', async (t) => {
  const dir = t.testdir({ 'gcg.ini': FILE });
  const parsed = JSON.parse((await run(dir, ['config', '--json'], ENV)).out);
  t.strictSame(parsed.files, [`${dir}/gcg.ini`]);
  t.ok(
    parsed.settings.some(
      (entry: object) =>
        JSON.stringify(entry) === JSON.stringify({ key: 'server.public_url', value: null, origin: 'default' }),
    ),
  );
  t.type(parsed.warnings, Array);
});

t.test('it needs no credential, but a configuration without mistakes', async (t) => {
  t.equal((await run(t.testdir({}), ['config'])).code, 0);
  const bad = await run(t.testdir({ 'gcg.ini': '[server]\nlisten = x' }), ['config']);
  t.match(bad, { code: 78, out: '', err: /^gcg\.ini:2: server\.listen/ });
});

t.test('--schema prints the JSON schema, whatever the configuration is', async (t) => {
  const { code, out } = await run(t.testdir({ 'gcg.ini': 'nonsense' }), ['config', '--schema']);
  t.equal(code, 0);
  t.match(JSON.parse(out), { $schema: /2020-12/, properties: { server: { properties: { tls: {} } } } });
});
