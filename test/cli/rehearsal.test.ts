// `gcg demo --config FILE`: one's own configuration before the simulation, with nothing real in reach.

import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { startCommand } from '../helpers/command.ts';

/** Notes every name that is looked up and every address that is dialled. */
const RECORDER = `import dns from 'node:dns'; import net from 'node:net'; import { appendFileSync } from 'node:fs';
const note = (text) => appendFileSync(process.env.DIALLED, text + '\\n');
const { lookup } = dns; dns.lookup = (name, ...rest) => { if (!net.isIP(name)) note('lookup ' + name); return lookup(name, ...rest); };
const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const to = args.flat()[0] ?? {}; note('connect ' + (to.host ?? to.path ?? args[1] ?? 'localhost') + ' ' + (to.port ?? to));
  return connect.apply(this, args);
};`;

t.test(
  'clients, rules and every kind of credential count, and nothing real is dialled, read, run or written',
  async (t) => {
    const real = createServer((socket) => socket.destroy());
    let dialled = 0;
    real.on('connection', () => dialled++).listen(0, '127.0.0.1');
    await once(real, 'listening');
    t.teardown(() => real.close());
    const { port } = real.address() as AddressInfo;
    const dir = t.testdir({ 'recorder.mjs': RECORDER, dialled: '' });
    const touch = (key: string) => `${key}[] = /bin/touch\n${key}[] = ${join(dir, 'ran')}\n`;
    const config = join(dir, 'real.ini');
    writeFileSync(
      config,
      `[general]
host = mypurecloud.de
[gateway]
host = 127.0.0.1:${port}
protocol = http
path_params_api = elsewhere
[server]
listen = 127.0.0.1:0
public_url = https://gateway.example.com
anonymous_credentials = *
[logging]
log_file_path = ${join(dir, 'real.log')}
log_to_console = false
[proxy]
url = http://127.0.0.1:${port}
[tls]
cert_file = /not/there
[store]
type = file
path = ${join(dir, 'store')}
encryption_key_file = /not/there
[credential]
client_id = an-id
${touch('client_secret_command')}
[credential.given]
access_token_env = NOT_SET
host = mypurecloud.ie
[credential.bridge]
grant_type = saml2_bearer
client_id = a-bridge
client_secret_file = /not/there
org_name = acme
${touch('assertion_command')}
[credential.me]
grant_type = pkce
client_id = a-person
refresh_token_file = /not/there
[client.crm]
secret = secret-of-the-crm-app
allow[] = GET /api/v2/users/**
`,
      { mode: 0o600 },
    );
    const command = startCommand(t, ['demo', '--config', config], {
      cwd: dir,
      env: {
        HTTPS_PROXY: `http://127.0.0.1:${port}`,
        DIALLED: join(dir, 'dialled'),
        NODE_OPTIONS: `--import=${pathToFileURL(join(dir, 'recorder.mjs'))}`,
      },
    });
    const said = await command.until('Ctrl-C ends it');
    const [, url = ''] = /A rehearsal of \S+, on (http:\S+)\./.exec(said) ?? [];
    const [, simulation = ''] = /is simulated \((\S+)\)/.exec(said) ?? [];
    const status = (path: string, headers: Record<string, string> = {}) =>
      fetch(url + path, { headers }).then(async (answer) => {
        await answer.text();
        return answer.status;
      });
    t.equal(await status('/api/v2/users'), 200);
    t.equal(await status('/given/api/v2/users'), 200);
    t.equal(await status('/bridge/api/v2/users'), 200);
    t.equal(await status('/me/api/v2/users'), 424, 'a person has to log in');
    const crm = { authorization: 'Bearer secret-of-the-crm-app' };
    t.equal(await status('/api/v2/users', crm), 200);
    t.equal(await status('/api/v2/organizations/me', crm), 403, 'its own rules count');
    const login = await fetch(`${url}/-/login/me`, { redirect: 'manual' });
    t.notMatch(login.headers.get('location'), /example\.com/, 'a browser stays on this machine');
    const channel = await fetch(`${url}/bridge/api/v2/notifications/channels`, { method: 'POST' });
    t.match(await channel.json(), { connectUri: new RegExp(`^ws://${url.slice(7)}/`) }, 'and so does a socket');
    t.match(said, /default \(client_credentials\): client id an-id, secret simulated-secret-/);
    t.match(said, /Callers: crm, .*; and anonymous ones/);
    const replaced = [
      'gateway.host',
      'proxy.url',
      'store.path',
      'credential.client_secret_command',
      'logging.log_file_path',
    ];
    for (const key of replaced) t.ok(said.split('Replaced or left out')[1]?.includes(key), key);
    command.child.kill('SIGINT');
    t.equal(await command.ended, 0);

    const [host, simulationPort] = simulation.split(':');
    const where = new Set(readFileSync(join(dir, 'dialled'), 'utf8').trim().split('\n'));
    t.strictSame([...where], [`connect ${host} ${simulationPort}`], 'the positive control is the simulation itself');
    t.equal(dialled, 0);
    for (const name of ['ran', 'store', 'real.log']) t.notOk(existsSync(join(dir, name)), name);
  },
);

t.test('a mistake in what counts is told as ever, and a file that is not there too', async (t) => {
  const dir = t.testdir({
    'bad.ini': '[credential]\nclient_id = i\n[client.crm]\nsecret = a-secret-of-16-chars\nallow[] = nonsense\n',
  });
  const bad = startCommand(t, ['demo', '--config', 'bad.ini'], { cwd: dir });
  t.equal(await bad.ended, 78);
  t.match(bad.stderr(), /bad\.ini:5: client\.crm\.allow/);
  t.match(bad.stderr(), /credential\.client_secret: is missing/);
  const none = startCommand(t, ['demo', '--config', 'none.ini'], { cwd: dir });
  t.equal(await none.ended, 78);
  t.match(none.stderr(), /flag --config: none\.ini does not exist/);
});
