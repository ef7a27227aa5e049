// Through SOCKS proxies: who resolves the name, who is let in, and what a refusal says.

import net from 'node:net';
import t from 'tap';
import { request } from 'undici';
import { createTestCa } from '../helpers/certificates.ts';
import {
  createTestEgress,
  dispatcherOver,
  listenFor,
  startUpstream,
  type TestEgressOptions,
} from '../helpers/egress.ts';
import { freePort, type SocksProxyOptions, startSocksProxy } from '../helpers/proxies.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());
const hosts = { 'api.region.test': '127.0.0.1' };

async function proxied(t: Tap, scheme: string, options: SocksProxyOptions = {}, egressOptions: TestEgressOptions = {}) {
  const proxy = await startSocksProxy(options);
  t.teardown(() => proxy.close());
  const url = `${scheme}://127.0.0.1:${proxy.port}`;
  return {
    proxy,
    url,
    egress: createTestEgress(t, {
      tls: { caFile: ca.caFile },
      hosts,
      ...egressOptions,
      proxy: { url, ...egressOptions.proxy },
    }),
  };
}
type Tap = { teardown(fn: () => unknown): void };

for (const [scheme, asked] of [
  ['socks4', '127.0.0.1'],
  ['socks4a', 'api.region.test'],
  ['socks5', '127.0.0.1'],
  ['socks5h', 'api.region.test'],
] as const) {
  t.test(`${scheme} carries a verified call and asks for ${asked}`, async (t) => {
    const upstream = await startUpstream(t, ca.issue(['api.region.test']));
    const { egress, proxy } = await proxied(t, scheme);
    const dispatcher = dispatcherOver(t, egress, { connections: 4 });
    const calls = Array.from({ length: 20 }, async () =>
      (await request(`https://api.region.test:${upstream.port}/`, { dispatcher })).body.text(),
    );
    t.strictSame(new Set(await Promise.all(calls)), new Set(['hello']));
    t.strictSame(proxy.asked, Array(4).fill(`${asked}:${upstream.port}`));
  });
}

t.test('a user name and password reach the proxy as they are', async (t) => {
  const upstream = await startUpstream(t);
  const { egress, proxy } = await proxied(
    t,
    'socks5h',
    { login: 'us er:p@ss:w%rd' },
    { proxy: { username: 'us er', password: 'p@ss:w%rd' } },
  );
  const dial = () => egress.dial({ host: '127.0.0.1', port: upstream.port, secure: false });
  (await dial()).destroy();
  t.equal(proxy.asked.length, 1);
  const encoded = createTestEgress(t, {
    env: { ALL_PROXY: `socks5h://us%20er:p%40ss%3Aw%25rd@127.0.0.1:${proxy.port}` },
  });
  (await encoded.dial({ host: 'region.test', port: upstream.port, secure: false })).destroy();
  t.equal(proxy.asked.length, 2);
});

t.test('the user id of SOCKS4 is sent', async (t) => {
  const upstream = await startUpstream(t);
  const { egress } = await proxied(t, 'socks4a', { login: 'corp' }, { proxy: { username: 'corp' } });
  (await egress.dial({ host: 'region.test', port: upstream.port, secure: false })).destroy();
  const wrong = await proxied(t, 'socks4a', { login: 'corp' });
  await t.rejects(wrong.egress.dial({ host: 'region.test', port: upstream.port, secure: false }), {
    code: 'gateway.proxy.refused',
  });
});

t.test('without, or with the wrong, password: gateway.proxy.auth, which shows none', async (t) => {
  for (const login of [{}, { username: 'corp', password: 'socks-canary' }]) {
    const { egress, url } = await proxied(t, 'socks5h', { login: 'corp:right' }, { proxy: login });
    const error = await egress.dial({ host: 'region.test', port: 443, secure: true }).catch((reason) => reason);
    t.match(error, { code: 'gateway.proxy.auth', message: /proxy\.username and proxy\.password/ });
    t.match(error.message, url);
    t.notMatch(JSON.stringify([error.message, error.stack, error.cause, Object.entries(error)]), /canary/);
  }
});

t.test('a login longer than SOCKS5 can carry is refused before the proxy is asked', async (t) => {
  for (const login of [
    { username: 'u'.repeat(256), password: 'short' },
    { username: 'corp', password: '\u00e4'.repeat(128) },
  ]) {
    const { egress, proxy } = await proxied(t, 'socks5h', { login: 'corp:right' }, { proxy: login });
    await t.rejects(egress.dial({ host: 'region.test', port: 443, secure: true }), {
      code: 'gateway.proxy.auth',
      message: /at most 255 octets/,
    });
    t.equal(proxy.open(), 0);
  }
  const upstream = await startUpstream(t);
  const longest = { username: 'u'.repeat(255), password: 'p'.repeat(255) };
  const { egress } = await proxied(
    t,
    'socks5h',
    { login: `${longest.username}:${longest.password}` },
    { proxy: longest },
  );
  (await egress.dial({ host: 'region.test', port: upstream.port, secure: false })).destroy();
});

