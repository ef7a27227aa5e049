// PAC files: the list is honoured in order, changes count, and a script that misbehaves is bounded and named.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { request } from 'undici';
import type { Clock } from '../../src/clock.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, dispatcherOver, listenFor, startUpstream } from '../helpers/egress.ts';
import { freePort, startConnectProxy, startSocksProxy } from '../helpers/proxies.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());
const folder = mkdtempSync(join(tmpdir(), 'gcg-pac-'));
t.teardown(() => rmSync(folder, { recursive: true }));
let files = 0;

function pacFile(body: string): { file: string; url: string } {
  files += 1;
  const file = join(folder, `${files}.pac`);
  writeFileSync(file, body);
  return { file, url: `pac+${pathToFileURL(file)}` };
}
const returning = (list: string) => `function FindProxyForURL(url, host) { return ${JSON.stringify(list)}; }`;

/** Real timers, and a monotonic clock that can be put forward. */
function movableClock(): Clock & { forward(ms: number): void } {
  let offsetMs = 0;
  return {
    now: () => Date.now() + offsetMs,
    monotonic: () => performance.now() + offsetMs,
    after(delayMs, fn) {
      const timer = setTimeout(fn, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
    forward(ms) {
      offsetMs += ms;
    },
  };
}

t.test('PROXY dead; SOCKS5 x; DIRECT falls through to the one that is there', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['api.region.test']));
  const socks = await startSocksProxy({ login: 'corp:pass' });
  t.teardown(() => socks.close());
  const { url } = pacFile(returning(`PROXY 127.0.0.1:${await freePort()}; SOCKS5 127.0.0.1:${socks.port}; DIRECT`));
  const egress = createTestEgress(t, {
    proxy: { url, username: 'corp', password: 'pass' },
    tls: { caFile: ca.caFile },
  });
  const answer = await request(`https://api.region.test:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.equal(await answer.body.text(), 'hello');
  t.strictSame(socks.asked, [`api.region.test:${upstream.port}`]);
});

t.test('a dead end falls through to DIRECT, a hanging one within its share of the time', async (t) => {
  const upstream = await startUpstream(t);
  const hanging = await startConnectProxy({ answer: () => {} });
  t.teardown(() => hanging.close());
  const { url } = pacFile(returning(`PROXY 127.0.0.1:${await freePort()}; PROXY 127.0.0.1:${hanging.port}; DIRECT`));
  const egress = createTestEgress(t, { proxy: { url }, timeouts: { connectMs: 600 } });
  const dial = () => egress.dial({ host: '127.0.0.1', port: upstream.port, secure: false });
  (await dial()).destroy();
  await hanging.closed();
  t.equal(hanging.asked.length, 1);
  (await dial()).destroy();
  t.equal(hanging.asked.length, 1, 'what was dead a moment ago is tried last');
});

t.test('a proxy that says no is obeyed, and nothing else is tried', async (t) => {
  const upstream = await startUpstream(t);
  for (const [status, code] of [
    ['403 Forbidden', 'gateway.proxy.refused'],
    ['407 X', 'gateway.proxy.auth'],
  ]) {
    const strict = await startConnectProxy({ answer: `HTTP/1.1 ${status}\r\n\r\n` });
    t.teardown(() => strict.close());
    const egress = createTestEgress(t, {
      proxy: { url: pacFile(returning(`PROXY 127.0.0.1:${strict.port}; DIRECT`)).url },
    });
    await t.rejects(egress.dial({ host: '127.0.0.1', port: upstream.port, secure: false }), { code });
  }
  t.equal(upstream.connections(), 0);
});

t.test('when nothing is left, the error tells what was tried', async (t) => {
  const [first, second] = [await freePort(), await freePort()];
  const egress = createTestEgress(t, {
    proxy: { url: pacFile(returning(`PROXY 127.0.0.1:${first}; SOCKS 127.0.0.1:${second}`)).url },
  });
  await t.rejects(egress.dial({ host: '127.0.0.1', port: 1, secure: false }), {
    code: 'gateway.proxy.refused',
    message: new RegExp(
      `socks5h://127.0.0.1:${second} cannot be reached.*tried before: http://127.0.0.1:${first} ` +
        `\\(gateway.proxy.refused\\)`,
    ),
  });
});

