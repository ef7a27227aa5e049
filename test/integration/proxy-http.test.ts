// Through an HTTP proxy: what it carries, what it refuses, and that its refusals are never taken for the upstream's
// answers.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import t from 'tap';
import { request } from 'undici';
import { systemClock } from '../../src/clock.ts';
import { fileSecret } from '../../src/secret.ts';
import { Egress } from '../../src/upstream/egress/egress.ts';
import { createTestCa } from '../helpers/certificates.ts';
import {
  createTestEgress,
  dispatcherOver,
  listenFor,
  quietLog,
  startUpstream,
  type TestEgressOptions,
} from '../helpers/egress.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { type ConnectProxyOptions, freePort, startConnectProxy } from '../helpers/proxies.ts';

const ca = await createTestCa('Interception CA');
t.teardown(() => ca.close());
const trusting = { caFile: ca.caFile };
const target = { host: 'api.region.test', port: 443, secure: true };

async function proxied(t: Tap, options: ConnectProxyOptions, egressOptions: TestEgressOptions = {}) {
  const proxy = await startConnectProxy(options);
  t.teardown(() => proxy.close());
  const url = `${options.tls ? 'https://localhost' : 'http://127.0.0.1'}:${proxy.port}`;
  const egress = createTestEgress(t, { tls: trusting, ...egressOptions, proxy: { url, ...egressOptions.proxy } });
  return { proxy, url, egress };
}
type Tap = { teardown(fn: () => unknown): void };

t.test('20 parallel calls, twice, use no more tunnels than the pool has connections', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['api.region.test']));
  const { proxy, egress } = await proxied(t, {});
  const dispatcher = dispatcherOver(t, egress, { connections: 4 });
  for (let round = 0; round < 2; round += 1) {
    const calls = Array.from({ length: 20 }, async () =>
      (await request(`https://api.region.test:${upstream.port}/`, { dispatcher })).body.text(),
    );
    t.strictSame(new Set(await Promise.all(calls)), new Set(['hello']));
  }
  t.equal(proxy.asked.length, 4);
  t.strictSame(new Set(proxy.asked), new Set([`api.region.test:${upstream.port}`]), 'the proxy resolves the name');
});

t.test('credentials reach the proxy decoded, and the upstream not at all', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const login = { username: 'us er', password: 'p@ss:w%rd/ü' };
  const { egress } = await proxied(t, { login: `${login.username}:${login.password}` }, { proxy: login });
  await request(`https://localhost:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.notOk(upstream.requests[0]?.headers['proxy-authorization']);

  const { proxy } = await proxied(t, { login: `${login.username}:${login.password}` });
  const inUrl = `http://us%20er:${encodeURIComponent(login.password)}@127.0.0.1:${proxy.port}`;
  const fromEnvironment = createTestEgress(t, { tls: trusting, env: { all_proxy: inUrl } });
  const socket = await fromEnvironment.dial({ ...target, host: 'region.test', port: upstream.port, secure: false });
  socket.destroy();
  t.equal(proxy.asked.length, 2, 'without credentials, and with them when it asked');
});

t.test(
  'a proxy that does not ask for credentials is shown none, one that asks gets them with every later CONNECT',
  async (t) => {
    const upstream = await startUpstream(t);
    const login = { username: 'corp', password: 'password-of-the-test' };
    for (const tls of [undefined, ca.issue(['localhost'])]) {
      const secured = tls && { tls };
      const open = await proxied(t, { ...secured }, { proxy: login });
      const strict = await proxied(t, { ...secured, login: 'corp:password-of-the-test' }, { proxy: login });
      for (const { egress } of [open, open, strict, strict])
        (await egress.dial({ host: '127.0.0.1', port: upstream.port, secure: false })).destroy();
      const shows = (head: string) => /^proxy-authorization:/im.test(head);
      t.strictSame(open.proxy.heads.map(shows), [false, false]);
      t.strictSame(strict.proxy.heads.map(shows), [false, true, true]);
    }
  },
);

