// A public address with a path: an ingress takes the path off, and what the gateway says of itself has it again.

import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import WebSocket from 'ws';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createCookieJar, personAt } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { ok, startBefore } from '../helpers/direct.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

/**
 * An ingress on a free port that serves `/gcg` and takes it off; with `keepsHost` the gateway sees the Host that the
 * caller used.
 */
async function startIngress(
  t: Test,
  keepsHost: boolean,
): Promise<{ origin: string; leadTo(port: number): void; strays: string[] }> {
  let target = 0;
  const strays: string[] = [];
  const onward = (url = '', headers: NodeJS.Dict<string | string[]>) => ({
    host: '127.0.0.1',
    port: target,
    path: url.slice('/gcg'.length),
    headers: keepsHost ? headers : { ...headers, host: `127.0.0.1:${target}` },
  });
  const isOurs = (url = '') => url.startsWith('/gcg/');
  const server = createServer((request, response) => {
    if (!isOurs(request.url)) {
      strays.push(request.url ?? '');
      response.writeHead(404).end();
      return;
    }
    const { method } = request;
    const call = httpRequest({ ...onward(request.url, request.headers), method: method as string }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
      answer.pipe(response);
    });
    request.pipe(call);
  });
  server.on('upgrade', (request, socket) => {
    if (!isOurs(request.url)) return socket.destroy();
    const call = httpRequest(onward(request.url, request.headers));
    call.on('upgrade', (answer, far) => {
      const lines = answer.rawHeaders.flatMap((name, at) =>
        at % 2 === 0 ? [`${name}: ${answer.rawHeaders[at + 1]}`] : [],
      );
      socket.write(`${['HTTP/1.1 101 Switching Protocols', ...lines].join('\r\n')}\r\n\r\n`);
      far.pipe(socket).pipe(far);
      for (const end of [far, socket]) end.on('error', () => undefined);
    });
    call.on('response', () => socket.destroy());
    call.end();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    strays,
    leadTo(port) {
      target = port;
    },
  };
}

t.test("redirects to the upstream's own host name the public address, whole where it has a path", async (t) => {
  let location = '';
  const cases: [publicUrl: string | null, base: string][] = [
    [null, ''],
    ['https://apps.example', ''],
    ['https://apps.example/', ''],
    ['https://apps.example/gcg', 'https://apps.example/gcg'],
    ['https://apps.example/gcg/', 'https://apps.example/gcg'],
    ['http://apps.example:8443/a/b%20c/', 'http://apps.example:8443/a/b%20c'],
  ];
  for (const [publicUrl, base] of cases) {
    const pair = await startBefore(
      t,
      (socket) => socket.write(ok('', [`Location: ${location}`]).replace('200 OK', '302 Found')),
      {
        server: { publicUrl },
      },
    );
    const locationOf = async (path: string) =>
      headerOf(
        parseAnswer(await exchangeRaw(pair.port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)),
        'Location',
      );
    const upstream = `http://127.0.0.1:${pair.upstreamPort}`;
    for (const [from, to] of [
      [`${upstream}/api/v2/target?a=%2F,b#c`, '/api/v2/target?a=%2F,b#c'],
      [`//127.0.0.1:${pair.upstreamPort}/api/v2/target`, '/api/v2/target'],
      ['/api/v2/target', '/api/v2/target'],
    ] as const) {
      location = from;
      t.equal(await locationOf('/api/v2/users'), base + to, `${publicUrl}: ${from}`);
      t.equal(
        await locationOf('/default/api/v2/users'),
        `${base}/default${to}`,
        `${publicUrl}: ${from} with a credential`,
      );
    }
    for (const passing of [
      'https://elsewhere.example/api/v2/x',
      '//elsewhere.example/x',
      'relative/x',
      '?q',
      'mailto:a@b',
    ]) {
      location = passing;
      t.equal(await locationOf('/api/v2/users'), passing, `${publicUrl}: ${passing}`);
    }
  }
});