t.test('the script sees host and URL with its port, and may ask for addresses', async (t) => {
  const { url } = pacFile(`function FindProxyForURL(url, host) {
    if (shExpMatch(url, 'https://api.region.test:8443/*') && dnsDomainIs(host, '.region.test'))
      return 'HTTPS 127.0.0.1:1';
    if (isInNet(host, '127.0.0.0', '255.0.0.0') && /^\\d+\\.\\d+\\.\\d+\\.\\d+$/.test(myIpAddress()))
      return 'SOCKS4 127.0.0.1:2';
    return '';
  }`);
  const egress = createTestEgress(t, { proxy: { url } });
  t.strictSame(await egress.routes('https://api.region.test:8443/x?secret=1'), ['https://127.0.0.1:1']);
  t.strictSame(await egress.routes('http://127.0.0.1/'), ['socks4a://127.0.0.1:2']);
  t.strictSame(await egress.routes('http://elsewhere.test/'), ['direct']);
  t.match(egress.describe('https://x/'), { via: /^PAC file file:\/\/.*\.pac$/, reason: 'proxy.url' });
});

const bad: { name: string; script: string; message: RegExp }[] = [
  { name: 'loops', script: 'function FindProxyForURL() { while (true) {} }', message: /runs too long and was stopped/ },
  { name: 'loops at the top', script: 'while (true) {}', message: /runs too long and was stopped/ },
  {
    name: 'loops over DNS',
    script: 'function FindProxyForURL() { while (true) dnsResolve("localhost"); }',
    message: /asks DNS without end/,
  },
  { name: 'throws', script: 'function FindProxyForURL() { throw new Error("no idea"); }', message: /throws: no idea/ },
  {
    name: 'recurses without end',
    script: 'function FindProxyForURL() { return FindProxyForURL(); }',
    message: /throws: /,
  },
  { name: 'is no script', script: '<html>login first</html>', message: /throws: / },
  { name: 'defines nothing', script: 'var x = 1;', message: /throws: / },
  { name: 'names nothing that is known', script: returning('CARRIER-PIGEON coop:1'), message: /names no route/ },
];
for (const { name, script, message } of bad) {
  t.test(`a script that ${name} is named in the error`, async (t) => {
    const { url } = pacFile(script);
    const egress = createTestEgress(t, { proxy: { url } });
    const dial = () => egress.dial({ host: '127.0.0.1', port: 1, secure: false });
    await t.rejects(dial(), { code: 'gateway.proxy.refused', message });
    await t.rejects(dial(), { message: new RegExp(`the PAC file ${url.slice(4)} cannot be used.*proxy\\.url`) });
  });
}

t.test('a PAC file on disk is read again when it changed, at most once a minute', async (t) => {
  const clock = movableClock();
  const { file, url } = pacFile(returning('PROXY first:1'));
  const egress = createTestEgress(t, { proxy: { url }, clock });
  const routes = () => egress.routes('https://api.region.test/');
  t.strictSame(await routes(), ['http://first:1']);
  writeFileSync(file, returning('PROXY second:22'));
  t.strictSame(await routes(), ['http://first:1']);
  clock.forward(61_000);
  await until(async () => (await routes())[0] === 'http://second:22');
  t.pass('the change counts');
  rmSync(file);
  clock.forward(61_000);
  t.strictSame(await routes(), ['http://second:22'], 'one that has gone stays in use');
});

t.test('a PAC file on a web server is asked for conditionally, and kept when the server fails', async (t) => {
  const clock = movableClock();
  const asked: (string | undefined)[] = [];
  let current = { status: 200, etag: '"1"', body: returning('PROXY first:1') };
  const server = http.createServer((req, res) => {
    asked.push(req.headers['if-none-match']);
    if (req.headers['if-none-match'] === current.etag) return void res.writeHead(304).end();
    res.writeHead(current.status, { etag: current.etag }).end(current.body);
  });
  const port = await listenFor(t, server);
  const warnings: unknown[] = [];
  const log = { error() {}, info() {}, debug() {}, warn: (fields: unknown) => void warnings.push(fields) };
  const egress = createTestEgress(t, {
    proxy: { url: `pac+http://127.0.0.1:${port}/proxy.pac?token=canary` },
    clock,
    log,
  });
  const routes = () => egress.routes('https://api.region.test/');
  t.strictSame(await Promise.all([routes(), routes()]), [['http://first:1'], ['http://first:1']]);
  t.strictSame(asked, [undefined], 'two at once fetch once');
  clock.forward(61_000);
  await until(async () => (await routes()) && asked.length === 2);
  t.equal(asked[1], '"1"');
  current = { status: 200, etag: '"2"', body: returning('PROXY second:2') };
  await until(async () => {
    clock.forward(61_000);
    return (await routes())[0] === 'http://second:2';
  });
  current = { status: 500, etag: '"3"', body: 'broken' };
  await until(async () => {
    clock.forward(61_000);
    await routes();
    return warnings.length > 0;
  });
  t.strictSame(await routes(), ['http://second:2']);
  t.match(JSON.stringify(warnings[0]), /answered 500/);
  t.notMatch(JSON.stringify([warnings, egress.describe('https://x/')]), /canary/);
});