t.test('what is asked for with 407 decides: Basic or nothing', async (t) => {
  for (const [challenge, isShown] of [
    ['', true],
    ['Proxy-Authenticate: Basic realm="corp"\r\n', true],
    ['Proxy-Authenticate: Negotiate, NTLM, Basic realm="corp"\r\n', true],
    ['proxy-authenticate: NTLM\r\nproxy-authenticate: BASIC\r\n', true],
    ['Proxy-Authenticate: NTLM\r\n', false],
    ['Proxy-Authenticate: Digest realm="corp, Basic x", nonce="y, Basic"\r\n', false],
  ] as const) {
    const { egress, proxy } = await proxied(
      t,
      { answer: `HTTP/1.1 407 X\r\n${challenge}Content-Length: 0\r\n\r\n` },
      { proxy: { username: 'corp', password: 'password-of-the-test' } },
    );
    await t.rejects(egress.dial(target), {
      code: 'gateway.proxy.auth',
      message: isShown ? /does not accept the credentials/ : /offers only/,
    });
    t.equal(/^proxy-authorization:/im.test(proxy.heads.join('\n')), isShown, challenge);
  }
});

t.test('any status from 200 to 299 opens the tunnel, and what the target says at once is not lost', async (t) => {
  for (const status of ['200 OK', '200 Connection established', '201 Created', '299 X\r\nContent-Length: 5']) {
    const { egress } = await proxied(t, { answer: (socket) => void socket.end(`HTTP/1.0 ${status}\r\n\r\nwelcome`) });
    const socket = await egress.dial({ host: '127.0.0.1', port: 1, secure: false });
    t.equal(Buffer.concat(await socket.toArray()).toString(), 'welcome', status);
  }
});

t.test('a changed password counts at the next dial', async (t) => {
  const upstream = await startUpstream(t);
  const folder = mkdtempSync(join(tmpdir(), 'gcg-secret-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'password');
  writeFileSync(file, 'old');
  const { url } = await proxied(t, { login: 'corp:new-one' });
  const egress = new Egress({
    proxy: { url, username: 'corp', password: fileSecret(file), credentialHosts: [], noProxy: [], off: false },
    tls: { caFile: null, certFile: null, keyFile: null, keyPassphrase: null },
    timeouts: { connectMs: 5000 },
    env: {},
    clock: systemClock,
    log: quietLog,
  });
  const dial = () => egress.dial({ host: '127.0.0.1', port: upstream.port, secure: false });
  await t.rejects(dial(), {
    code: 'gateway.proxy.auth',
    message: /does not accept the credentials \(407\): correct proxy\.username and proxy\.password/,
  });
  writeFileSync(file, 'new-one\n');
  (await dial()).destroy();
  rmSync(file);
  await t.rejects(dial(), {
    code: 'gateway.proxy.auth',
    message: /proxy\.password is not usable: secret file .* does not exist/,
  });
});

t.test('a plain http target is tunnelled too', async (t) => {
  const upstream = await startUpstream(t);
  const { proxy, egress } = await proxied(t, {});
  const answer = await request(`http://api.region.test:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.equal(await answer.body.text(), 'hello');
  t.strictSame(proxy.asked, [`api.region.test:${upstream.port}`]);
});

t.test('IPv6 literals are asked for in brackets', async (t) => {
  const upstream = await startUpstream(t, undefined, '::1');
  const { proxy, egress } = await proxied(t, {});
  const answer = await request(`http://[::1]:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.equal(await answer.body.text(), 'hello');
  t.match(proxy.heads[0], `CONNECT [::1]:${upstream.port} HTTP/1.1\r\n`);
});

t.test('an upstream that only the proxy reaches is reached, for API and token calls', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['api.region.test', 'login.region.test']));
  // Directly the names lead to a port that refuses; behind the proxy to the upstream.
  const closed = await freePort();
  const { egress, proxy } = await proxied(t, {
    answer: (client) => {
      const far = net.connect(upstream.port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        client.pipe(far).pipe(client);
      });
      client.on('close', () => far.destroy());
    },
  });
  const hosts = { 'api.region.test': '127.0.0.1', 'login.region.test': '127.0.0.1' };
  const dispatcher = dispatcherOver(t, egress);
  const token = await request(`https://login.region.test:${closed}/oauth/token`, {
    dispatcher,
    method: 'POST',
    body: 'grant_type=client_credentials',
  });
  t.match(await token.body.json(), { token_type: 'bearer' });
  t.equal((await request(`https://api.region.test:${closed}/`, { dispatcher })).statusCode, 200);
  t.strictSame(proxy.asked, [`login.region.test:${closed}`, `api.region.test:${closed}`]);
  const direct = createTestEgress(t, { tls: trusting, hosts });
  await t.rejects(direct.dial({ host: 'api.region.test', port: closed, secure: true }), {
    code: 'gateway.upstream.unreachable',
  });
});