t.test('socks4 asks for an IPv4 address, and for nothing when there is none', async (t) => {
  const { egress, proxy } = await proxied(t, 'socks4', {}, { hosts: { 'api.region.test': '::1' } });
  await t.rejects(egress.dial({ host: 'api.region.test', port: 443, secure: true }), {
    code: 'gateway.upstream.unreachable',
    message: /the name api\.region\.test cannot be resolved/,
  });
  t.strictSame(proxy.asked, []);
});

t.test('a refusal says which', async (t) => {
  const denied = await proxied(t, 'socks5h', { reply: 2 });
  await t.rejects(denied.egress.dial({ host: 'region.test', port: 443, secure: true }), {
    code: 'gateway.proxy.refused',
    message: /\(NotAllowed\): its rules/,
  });
  const failed = await proxied(t, 'socks5h', { reply: 5 });
  await t.rejects(failed.egress.dial({ host: 'region.test', port: 443, secure: true }), {
    code: 'gateway.proxy.refused',
    message: /\(ConnectionRefused\)/,
  });
});

t.test('an IPv6 target and a proxy on an IPv6 address', async (t) => {
  const upstream = await startUpstream(t, undefined, '::1');
  const { egress, proxy } = await proxied(t, 'socks5h');
  const answer = await request(`http://[::1]:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.equal(await answer.body.text(), 'hello');
  t.match(proxy.asked[0], /^0000:.*0001:\d+$/);

  const relay = net.createServer((socket) => {
    const far = net.connect(proxy.port, '127.0.0.1');
    socket.pipe(far).pipe(socket);
    far.on('error', () => {});
  });
  const port = await listenFor(t, relay, '::1');
  const over6 = createTestEgress(t, { proxy: { url: `socks5h://[::1]:${port}` } });
  (await over6.dial({ host: '::1', port: upstream.port, secure: false })).destroy();
});

t.test('a proxy that is not there, hangs up, hangs, or is no SOCKS proxy', async (t) => {
  const target = { host: 'region.test', port: 443, secure: true };
  const port = await freePort();
  const absent = createTestEgress(t, {
    proxy: { url: `socks5://127.0.0.1:${port}` },
    hosts: { 'region.test': '127.0.0.1' },
  });
  await t.rejects(absent.dial(target), {
    code: 'gateway.proxy.refused',
    message: new RegExp(`socks5://127\\.0\\.0\\.1:${port} cannot be reached \\(ECONNREFUSED\\)`),
  });

  const leaving = await listenFor(
    t,
    net.createServer((socket) => socket.end()),
  );
  await t.rejects(createTestEgress(t, { proxy: { url: `socks5h://127.0.0.1:${leaving}` } }).dial(target), {
    code: 'gateway.proxy.refused',
    message: /ended the SOCKS handshake/,
  });

  const http = await listenFor(
    t,
    net.createServer((socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')),
  );
  await t.rejects(createTestEgress(t, { proxy: { url: `socks5h://127.0.0.1:${http}` } }).dial(target), {
    code: 'gateway.proxy.refused',
    message: /right scheme/,
  });

  const hasty = await listenFor(
    t,
    net.createServer((socket) => void socket.end(Buffer.of(5, 2, 1, 0, 5, 0, 0, 9, 9))),
  );
  const login = { username: 'corp', password: 'right' };
  await t.rejects(createTestEgress(t, { proxy: { url: `socks5h://127.0.0.1:${hasty}`, ...login } }).dial(target), {
    code: 'gateway.proxy.refused',
    message: /ended the SOCKS handshake/,
  });

  const hanging = net.createServer();
  const hangingPort = await listenFor(t, hanging);
  const closed = new Promise<void>((resolve) =>
    hanging.on('connection', (socket) => socket.resume().on('close', () => resolve())),
  );
  const egress = createTestEgress(t, {
    proxy: { url: `socks5h://127.0.0.1:${hangingPort}` },
    timeouts: { connectMs: 200 },
  });
  await t.rejects(egress.dial(target), { code: 'gateway.proxy.timeout' });
  await closed;
});

t.test('a tunnel may be idle for longer than timeouts.connect', async (t) => {
  const server = net.createServer(
    (socket) => void socket.once('data', () => setTimeout(() => socket.end('late'), 400)),
  );
  const port = await listenFor(t, server);
  const { egress } = await proxied(t, 'socks5h', {}, { timeouts: { connectMs: 150 } });
  const socket = await egress.dial({ host: '127.0.0.1', port, secure: false });
  socket.write('hello');
  t.equal(Buffer.concat(await socket.toArray()).toString(), 'late');
});
