// docs/shared-gateway.md and its example: the commands make the certificates, the configuration is good and serves three
// clients with their rights over TLS and a proxy, and the runtimes named there trust the private CA as it says.

import { execFile, execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problem.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { startConnectProxy } from '../helpers/proxies.ts';
import { startServe } from '../helpers/serve-process.ts';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');
const INI = read('examples/shared-gateway/config.ini');
const PAGE = read('docs/shared-gateway.md');
const CLIENTS = ['crm', 'reporting', 'deploy', 'ops'];
const secretOf = (name: string) => `${name} has a secret of its own`;
const has = (program: string) => {
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }) !== '';
  } catch {
    return false;
  }
};
const skip = ['openssl', 'curl', 'python3'].filter((program) => !has(program)).join(', ');

const folder = mkdtempSync(join(tmpdir(), 'gcg-shared-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const run = promisify(execFile);

t.test(
  'the commands of the page make a CA and a certificate, and with them the example is good',
  { skip },
  async (t) => {
    const commands = /```sh\n(openssl[\s\S]*?)```/.exec(PAGE)?.[1] ?? '';
    execFileSync('sh', ['-ec', commands], { cwd: folder, stdio: 'ignore' });
    for (const name of ['client_secret', 'client_secret.sandbox'])
      writeFileSync(join(folder, name), DEMO_CLIENTS.clientCredentials.secret ?? '', { mode: 0o600 });
    copyFileSync(join(folder, 'ca.crt'), join(folder, 'corporate-ca.crt'));
    writeFileSync(join(folder, 'config.ini'), INI, { mode: 0o600 });
    const overrides = { entries: [], configPath: 'config.ini' };
    const result = loadConfig({ env: {}, cwd: folder, home: folder, platform: 'linux', overrides });
    if (!result.ok) return t.fail(result.problems.map(formatProblem).join('\n'));
    t.strictSame(result.warnings.map(formatProblem), []);
    t.strictSame(
      result.config.clients.map(({ name }) => name),
      CLIENTS,
    );
  },
);

t.test('three clients with their rights, over TLS and through the proxy', { skip }, async (t) => {
  const sandbox = createSandbox();
  const { port: sandboxPort } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const proxy = await startConnectProxy();
  t.teardown(() => proxy.close());
  const hashed = CLIENTS.reduce(
    (text, name, at) =>
      text
        .replace(`${'0'.repeat(52)}c00${at + 1}`, '')
        .replace(
          new RegExp(`(\\[client\\.${name}\\]\\nsecret_sha256\\[\\] = )\\S+`),
          `$1${hash('sha256', secretOf(name))}`,
        ),
    INI,
  );
  const ini = hashed
    .replace(/client_id = .*/g, `client_id = ${DEMO_CLIENTS.clientCredentials.id}`)
    .replace('listen = 0.0.0.0:8443', 'listen = 127.0.0.1:0')
    .replace('admin_listen = 127.0.0.1:8081', 'admin_listen = 127.0.0.1:0')
    .replace('health_listen = 0.0.0.0:9090', 'health_listen = none')
    .replace('shutdown_delay = 5', 'shutdown_delay = 0')
    .replace('url = http://proxy.example.com:3128', `url = http://127.0.0.1:${proxy.port}`)
    .replace('no_proxy = localhost,127.0.0.1', '')
    .concat(`[gateway]\nprotocol = http\nhost = localhost\nport = ${sandboxPort}\n`);
  writeFileSync(join(folder, 'served.ini'), ini, { mode: 0o600 });
  const gateway = await startServe(t, join(folder, 'served.ini'));
  const { port } = new URL(gateway.url);
  const base = `https://localhost:${port}`;
  const env = { PATH: process.env.PATH, HOME: folder, NO_PROXY: 'localhost' };

  const curl = async (name: string, path: string, method = 'GET', ca = 'ca.crt') => {
    const args = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', method];
    const header = ['-H', `X-Gateway-Key: ${secretOf(name)}`, `${base}${path}`];
    const { stdout } = await run('curl', [...args, ...header], { cwd: folder, env: { ...env, CURL_CA_BUNDLE: ca } });
    return Number(stdout);
  };
  for (const [name, path, method, status] of [
    ['crm', '/api/v2/users?pageSize=1', 'GET', 200],
    ['crm', '/api/v2/routing/queues', 'GET', 403],
    ['reporting', '/api/v2/users?pageSize=1', 'GET', 200],
    ['reporting', '/api/v2/users/1', 'DELETE', 403],
    ['reporting', '/sandbox/api/v2/users', 'GET', 403],
    ['deploy', '/default/api/v2/users?pageSize=1', 'GET', 200],
    ['deploy', '/api/v2/users/1', 'DELETE', 403],
    ['nobody', '/api/v2/users', 'GET', 401],
  ] as const)
    t.equal(await curl(name, path, method), status, `${name}: ${method} ${path}`);
  t.ok(proxy.asked.length > 0, 'calls went through the corporate proxy');

  const asked = `${base}/api/v2/users?pageSize=1`;
  const headers = JSON.stringify({ 'X-Gateway-Key': secretOf('crm') });
  const programs: [string, string[], Record<string, string>][] = [
    [
      process.execPath,
      ['-e', `fetch('${asked}',{headers:${headers}}).then(({status})=>console.log(status))`],
      { NODE_EXTRA_CA_CERTS: join(folder, 'ca.crt') },
    ],
    [
      'python3',
      ['-c', `import urllib.request as u; print(u.urlopen(u.Request('${asked}', headers=${headers})).status)`],
      { SSL_CERT_FILE: join(folder, 'ca.crt') },
    ],
  ];
  for (const [program, args, trust] of programs) {
    t.equal((await run(program, args, { env: { ...env, ...trust } })).stdout.trim(), '200', `${Object.keys(trust)}`);
    await t.rejects(run(program, args, { env }), `${program} without it trusts nothing`);
    for (const name of Object.keys(trust)) t.match(PAGE, name);
  }
  await t.rejects(curl('crm', '/api/v2/users', 'GET', '/etc/ssl/certs/ca-certificates.crt'), { code: 60 });
  t.equal(await gateway.end('SIGTERM'), 0);
});