t.test('wrong authority and wrong name are refused through the tunnel', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const untrusting = await proxied(t, {}, { tls: {} });
  await t.rejects(untrusting.egress.dial({ host: 'localhost', port: upstream.port, secure: true }), {
    code: 'gateway.upstream.tls',
    message: /issuer CN=Interception CA: add it to tls\.ca_file/,
  });
  const { egress } = await proxied(t, {});
  await t.rejects(egress.dial({ ...target, port: upstream.port }), {
    code: 'gateway.upstream.tls',
    message: /other names \(DNS:localhost\)/,
  });
});

t.test('a proxy spoken to over TLS is verified, and is not shown our client certificate', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const client = ca.issue(['gateway']);
  const mtls = { ...trusting, certFile: client.certFile, keyFile: client.keyFile };
  const shown: unknown[] = [];
  const options = { ...ca.issue(['localhost']), requestCert: true, rejectUnauthorized: false, ca: ca.caPem };
  const { egress, proxy } = await proxied(
    t,
    {
      tls: options,
      login: 'corp:secret',
      answer: (socket) => {
        if (proxy.heads.length === 1) return void socket.end('HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\n\r\n');
        shown.push((socket as TLSSocket).getPeerCertificate().subject);
        const far = net.connect(upstream.port, '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          socket.pipe(far).pipe(socket);
        });
      },
    },
    { tls: mtls, proxy: { username: 'corp', password: 'secret' } },
  );
  const answer = await request(`https://localhost:${upstream.port}/`, { dispatcher: dispatcherOver(t, egress) });
  t.equal(await answer.body.text(), 'hello');
  t.match(proxy.heads[1], 'Proxy-Authorization: Basic');
  t.strictSame(shown, [undefined]);

  const untrusting = await proxied(t, { tls: options }, { tls: {} });
  await t.rejects(untrusting.egress.dial(target), {
    code: 'gateway.proxy.refused',
    message: /TLS connection to the proxy https:\/\/localhost:\d+ itself is refused.*tls\.ca_file/,
  });
});

const refusals: { name: string; answer: string; code: string; message: RegExp }[] = [
  {
    name: '407',
    answer: '407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="corp"',
    code: 'gateway.proxy.auth',
    message: /asks for credentials \(407\): set proxy\.username and proxy\.password/,
  },
  {
    name: '407 for NTLM and Kerberos',
    answer: '407 X\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM',
    code: 'gateway.proxy.auth',
    message: /offers only Negotiate \(Kerberos or NTLM\) and NTLM authentication \(407\), which is not supported/,
  },
  {
    name: '407 for NTLM or Basic',
    answer: '407 X\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm="x"',
    code: 'gateway.proxy.auth',
    message: /set proxy\.username/,
  },
  {
    name: '403',
    answer: '403 Forbidden',
    code: 'gateway.proxy.refused',
    message: /status 403: its rules do not allow that/,
  },
  {
    name: '502',
    answer: '502 Bad Gateway',
    code: 'gateway.proxy.refused',
    message: /status 502: it could not reach that host/,
  },
  { name: '503', answer: '503 Service Unavailable', code: 'gateway.proxy.refused', message: /status 503/ },
  { name: '504', answer: '504 Gateway Timeout', code: 'gateway.proxy.timeout', message: /\(504\)/ },
  { name: '405', answer: '405 Method Not Allowed', code: 'gateway.proxy.refused', message: /does not tunnel/ },
];
for (const { name, answer, code, message } of refusals) {
  t.test(`the proxy answers ${name}: ${code}`, async (t) => {
    const { url, egress, proxy } = await proxied(t, {
      answer: `HTTP/1.1 ${answer}\r\nContent-Length: 11\r\n\r\nproxy-canary`,
    });
    const dispatcher = dispatcherOver(t, egress);
    const error = await request('https://api.region.test/', { dispatcher }).catch((reason) => reason);
    t.match(error, { code, message });
    t.match(error.message, url);
    t.notMatch(error.message, /canary/);
    t.equal(proxy.asked.length, 1, 'asked once');
  });
}

const faults: { name: string; answer: (socket: net.Socket) => void; message: RegExp }[] = [
  {
    name: 'hangs up in the middle',
    answer: (socket) => void socket.end('HTTP/1.1 200 Conn'),
    message: /dropped the connection without an answer/,
  },
  { name: 'resets', answer: (socket) => void socket.resetAndDestroy(), message: /ECONNRESET/ },
  {
    name: 'speaks something else',
    answer: (socket) => void socket.write('SSH-2.0-OpenSSH_9.9\r\n\r\n'),
    message: /not HTTP/,
  },
  {
    name: 'sends a line that is no header',
    answer: (socket) => void socket.write('HTTP/1.1 200 OK\r\nnonsense\r\n\r\n'),
    message: /not HTTP/,
  },
];
for (const { name, answer, message } of faults) {
  t.test(`a proxy that ${name} is gateway.proxy.refused`, async (t) => {
    const { egress, proxy } = await proxied(t, { answer });
    await t.rejects(egress.dial(target), { code: 'gateway.proxy.refused', message });
    await proxy.closed();
    t.equal(proxy.open(), 0);
  });
}