for (const keepsHost of [true, false]) {
  t.test(
    `behind an ingress with a path that ${keepsHost ? 'keeps' : 'replaces'} the Host, every address leads back ` +
      'through it',
    async (t) => {
      const ingress = await startIngress(t, keepsHost);
      const base = `${ingress.origin}/gcg`;
      const { port } = await startGateway(t, {
        sandbox: {
          switches: { login: { approve: 'ada.lindqvist@simulated-org.example' } },
          clients: [
            DEMO_CLIENTS.clientCredentials,
            { ...DEMO_CLIENTS.pkce, redirectUris: ['http://localhost/gcg/-/callback'] },
          ],
        },
        config: (origin) => ({
          server: { publicUrl: `${base}/`, adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
          credentials: [credentialAt(origin), personAt(origin, 'pkce', { isDefault: false, isRequired: false })],
        }),
      });
      ingress.leadTo(port);

      t.test('the login', async (t) => {
        const jar = createCookieJar();
        const hops = [`${base}/-/login/crm`];
        for (;;) {
          const answer = await jar.get(hops.at(-1) as string);
          if (answer.status !== 302) {
            t.equal(answer.status, 200, await answer.clone().text());
            t.match(new URL('../', hops.at(-1)).href, `${base}/`, 'and from there to the status page');
            break;
          }
          const cookie = answer.headers.get('set-cookie');
          if (cookie?.startsWith('gcg_login=')) t.match(cookie, /; Path=\/gcg\/-\/;/);
          hops.push(answer.location);
        }
        t.match(hops.at(-1), `${base}/-/callback?`);
        t.match(
          decodeURIComponent(hops.find((hop) => hop.includes('/oauth/authorize')) ?? ''),
          `redirect_uri=${base}/-/callback`,
        );
        t.equal((await fetch(`${base}/`)).status, 200, 'the status page');
        for (const [, href] of (await (await fetch(`${base}/`)).text()).matchAll(/href="([^"]+)"/g)) {
          if (!href?.startsWith('data:'))
            t.ok(new URL(href as string, `${base}/`).href.startsWith(`${base}/`), href as string);
        }
      });

      t.test('a channel, and its socket', async (t) => {
        const made = (await (await fetch(`${base}/api/v2/notifications/channels`, { method: 'POST' })).json()) as {
          connectUri: string;
        };
        t.ok(made.connectUri.startsWith(base.replace('http', 'ws')), made.connectUri);
        const socket = new WebSocket(made.connectUri);
        await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
        socket.terminate();
      });

      t.test("the SDK's login", async (t) => {
        const authorize = await fetch(
          `${base}/login/oauth/authorize?client_id=x&redirect_uri=http%3A%2F%2Flocalhost%2F`,
          { redirect: 'manual' },
        );
        t.equal(authorize.status, 302);
        t.notMatch(authorize.headers.get('location'), 'gcg', "the region's login host, as without an ingress");
        const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: 'x' });
        const token = (await (await fetch(`${base}/login/oauth/token`, { method: 'POST', body: form })).json()) as {
          access_token: string;
        };
        t.match(token.access_token, /^gcgh_/);
        const call = await fetch(`${base}/api/api/v2/users`, {
          headers: { authorization: `Bearer ${token.access_token}` },
        });
        t.equal(call.status, 200);
      });

      t.test('nothing went past it', async (t) => t.strictSame(ingress.strays, []));
    },
  );
}

t.test('an admin who came by a Host that is none is led to where the login ends, too', async (t) => {
  const { port } = await startGateway(t, {
    awaitReady: false,
    config: (origin) => ({
      credentials: [personAt(origin, 'pkce')],
      clients: [clientNamed('ops', { isAdmin: true })],
      server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }], publicUrl: 'https://gw.example/gcg' },
    }),
  });
  for (const host of ['a b', '[::1', '127.0.0.1:99999', 'other.example', 'a@b']) {
    const request = `GET /-/login/crm HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ops-secret\r\n\r\n`;
    const answer = parseAnswer(await exchangeRaw(port, request));
    t.same([answer.status, headerOf(answer, 'location')], [302, 'https://gw.example/gcg/-/login/crm?here'], host);
  }
});