t.test('a PAC file over https is verified', async (t) => {
  const server = https.createServer(ca.issue(['localhost']), (_req, res) => void res.end(returning('DIRECT')));
  const port = await listenFor(t, server);
  const url = `pac+https://localhost:${port}/proxy.pac`;
  const trusting = createTestEgress(t, { proxy: { url }, tls: { caFile: ca.caFile } });
  t.strictSame(await trusting.routes('https://x/'), ['direct']);
  await t.rejects(createTestEgress(t, { proxy: { url } }).routes('https://x/'), {
    code: 'gateway.proxy.refused',
    message: /the PAC file https:\/\/localhost:\d+\/proxy\.pac cannot be used: .*issuer CN=Gateway Test CA/,
  });
});

t.test(
  'the password goes to the proxies of a script on disk or over https, and to the listed ones alone where some are ' +
    'listed',
  async (t) => {
    const upstream = await startUpstream(t);
    const target = { host: '127.0.0.1', port: upstream.port, secure: false };
    const login = { username: 'corp', password: 'password-of-the-test' };
    const proxies = {
      'PROXY 127.0.0.1': () => startConnectProxy({ login: 'corp:password-of-the-test' }),
      'SOCKS5 127.0.0.1': () => startSocksProxy({ login: 'corp:password-of-the-test' }),
    };
    for (const [entry, start] of Object.entries(proxies)) {
      const proxy = await start();
      t.teardown(() => proxy.close());
      const script = returning(`${entry}:${proxy.port}`);
      const serve = (_request: unknown, answer: http.ServerResponse) => void answer.end(script);
      const urls = {
        file: pacFile(script).url,
        https: `pac+https://localhost:${await listenFor(t, https.createServer(ca.issue(['localhost']), serve))}/`,
        http: `pac+http://localhost:${await listenFor(t, http.createServer(serve))}/`,
      };
      for (const [from, credentialHosts, isShown] of [
        ['file', [], true],
        ['https', [], true],
        ['http', [], false],
        ...(['file', 'https', 'http'] as const).flatMap((each) => [
          [each, ['127.0.0.0/8'], true],
          [each, [`127.0.0.1:${proxy.port}`], true],
          [each, ['127.0.0.1:1', 'elsewhere.test'], false],
        ]),
      ] as [keyof typeof urls, string[], boolean][]) {
        const egress = createTestEgress(t, {
          proxy: { url: urls[from], credentialHosts, ...login },
          tls: { caFile: ca.caFile },
        });
        const dialled = egress.dial(target).then(
          (socket) => socket.destroy() && true,
          (error) => error,
        );
        const refusal = {
          code: 'gateway.proxy.auth',
          message: /asks for credentials.* not shown.*proxy\.credential_hosts/,
        };
        if (isShown) t.equal(await dialled, true, `${entry}, ${from}, ${credentialHosts}`);
        else t.match(await dialled, refusal, `${entry}, ${from}, ${credentialHosts}`);
      }
    }
  },
);

t.test('a PAC server that is absent, refuses or hangs', async (t) => {
  const target = { host: 'api.region.test', port: 443, secure: false };
  const absent = createTestEgress(t, { proxy: { url: `pac+http://127.0.0.1:${await freePort()}/p` } });
  await t.rejects(absent.dial(target), { code: 'gateway.proxy.refused', message: /ECONNREFUSED/ });
  const missing = await listenFor(
    t,
    http.createServer((_req, res) => void res.writeHead(404).end()),
  );
  await t.rejects(createTestEgress(t, { proxy: { url: `pac+http://127.0.0.1:${missing}/p` } }).dial(target), {
    message: /its server answered 404/,
  });
  const endless = await listenFor(
    t,
    http.createServer((_req, res) => void res.end('x'.repeat(2 * 1024 * 1024))),
  );
  await t.rejects(createTestEgress(t, { proxy: { url: `pac+http://127.0.0.1:${endless}/p` } }).dial(target), {
    code: 'gateway.proxy.refused',
  });
  const silent = net.createServer();
  const port = await listenFor(t, silent);
  const closed = new Promise<void>((resolve) =>
    silent.on('connection', (socket) => socket.resume().on('close', () => resolve())),
  );
  const hanging = createTestEgress(t, {
    proxy: { url: `pac+http://127.0.0.1:${port}/p` },
    timeouts: { connectMs: 200 },
  });
  await t.rejects(hanging.dial(target), { code: 'gateway.proxy.timeout', message: /from the PAC file http:/ });
  await closed;
});

/** Asks again, with real work between, until it holds; the test's own timeout is the limit. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}