for (const secure of [false, true]) {
  t.test(`a header without end is cut off early${secure ? ', over TLS too' : ''}`, async (t) => {
    let sent = 0;
    const answer = (socket: net.Socket) => {
      socket.write('HTTP/1.1 200 OK\r\nX-Endless: ');
      const more = () => {
        while (!socket.destroyed) {
          sent += 16_384;
          if (!socket.write('x'.repeat(16_384))) break;
        }
      };
      socket.on('drain', more);
      more();
    };
    const { egress, proxy } = await proxied(t, { answer, ...(secure && { tls: ca.issue(['localhost']) }) });
    await t.rejects(egress.dial(target), { code: 'gateway.proxy.refused', message: /to CONNECT is too long/ });
    await proxy.closed();
    t.ok(sent < 16 * 1024 * 1024, `${sent} bytes were taken`);
  });
}

t.test('a proxy that never answers ends at timeouts.connect, and its connection is closed', async (t) => {
  for (const secure of [undefined, ca.issue(['localhost'])]) {
    const clock = createFakeClock();
    let hear = () => {};
    const asked = new Promise<void>((resolve) => {
      hear = resolve;
    });
    const { egress, proxy } = await proxied(
      t,
      { answer: () => hear(), ...(secure && { tls: secure }) },
      { timeouts: { connectMs: 200 }, clock },
    );
    const dialled = egress.dial(target);
    asked.then(() => clock.advance(200));
    await t.rejects(dialled, {
      code: 'gateway.proxy.timeout',
      statusCode: 504,
      message: /200 ms \(timeouts\.connect\) from the proxy .*api\.region\.test:443/,
    });
    await proxy.closed();
    t.equal(proxy.open(), 0);
  }
});

t.test('after the tunnel stands, a silent upstream is the upstream’s timeout', async (t) => {
  const silent = await listenFor(t, net.createServer());
  const { egress } = await proxied(t, {}, { timeouts: { connectMs: 300 } });
  await t.rejects(egress.dial({ ...target, port: silent }), {
    code: 'gateway.upstream.timeout',
    message: /in the TLS handshake/,
  });
});

t.test('a proxy that is not there is gateway.proxy.refused', async (t) => {
  const port = await freePort();
  const egress = createTestEgress(t, { proxy: { url: `http://127.0.0.1:${port}` } });
  await t.rejects(egress.dial(target), {
    code: 'gateway.proxy.refused',
    message: new RegExp(`http://127\\.0\\.0\\.1:${port} cannot be reached \\(ECONNREFUSED\\)`),
  });
});

t.test('the far end may close the tunnel: the next call dials again', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const { egress, proxy } = await proxied(t, {});
  const dispatcher = dispatcherOver(t, egress, { connections: 1 });
  await (
    await request(`https://localhost:${upstream.port}/`, { dispatcher, headers: { connection: 'close' } })
  ).body.text();
  await (await request(`https://localhost:${upstream.port}/`, { dispatcher })).body.text();
  t.equal(proxy.asked.length, 2);
});

t.test('no password, nor anything of it, in the debug output of Node and of libraries', async (t) => {
  const { proxy } = await proxied(t, { login: 'corp:debug-canary' });
  const upstream = await startUpstream(t);
  const script = `
    import { createTestEgress } from './test/helpers/egress.ts';
    const proxy = { url: 'http://127.0.0.1:${proxy.port}', username: 'corp', password: 'debug-canary' };
    const egress = createTestEgress({ teardown() {} }, { proxy });
    await egress.dial({ host: '127.0.0.1', port: ${upstream.port}, secure: false });
    process.stdout.write('connected');
    process.exit();`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    env: { ...process.env, DEBUG: '*', NODE_DEBUG: 'http,net,tls,stream' },
  });
  t.equal(stdout, 'connected');
  t.match(stderr, /^HTTP \d+: /m, 'it does write (positive control)');
  for (const form of ['debug-canary', Buffer.from('corp:debug-canary').toString('base64')]) t.notMatch(stderr, form);
});
