// TLS spoken to plain http, and plain http to TLS, on the way out: told apart from an untrusted certificate, with what to
// write, at the token endpoint, the API and the proxy.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { createTestCa } from '../helpers/certificates.ts';
import { givenTokenConfig } from '../helpers/direct.ts';
import { createTestEgress } from '../helpers/egress.ts';
import { configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const ca = await createTestCa('Corporate Inspection CA');
t.teardown(() => ca.close());
const { key, cert } = ca.issue(['127.0.0.1', 'localhost']);

async function listen(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const answerWith = (bytes: Buffer | string) =>
  createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(bytes));
  });

const NGINX = '<html>The plain HTTP request was sent to HTTPS port</html>';

/** Servers, the protocol of the configuration, and what is to be said. */
const UPSTREAMS: Readonly<
  Record<string, { server: () => Server; protocol: 'http' | 'https'; token: RegExp; api: RegExp | null }>
> = {
  'plain http': {
    server: () => createServer((_request, response) => response.end('{}')),
    protocol: 'https',
    token: /does not speak TLS.*write protocol = http in \[gateway\]/,
    api: /does not speak TLS.*write protocol = http in \[gateway\]/,
  },
  'TLS by an authority that is not trusted': {
    server: () => createTlsServer({ key, cert }, (_request, response) => response.end('{}')),
    protocol: 'https',
    token: /not trusted.*Corporate Inspection CA.*tls\.ca_file.*corporate proxy/,
    api: /not trusted.*Corporate Inspection CA/,
  },
  'TLS, and an alert to plain http': {
    server: () => answerWith(Buffer.from([0x15, 3, 3, 0, 2, 2, 40])),
    protocol: 'http',
    token: /speaks TLS, and was asked in plain http: write protocol = https/,
    api: /speaks TLS, and was asked in plain http: write protocol = https/,
  },
  'TLS, and nothing to plain http': {
    server: () => createTlsServer({ key, cert }, (_request, response) => response.end('{}')),
    protocol: 'http',
    token: /ended the connection.*if it speaks TLS, write protocol = https/,
    api: /ended the connection.*if it speaks TLS, write protocol = https/,
  },
  'TLS, and words to plain http': {
    server: () =>
      answerWith(`HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: ${NGINX.length}\r\n\r\n${NGINX}`),
    protocol: 'http',
    token: /speaks TLS, and was asked in plain http: set gateway\.protocol = https/,
    // The upstream's own answer.
    api: null,
  },
};

for (const [kind, { server, protocol, token, api }] of Object.entries(UPSTREAMS)) {
  t.test(`an upstream that speaks ${kind}, asked over ${protocol}`, async (t) => {
    const origin = `${protocol}://127.0.0.1:${await listen(t, server())}`;
    const logging = await startGatewayWith(t, configAt(origin, { credentials: [credentialAt(origin)] }));
    t.match((await logging.log.nextLine('token request')).error, token);
    if (api === null) return;
    const { port } = await startGatewayWith(t, givenTokenConfig(origin));
    t.match(await exchangeRaw(port, 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n'), api);
  });
}

t.test('this gateway with TLS, chained behind one that asks it in plain http', async (t) => {
  const inner = await startGatewayWith(
    t,
    configAt('http://127.0.0.1:1', {
      server: { tls: { ...ca.issue(['127.0.0.1']), clientCaFile: null } },
      credentials: [],
    }),
  );
  const origin = `http://127.0.0.1:${inner.port}`;
  const outer = await startGatewayWith(t, configAt(origin, { credentials: [credentialAt(origin)] }));
  t.match((await outer.log.nextLine('token request')).error, /speaks TLS, and was asked in plain http/);
});

const PROXIES: Readonly<Record<string, { scheme: string; server: () => Server; message: RegExp }>> = {
  'plain http, asked over https': {
    scheme: 'https',
    server: () => createServer((_request, response) => response.end()),
    message: /does not speak TLS.*write http:\/\/ in proxy\.url/,
  },
  'TLS of an unknown authority': {
    scheme: 'https',
    server: () => createTlsServer({ key, cert }),
    message: /not trusted.*Corporate Inspection CA/,
  },
  'TLS with an alert, asked over http': {
    scheme: 'http',
    server: () => answerWith(Buffer.from([0x15, 3, 3, 0, 2, 2, 40])),
    message: /speaks TLS: write https:\/\/ in proxy\.url/,
  },
  'TLS and hangs up, asked over http': {
    scheme: 'http',
    server: () => createTlsServer({ key, cert }),
    message: /https:\/\/ where the proxy speaks TLS/,
  },
  'SOCKS, asked over http': {
    scheme: 'http',
    server: () => answerWith(Buffer.from([5, 0xff])),
    message: /speaks SOCKS, and no HTTP: write socks5h:\/\//,
  },
  'plain http, asked over socks5h': {
    scheme: 'socks5h',
    server: () => answerWith('HTTP/1.1 400 Bad Request\r\n\r\n'),
    message: /does not speak SOCKS.*http:\/\/ for an HTTP proxy/,
  },
  'anything, asked over socks5 for a name that only it knows': {
    scheme: 'socks5',
    server: () => answerWith(''),
    message: /region\.invalid cannot be resolved on this machine .*write socks5h:\/\/ .*or http:\/\/ if/,
  },
};

for (const [kind, { scheme, server, message }] of Object.entries(PROXIES)) {
  t.test(`a proxy that speaks ${kind}`, async (t) => {
    const port = await listen(t, server());
    const egress = createTestEgress(t, { proxy: { url: `${scheme}://127.0.0.1:${port}` } });
    await t.rejects(egress.dial({ host: 'region.invalid', port: 443, secure: true }), { message });
  });
}
