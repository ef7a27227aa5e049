// The process before a path that is no plain file: it does not start with one, goes on when one comes in the place of a
// file that it uses, and ends when it is told to.

import { execFileSync, spawnSync } from 'node:child_process';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import t from 'tap';
import { EXIT } from '../../src/cli/io.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { addressOf, startCommand } from '../helpers/command.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { makeOddPaths } from '../helpers/odd-paths.ts';
import { MAIN } from '../helpers/program.ts';

const odd = await makeOddPaths(t);

for (const kind of ['a FIFO', 'an endless device']) {
  const { path, words } = odd[kind] as { path: string; words: RegExp };
  for (const [what, env, args] of [
    ['the configuration', {}, ['--config', path]],
    ['a secret', { GCG_CREDENTIAL_CLIENT_ID: 'i', GCG_CREDENTIAL_CLIENT_SECRET_FILE: path }, []],
    ['an authority', { GCG_TLS_CA_FILE: path }, []],
    ['a PAC file', { GCG_PROXY_URL: `pac+file://${path}` }, []],
  ] as const) {
    t.test(`${kind} as ${what}: serve ends with 78 and says why`, async (t) => {
      const command = startCommand(t, ['serve', ...args], { env });
      t.equal(await command.ended, EXIT.badConfig);
      t.match(command.stderr(), words);
    });
  }

  t.test(`init --from-gc with ${kind} as the file of the other CLI: refused`, async (t) => {
    const cwd = t.testdir();
    symlinkSync(path, join(cwd, 'config.toml'));
    const command = startCommand(t, ['init', '--from-gc'], { cwd });
    t.equal(await command.ended, EXIT.failure);
    t.match(command.stderr(), words);
  });

  t.test(`init with ${kind} where it would write: it is there already`, async (t) => {
    const cwd = t.testdir();
    symlinkSync(path, join(cwd, 'gcg.ini'));
    const command = startCommand(t, ['init', '--client-id', 'i'], { cwd });
    t.equal(await command.ended, EXIT.failure);
    t.match(command.stderr(), /is there already/);
  });
}

t.test(
  'the profiles of another user are not imported',
  { skip: process.geteuid?.() !== 0 && 'only root can give files away' },
  async (t) => {
    const cwd = t.testdir({
      'config.toml': '[default]\nclient_credentials = "theirs"\nclient_secret = "s"\ngrant_type = "1"\n',
    });
    execFileSync('chown', ['4711', join(cwd, 'config.toml')]);
    const command = startCommand(t, ['init', '--from-gc'], { cwd });
    t.equal(await command.ended, EXIT.failure);
    t.match(command.stderr(), /config\.toml belongs to another user \(4711\); make a copy that is yours/);
  },
);

t.test(
  'standard input and a process substitution are refused, because a reload could not read them again',
  async (t) => {
    const cwd = t.testdir();
    const check = (script: string) =>
      spawnSync('bash', ['--norc', '-c', script], { cwd, encoding: 'utf8', env: childEnvironment });
    const gcg = `'${process.execPath}' '${MAIN}' check --config`;
    for (const script of [`printf '[credential]' | ${gcg} /dev/stdin`, `${gcg} <(printf '[credential]')`]) {
      const { status, stderr } = check(script);
      t.equal(status, EXIT.badConfig, script);
      t.match(
        stderr,
        /^flag --config: \/dev\/\S+ is a pipe, not a plain file; write its content into a file and name that\n$/,
        script,
      );
    }
    const { status, stderr } = check(`exec 3<<'EOF'\n[server]\nlisten = x\nEOF\n${gcg} /dev/fd/3`);
    t.equal(status, EXIT.badConfig);
    t.match(
      stderr,
      /is a pipe|fd\/3:2: server\.listen: /,
      'a here-document is a pipe or a file, as the shell makes it',
    );
  },
);

t.test('a running gateway keeps what it had, says so and goes on, whichever of its files is replaced', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const own = ca.issue(['127.0.0.1']);
  const locked = ca.issue(['client'], { passphrase: 'opensesame' });
  const sandbox = createSandbox({ switches: { latencyMs: 1 } });
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const cwd = t.testdir();
  const write = (name: string, content: string) => writeFileSync(join(cwd, name), content, { mode: 0o600 });
  const files = {
    'gcg.ini': `[gateway]\nhost = ${host}\nport = ${port}\nprotocol = http
[server]\nlisten = 127.0.0.1:0
[server.tls]\ncert_file = own.crt\nkey_file = own.key\nclient_ca_file = clients.pem
[credential]\nclient_id = ${id}\nclient_secret_file = client-secret
[client.crm]\nsecret_file = crm-secret
[proxy]\nurl = http://127.0.0.1:9\nusername = u\npassword_file = proxy-password\nno_proxy = ${host}
[tls]\nca_file = ca.pem\ncert_file = locked.crt\nkey_file = locked.key\nkey_passphrase_file = passphrase
[store]\ntype = file\npath = store\nencryption_key_file = store-key\n`,
    'client-secret': secret,
    'crm-secret': 'secret-of-the-crm-here',
    'proxy-password': 'secret-of-the-proxy',
    passphrase: 'opensesame',
    'store-key': 'an-encryption-key-of-this-test',
    'own.crt': own.cert,
    'own.key': own.key,
    'clients.pem': ca.caPem,
    'ca.pem': ca.caPem,
    'locked.crt': locked.cert,
    'locked.key': locked.key,
  };
  for (const [name, content] of Object.entries(files)) write(name, content);
  const command = startCommand(t, ['serve', '--config', 'gcg.ini'], { cwd });
  const url = addressOf(await command.until('"msg":"listening"'));
  await command.until('"msg":"ready"');
  const records = (msg: string) => command.stdout().split(`"msg":"${msg}"`).length - 1;
  const nth = async (msg: string, count: number) => {
    for (let seen = ''; records(msg) < count; ) seen = await command.until(new RegExp(`^[^]{${seen.length + 1}}`));
  };
  const call = () =>
    new Promise<number | undefined>((resolve, reject) => {
      const headers = { authorization: 'Bearer secret-of-the-crm-here' };
      request(`${url}/api/v2/users?pageSize=1`, { ca: ca.caPem, headers, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });
  t.equal(await call(), 200);
  let refused = 0;
  let applied = 0;
  for (const name of Object.keys(files)) {
    for (const kind of ['a FIFO', 'an endless device']) {
      const path = join(cwd, name);
      symlinkSync((odd[kind] as { path: string }).path, `${path}.odd`);
      renameSync(path, `${path}.kept`);
      renameSync(`${path}.odd`, path);
      command.child.kill('SIGHUP');
      await nth('configuration refused, the previous one stays in use', ++refused);
      // The client's own proof is asked of the file each second: without it nobody is that client.
      t.equal(await call(), name === 'crm-secret' ? 401 : 200, `${name} = ${kind}`);
      renameSync(`${path}.kept`, path);
      command.child.kill('SIGHUP');
      await nth('configuration reloaded', ++applied);
      refused = records('configuration refused, the previous one stays in use');
      applied = records('configuration reloaded');
    }
  }
  t.equal(await call(), 200);
  rmSync(join(cwd, 'client-secret'));
  execFileSync('mkfifo', [join(cwd, 'client-secret')]);
  command.child.kill('SIGHUP');
  await nth('configuration refused, the previous one stays in use', ++refused);
  command.child.kill('SIGTERM');
  t.equal(await command.ended, EXIT.ok);
});
