// The ten questions of docs/log.md, answered by their commands from the log of a gateway to which all of it
// happened; and the examples round it: rotation of its log, a command beside it, its start at login.

import { execFile, execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { MAIN } from '../helpers/program.ts';
import { startServed } from '../helpers/served.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const PAGE = readFileSync(new URL('../../docs/log.md', import.meta.url), 'utf8');
const run = promisify(execFile);
const isThere = (program: string) => {
  try {
    execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin" command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
const unless = (program: string) => (isThere(program) ? false : `no ${program} here`);

/** The commands under a question, as they stand there. */
function commandsOf(question: number): string[] {
  const [, after = ''] = PAGE.split('## Ten questions answered from log, status and metrics');
  const text = after.split(/^\d+\. \*\*/m)[question] ?? '';
  return [...text.matchAll(/^ *```sh\n([\s\S]*?)^ *```/gm)].map(([, command]) => command ?? '');
}

const OLD = 'the secret of crm before';
const NEW = 'the secret of crm now, and then';
const sha = (secret: string) => hash('sha256', secret);

async function eventfulDay(t: Test) {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const served = await startServed(
    t,
    `[client.crm]
secret_sha256[] = ${sha(OLD)}
secret_sha256[] = ${sha(NEW)}
[client.reporting]
secret = reporting has one of its own
allow[] = @read-only
requests_per_minute = 3
[client.ops]
secret = ops has one of its own
admin = true
[client.partner]
secret = partner has one of its own
expires = ${new Date(Date.now() + 9 * 86_400_000).toISOString().slice(0, 10)}
[tls]
ca_file = ${ca.caFile}
[retry]
retry_max = 0
[timeouts]
total_wait = 1
[logging]
log_file_path = gateway.log
`,
  );
  const { url, sandbox } = served;
  const call = async (secret: string, path: string, method = 'GET', more = {}, version = 1) => {
    const headers = { 'x-gateway-key': secret, 'user-agent': 'nightly-export/2', ...more };
    const body = method === 'PATCH' ? JSON.stringify({ version, title: 'Agent' }) : null;
    const answer = await fetch(`${url}${path}`, { method, headers, body });
    await answer.text();
    return answer.headers.get('x-gateway-request-id') ?? '';
  };
  const users = '/api/v2/users?pageSize=1';
  const requestId = await call(OLD, users);
  await call(NEW, users);
  const [user] = JSON.parse(
    await (await fetch(`${url}${users}`, { headers: { 'x-gateway-key': NEW } })).text(),
  ).entities;
  await call(NEW, `/api/v2/users/${user.id}`, 'PATCH', { 'content-type': 'application/json' });
  await call(NEW, `/default/api/v2/users/${user.id}`, 'PATCH', { 'content-type': 'application/json' }, 2);
  await call('reporting has one of its own', `/api/v2/users/${user.id}`, 'DELETE');
  await Promise.all([1, 2, 3, 4, 5].map(() => call('reporting has one of its own', users)));
  for (const guess of ['guess one', 'guess two']) await call(guess, users);
  await fetch(`${url}/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('crm:a secret that is gone')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  sandbox.set({ latencyMs: 1100 });
  await call(NEW, users);
  sandbox.set({ latencyMs: 0, serverError: { status: 500, next: 1 } });
  await call(NEW, users);
  await sandbox.close();
  await call(NEW, users);
  const isWritten = () => readFileSync(join(served.folder, 'gateway.log'), 'utf8').includes('upstream.unreachable');
  while (!isWritten()) await (await fetch(`${url}/livez`)).text();
  return { served, requestId, user: user.id as string };
}

t.test('each question has its answer', { skip: unless('jq') }, async (t) => {
  const { served, requestId, user } = await eventfulDay(t);
  const known: Record<string, string> = {
    REQUEST_ID: requestId,
    USER_ID: user,
    CLIENT: 'crm',
    'gcg status': `${process.execPath} ${MAIN} status --listen ${new URL(served.url).host}`,
  };
  const answer = (question: number, client = 'crm') =>
    commandsOf(question).map((command) => {
      const text = Object.entries({ ...known, CLIENT: client }).reduce(
        (all, [from, to]) => all.replaceAll(from, to),
        command,
      );
      const env = { ...childEnvironment, HOME: served.folder, GCG_ADMIN_KEY: 'ops has one of its own' };
      return execFileSync('sh', ['-ec', text], { cwd: served.folder, encoding: 'utf8', env });
    });
  const first = JSON.parse(answer(1)[0] ?? '');
  t.match(first, {
    ...{ client: 'crm', method: 'GET', status: 200, credential: 'default' },
    ...{ peer: '127.0.0.1', userAgent: 'nightly-export/2', claimedClient: null, sessionUser: null },
  });
  t.ok(sha(OLD).startsWith(first.secretFingerprint));
  const [refused, used] = answer(2);
  t.match(refused, /^ +[2-9] reporting\t\S/m);
  t.match(used, /\tdefault\tcrm$/m);
  t.match(answer(3)[0] ?? '', new RegExp(`^ +1 ${sha(OLD).slice(0, 8)}\\t127\\.0\\.0\\.1\tnightly-export/2$`, 'm'));
  t.match(answer(3)[0] ?? '', new RegExp(`${sha(NEW).slice(0, 8)}`));
  const changes =
    answer(4)[0]
      ?.trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line)) ?? [];
  t.strictSame(
    changes.map(({ method, path }) => [method, path]),
    ['', '/default'].map((prefix) => ['PATCH', `${prefix}/api/v2/users/${user}`]),
    'by either path, and not what was refused',
  );
  t.match(answer(5)[0] ?? '', /^ +2 127\.0\.0\.1\tno name\tnightly-export\/2\tgateway\.client\.unauthenticated$/m);
  t.match(answer(5)[0] ?? '', /^ +1 127\.0\.0\.1\tcrm\t\S+\tgateway\.client\.unauthenticated$/m, 'who it said to be');
  t.match(answer(6)[0], /^\d{4}-\d\d-\d\dT\S+\tcertificate upstream_ca\t\//m);
  t.match(answer(6)[0], /^\d{4}-\d\d-\d\dT\S+\tclient partner\tactive$/m);
  t.match(
    answer(7, 'reporting')[0] ?? '',
    /^ +1 403 DELETE \/api\/v2\/users\/\{\w+\}\tgateway\.client\.forbidden\tallow\[\]: not listed\tthe rules of client reporting/m,
  );
  t.match(answer(8)[0], /^ +1 500\tanswered by Genesys Cloud$/m);
  t.match(answer(8)[0], /^ +1 502\tgateway\.upstream\.unreachable$/m);
  t.match(answer(9)[0], /\tGET\t\/api\/v2\/users\t1[12]\d\d/);
  t.match(answer(10)[0], /^ +\d GET \/api\/v2\/users$/m);
  t.equal(commandsOf(10).length, 1, 'ten there are');

  await t.test(
    'logrotate moves the file, and the gateway goes on in a new one',
    { skip: unless('logrotate') },
    async (t) => {
      const file = join(served.folder, 'gateway.log');
      const text = readFileSync(`${EXAMPLES}logrotate/genesys-cloud-gateway`, 'utf8')
        .replaceAll('/var/log/genesys-cloud-gateway/gateway.log', file)
        .replace(/systemctl kill .*/, `kill -USR2 ${served.command.child.pid}`);
      t.match(text, 'kill -USR2');
      const config = join(served.folder, 'rotate.conf');
      writeFileSync(config, text, { mode: 0o644 });
      const args = ['--force', '--state', join(served.folder, 'rotate.state'), config];
      await run('logrotate', args, { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
      t.ok(existsSync(`${file}.1`));
      while (!existsSync(file) || statSync(file).size === 0)
        await (await fetch(`${served.url}/api/v2/users`, { headers: { 'x-gateway-key': NEW } })).text();
      t.equal(statSync(file).mode & 0o777, 0o600);
    },
  );
});

t.test('every alert has its row', async (t) => {
  const rules = readFileSync(`${EXAMPLES}prometheus/alerts.yml`, 'utf8');
  const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = page.split('## When an alert fires')[1] ?? '';
  for (const [, name] of rules.matchAll(/- alert: (\w+)/g)) t.ok(rows.includes(`\`${name}\``), `${name}`);
});

t.test('a command with a gateway beside it ends with its own exit code, and holds no secret', async (t) => {
  const sandbox = createSandbox();
  const { port } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const free = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port: found } = server.address() as { port: number };
      server.close(() => resolve(found));
    });
  });
  const folder = t.testdir();
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin/gcg'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
  const { id, secret = '' } = DEMO_CLIENTS.clientCredentials;
  const withGateway = async (command: string, more: Record<string, string> = {}) => {
    const env = {
      ...childEnvironment,
      PATH: `${folder}/bin:${process.env.PATH}`,
      HOME: folder,
      PORT: String(free),
      GCG_GATEWAY_HOST: '127.0.0.1',
      GCG_GATEWAY_PORT: String(port),
      GCG_GATEWAY_PROTOCOL: 'http',
      GCG_CREDENTIAL_CLIENT_ID: id,
      GCG_CREDENTIAL_CLIENT_SECRET: secret,
      ...more,
    };
    const script = `${EXAMPLES}ci/with-gateway.sh`;
    return run('sh', [script, 'sh', '-c', command], { cwd: folder, env }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    );
  };
  const good = await withGateway('curl -fsS "$GATEWAY_URL/api/v2/users?pageSize=1"; env; exit 7');
  t.equal(good.code, 7);
  t.match(good.stdout, '"pageSize":1');
  t.notMatch(good.stdout, secret);
  const bad = await withGateway('echo never', { GCG_CREDENTIAL_CLIENT_SECRET: 'wrong' });
  t.equal(bad.code, 77, 'at once: waiting does not mend it');
  t.notMatch(bad.stdout, 'never');
  t.match(bad.stderr, /the gateway is not ready; its log:.*rejected/s);
  const wrong = await withGateway('echo never', { GCG_SERVER_LISTEN: 'x', GCG_RETRY_RETRY_MAX: 'many' });
  t.equal(wrong.code, 78, 'a mistake in the configuration is told at once');
  await t.rejects(fetch(`http://127.0.0.1:${free}/livez`), 'nothing is left running');
});

t.test('the services of a login are well-formed', async (t) => {
  const unit = readFileSync(`${EXAMPLES}login-service/gcg.service`, 'utf8');
  t.match(unit, /^WantedBy=default\.target$/m, 'a unit of a user, not of the system');
  const plist = readFileSync(`${EXAMPLES}login-service/local.gcg.plist`, 'utf8');
  const opened = [...plist.matchAll(/<(\w+)(?: [^>]*)?>/g)].map(([, name]) => name).sort();
  const closed = [...plist.matchAll(/<\/(\w+)>/g)].map(([, name]) => name).sort();
  t.strictSame(opened, closed, 'every element is closed');
  for (const text of [unit, plist]) t.match(text, 'gateway/gcg.ini', 'the file that README makes');
});
