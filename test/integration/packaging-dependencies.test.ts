// What the gateway holds of others and what is installed beside it: what of it runs, and that a release asks whether
// faults of it are known.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { listenFor, startUpstream } from '../helpers/egress.ts';
import { freePort, startConnectProxy, startSocksProxy } from '../helpers/proxies.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const { dependencies, scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<
  'dependencies' | 'scripts',
  Record<string, string>
>;

/** Brought along by proxy-agent, for ways to a PAC script and to a proxy that the gateway has its own for. */
const NEVER_RUN = ['basic-ftp', 'get-uri', 'data-uri-to-buffer', 'pac-proxy-agent'];

t.test(
  'of what proxy-agent brings along, the code that fetches by ftp, data and http URLs is never loaded',
  async (t) => {
    const upstream = await startUpstream(t);
    const target = `{ host: '127.0.0.1', port: ${upstream.port}, secure: false }`;
    const proxies = [await startConnectProxy(), await startSocksProxy()] as const;
    for (const proxy of proxies) t.teardown(() => proxy.close());
    const pac = join(t.testdir(), 'proxy.pac');
    writeFileSync(pac, `function FindProxyForURL() { return 'SOCKS 127.0.0.1:${proxies[1].port}'; }`);
    const urls = [
      `http://127.0.0.1:${proxies[0].port}`,
      `socks5h://127.0.0.1:${proxies[1].port}`,
      `pac+${pathToFileURL(pac)}`,
    ];
    const script = `
    import { registerHooks } from 'node:module';
    registerHooks({ load(url, context, next) { process.stdout.write(url + '\\n'); return next(url, context); } });
    await import('./src/gateway.ts');
    const { createTestEgress } = await import('./test/helpers/egress.ts');
    for (const url of ${JSON.stringify(urls)}) {
      const egress = createTestEgress({ teardown() {} }, { proxy: { url } });
      (await egress.dial(${target})).destroy();
      egress.close();
    }
    // What the thread of a script imports, which hooks do not reach.
    await Promise.all([import('pac-resolver'), import('quickjs-wasi')]);`;
    const { code, stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script]);
    t.equal(code, 0, stderr);
    const loaded = new Set([...stdout.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)\//g)].map(([, name]) => name));
    for (const name of ['proxy-agent', 'socks-proxy-agent', '@fastify/http-proxy'])
      t.ok(loaded.has(name), `${name} is`);
    for (const name of NEVER_RUN) t.notOk(loaded.has(name), `${name} is not`);
  },
);

t.test(
  'every package is locked with its hash, and nothing that users install runs a script of its own at that',
  async (t) => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, Locked>;
    };
    const { '': own, ...others } = packages;
    t.ok(Object.keys(others).length > 100 && own !== undefined);
    for (const [path, { integrity, hasInstallScript, dev }] of Object.entries(others)) {
      t.match(integrity, /^sha512-/, path);
      t.notOk(hasInstallScript && !dev, `${path}: no install script`);
    }
    // The last two run, or are warned of, where a tarball or a repository is installed.
    for (const script of ['preinstall', 'install', 'postinstall', 'prepublish', 'prepare'])
      t.notOk(script in scripts, script);
    t.match(Object.values(dependencies), [/^\d+\.\d+\.\d+$/], 'what is installed is what was tried and is in the bill');
  },
);

/** A package as the lock file has it. */
interface Locked {
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
}

t.test('a release asks the registry, ends where a fault is known, and says so where it got no answer', async (t) => {
  const [name] = Object.keys(dependencies) as [string];
  const advisory = {
    id: 1,
    url: 'https://advisories.example/1',
    title: 'a fault of the test',
    severity: 'low',
    vulnerable_versions: '*',
  };
  const answers = [
    { what: 'no fault is known', answer: '{}', code: 0, says: /^audited: no known vulnerability/m },
    ...[name, 'fastify', 'undici'].map((one) => ({
      what: `a fault of ${one} is known`,
      answer: JSON.stringify({ [one]: [advisory] }),
      code: 1,
      says: /low: .*a fault of the test[\s\S]*audited: \d+ vulnerable/,
    })),
    {
      what: 'a fault of a tool is known',
      answer: JSON.stringify({ 'fast-check': [advisory] }),
      code: 0,
      says: /^audited: no known vulnerability/m,
    },
    { what: 'no answer to such questions', answer: 405, code: 0, says: /^NOT AUDITED: .* \(it answers 405\)/m },
    { what: 'a broken registry', answer: 503, code: 0, says: /^NOT AUDITED: .* \(it answers 503\)/m },
    { what: 'something that is no registry', answer: '<html>', code: 1, says: /^npm audit failed: /m },
  ];
  for (const { what, answer, code, says } of answers) {
    const registry = await startRegistry(t, answer);
    const ended = await audit(registry.url);
    t.equal(ended.code, code, `${what}: ${ended.stdout}${ended.stderr}`);
    t.match(ended.stdout + ended.stderr, says, what);
    for (const one of [name, 'fastify']) t.ok(registry.asked.includes(one), `${what}: ${one} was asked for`);
  }
  const absent = await audit(`http://127.0.0.1:${await freePort()}`);
  t.match(absent, { code: 0, stdout: /NOT AUDITED: .* \(it cannot be reached\)/ });
});

async function startRegistry(t: Test, answer: string | number): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body).toString() : body.toString();
    if (request.url?.endsWith('/advisories/bulk')) asked.push(...Object.keys(JSON.parse(text)));
    if (typeof answer === 'number') response.writeHead(answer).end();
    else if (request.method === 'GET') response.writeHead(404).end('{}');
    else response.writeHead(200, { 'content-type': 'application/json' }).end(answer);
  });
  return { url: `http://127.0.0.1:${await listenFor(t, server)}`, asked };
}

function audit(registry: string) {
  return run(process.execPath, [join(ROOT, 'scripts/audit.ts')], {
    npm_config_registry: registry,
    npm_config_fetch_retries: '0',
  });
}

async function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...env } });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => (output[stream] += text));
  const [code] = (await once(child, 'close')) as [number];
  return { code, ...output };
}
