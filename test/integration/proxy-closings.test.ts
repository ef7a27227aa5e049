// Every way in which a corporate proxy can end a connection, times every kind of proxy, times everything that is
// dialled: the gateway answers that the proxy failed, goes on, and is served again as soon as the proxy is back.

import { writeFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { createTestCa } from '../helpers/certificates.ts';
import { listenFor } from '../helpers/egress.ts';
import { type ConnectProxyOptions, startConnectProxy, startSocksProxy } from '../helpers/proxies.ts';
import { startServe } from '../helpers/serve-process.ts';
import { acceptHandshake, makeChannel, refusalOf } from '../helpers/sockets.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());

/** Below the proxy's own protocol: what is done with the connection. */
const ON_THE_WIRE: Record<string, (socket: net.Socket) => void> = {
  'FIN at once': (socket) => void socket.end(),
  'FIN at once, read on': (socket) => void socket.resume().end(),
  'RST at once': (socket) => void socket.resetAndDestroy(),
  'FIN after the first octets': (socket) => void socket.once('data', () => socket.end()),
  'RST after the first octets': (socket) => void socket.once('data', () => socket.resetAndDestroy()),
  'closed after the first octets': (socket) => void socket.once('data', () => socket.destroy()),
  'noise, then FIN': (socket) => void socket.once('data', () => socket.end(Buffer.alloc(64, 0x15))),
  'noise, then RST': (socket) =>
    void socket.once('data', () => socket.write(Buffer.alloc(64, 0x05), () => socket.resetAndDestroy())),
};

/** In HTTP, over TLS where the proxy is spoken to over TLS: instead of an answer to CONNECT. */
const INSTEAD_OF_A_TUNNEL: Record<string, (socket: net.Socket, reset: () => void) => void> = {
  'FIN upon CONNECT': (socket) => void socket.end(),
  'RST upon CONNECT': (_socket, reset) => reset(),
  'closed upon CONNECT': (socket) => void socket.destroy(),
  'half a head, then FIN': (socket) => void socket.end('HTTP/1.1 200 Conn'),
  'half a head, then RST': (socket, reset) => void socket.write('HTTP/1.1 200 Conn', reset),
  'another protocol, then FIN': (socket) => void socket.end('SSH-2.0-OpenSSH_9.9\r\n\r\n'),
  'a refusal, then RST': (socket, reset) =>
    void socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n', reset),
  '407, then FIN': (socket) =>
    void socket.end('HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n'),
  '407, then RST': (socket, reset) =>
    void socket.write('HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 9\r\n\r\n', reset),
  'informational answers, then FIN': (socket) => void socket.end('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(5)),
};

const KINDS = [
  'http',
  'https',
  'socks4a',
  'socks5h',
  'a script that names PROXY',
  'a script that names HTTPS',
  'a script that names SOCKS',
];

for (const kind of KINDS) {
  t.test(`whatever way ${kind} ends a connection, the gateway goes on`, async (t) => {
    const folder = t.testdir();
    const proxy = await startFaultyProxy(t, kind, folder);
    const gateway = await startServe(t, configFile(folder, await startPlainUpstream(t), proxy.url));
    const ways = [
      ...Object.entries(ON_THE_WIRE).map(([name, way]) => ({ name, misbehave: () => proxy.onTheWire(way) })),
      ...(kind.includes('socks') || kind.includes('SOCKS')
        ? []
        : Object.entries(INSTEAD_OF_A_TUNNEL).map(([name, way]) => ({
            name,
            misbehave: () => proxy.insteadOfATunnel(way),
          }))),
    ];
    const { connectUri } = await makeChannel(gateway.url);
    for (const { name, misbehave } of ways) {
      for (const { what, make, failure, success } of CALLS) {
        misbehave();
        t.match(await make(gateway.url, connectUri), failure, `${name}, ${what}: the proxy is said to have failed`);
        proxy.behave();
        t.match(await make(gateway.url, connectUri), { status: success }, `${name}, ${what}: served again`);
      }
    }
    t.equal(gateway.child.exitCode, null);
    t.notMatch(gateway.output(), /uncaught|unhandled/i);
    t.equal(await gateway.end('SIGTERM'), 0);
  });
}

/** What the gateway dials for, with the error when the proxy fails, and the status when it does not. */
const CALLS = [
  {
    what: 'a call',
    make: (url: string) => outcomeOf(`${url}/api/v2/users/me`, { method: 'GET' }),
    failure: { status: 502, code: /^gateway\.proxy\.(refused|auth)$/ },
    success: 200,
  },
  {
    what: 'a renewal',
    make: (url: string) =>
      outcomeOf(`${url}/-/credentials/default/refresh`, { method: 'POST', headers: { 'x-gateway-request': '1' } }),
    failure: { status: 503, code: 'gateway.credential.unavailable', body: /the proxy \w+:\/\/localhost/ },
    success: 200,
  },
  {
    what: 'a socket',
    make: (_url: string, channel: string) => refusalOf(channel),
    failure: { status: 502, code: /^gateway\.proxy\.(refused|auth)$/ },
    success: 101,
  },
];

async function outcomeOf(
  url: string,
  init: RequestInit,
): Promise<{ status: number; code: string | null; body: string }> {
  const answer = await fetch(url, init);
  return { status: answer.status, code: answer.headers.get('x-gateway-error'), body: await answer.text() };
}

/** Answers everything, tokens and handshakes too, and keeps no connection: each call is dialled anew. */
async function startPlainUpstream(t: Test): Promise<number> {
  const server = http.createServer((request, response) => {
    const { port } = server.address() as AddressInfo;
    const token = { access_token: 'token-of-the-test', token_type: 'bearer', expires_in: 86_400 };
    const channel = {
      id: 'channel-1',
      connectUri: `ws://127.0.0.1:${port}/channels/channel-1`,
      expires: new Date(Date.now() + 86_400_000).toISOString(),
    };
    const answer = JSON.stringify({ ...token, ...channel });
    request
      .resume()
      .on('end', () =>
        response.writeHead(200, { connection: 'close', 'content-type': 'application/json' }).end(answer),
      );
  });
  server.on('upgrade', (request, socket) => acceptHandshake(request, socket));
  return listenFor(t, server);
}

/** A proxy that tunnels, behind a door that can be told to treat the next connections in another way. */
async function startFaultyProxy(t: Test, kind: string, folder: string) {
  let onTheWire: ((socket: net.Socket) => void) | undefined;
  let instead: ((socket: net.Socket, reset: () => void) => void) | undefined;
  let last: net.Socket | undefined;
  const isSocks = /socks/i.test(kind);
  const isSecure = kind === 'https' || kind.endsWith('HTTPS');
  const secured: ConnectProxyOptions = isSecure ? { tls: ca.issue(['localhost']) } : {};
  const good = await (isSocks ? startSocksProxy() : startConnectProxy(secured));
  const bad = await startConnectProxy({
    ...secured,
    answer: (socket) => instead?.(socket, () => last?.resetAndDestroy()),
  });
  for (const each of [good, bad]) t.teardown(() => each.close());
  const door = net.createServer({ allowHalfOpen: true }, (socket) => {
    last = socket;
    if (onTheWire) return onTheWire(socket);
    const inner = net.connect({ port: (instead ? bad : good).port, host: '127.0.0.1' });
    socket.pipe(inner).pipe(socket);
    // A reset is passed on as what it is.
    inner.on('error', () => socket.resetAndDestroy());
    inner.on('close', () => socket.destroy());
    socket.on('close', () => inner.destroy());
  });
  const port = await listenFor(t, door);
  const address = `localhost:${port}`;
  const script = (keyword: string) => {
    const file = join(folder, 'proxy.pac');
    writeFileSync(file, `function FindProxyForURL() { return '${keyword} ${address}'; }`);
    return `pac+${pathToFileURL(file)}`;
  };
  return {
    url: kind.startsWith('a script') ? script(kind.split(' ').at(-1) as string) : `${kind}://${address}`,
    onTheWire(way: (socket: net.Socket) => void) {
      onTheWire = way;
    },
    insteadOfATunnel(way: (socket: net.Socket, reset: () => void) => void) {
      instead = way;
    },
    behave() {
      onTheWire = undefined;
      instead = undefined;
    },
  };
}

function configFile(folder: string, port: number, proxy: string): string {
  const file = join(folder, 'gcg.ini');
  writeFileSync(
    file,
    `[gateway]
host = 127.0.0.1
protocol = http
port = ${port}
[server]
listen = 127.0.0.1:0
[credential]
grant_type = client_credentials
client_id = id-of-the-test
client_secret = secret-of-the-test
[proxy]
url = ${proxy}
username = corp
password = password-of-the-test
[tls]
ca_file = ${ca.caFile}
[timeouts]
keep_warm = 0
[retry]
retry_max = 0
`,
    { mode: 0o600 },
  );
  return file;
}
