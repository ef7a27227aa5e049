// Which connections a whole gateway keeps open to its hosts, and what a reload and its end do to them.

import { copyFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { listenFor } from '../helpers/egress.ts';
import { type ConfigOverrides, configAt, credentialAt, hostsAt, startGatewayWith } from '../helpers/gateway.ts';
import { startConnectProxy } from '../helpers/proxies.ts';

const ca = await createTestCa();
const otherCa = await createTestCa('Another CA');
t.teardown(() => ca.close());
t.teardown(() => otherCa.close());

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** The platform: calls at 127.0.0.1, logins at localhost. */
async function startPlatform(t: Test) {
  const { key, cert } = await ca.issue(['localhost', '127.0.0.1']);
  const seen = {
    requests: 0,
    resumed: [] as boolean[],
    sockets: { api: new Set<TLSSocket>(), login: new Set<TLSSocket>() },
  };
  const server = https.createServer({ key, cert }, (request, response) => {
    seen.requests += 1;
    const token = { access_token: 'token-of-the-test', token_type: 'bearer', expires_in: 86_400 };
    // Set by hand, or Node tells how long the connection lives.
    response.setHeader('connection', 'keep-alive');
    request.resume().on('end', () => response.setHeader('content-type', 'application/json').end(JSON.stringify(token)));
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    seen.resumed.push(socket.isSessionReused());
    const open = seen.sockets[(socket as { servername?: string | false }).servername === 'localhost' ? 'login' : 'api'];
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  await listenFor(t, server);
  const { port } = server.address() as AddressInfo;
  const hosts = {
    ...hostsAt(`https://127.0.0.1:${port}`),
    login: { origin: `https://localhost:${port}`, pathPrefix: '' },
  };
  const counts = () => ({ api: seen.sockets.api.size, login: seen.sockets.login.size });
  return Object.assign(seen, { hosts, counts });
}

type Platform = Awaited<ReturnType<typeof startPlatform>>;

async function startScene(t: Test, overrides: ConfigOverrides = {}) {
  const platform = await startPlatform(t);
  const configFor = ({ hosts }: Pick<Platform, 'hosts'>, more: ConfigOverrides): GatewayConfig =>
    configAt(hosts.api.origin, {
      credentials: [credentialAt(hosts.api.origin, { hosts })],
      general: { hosts },
      tls: { caFile: ca.caFile },
      ...more,
    });
  const { gateway, url } = await startGatewayWith(t, configFor(platform, overrides));
  await gateway.runtime().credentials.default()?.source.token();
  const call = async () => {
    const response = await fetch(`${url}/api/v2/users/me`);
    await response.arrayBuffer();
    return response.headers.get('x-gateway-error') ?? response.status;
  };
  const settled = async (api: number, login: number, at: Platform = platform) =>
    until(() => at.counts().api === api && at.counts().login === login);
  return { platform, gateway, call, settled, configFor };
}

const connections = ({ gateway }: Awaited<ReturnType<typeof startScene>>) =>
  gateway.runtime().upstream.dispatcher.connections();

t.test(
  'one to each host: opened again without a request when the other side ends them, with resumed sessions',
  async (t) => {
    const scene = await startScene(t);
    const { platform, call, settled } = scene;
    t.equal(await call(), 200);
    await settled(1, 1);
    const { requests } = platform;
    for (const socket of [...platform.sockets.api, ...platform.sockets.login]) socket.end();
    await until(() => connections(scene).unused === 2);
    await until(() => platform.resumed.length === 4);
    t.equal(platform.requests, requests);
    t.same(platform.resumed, [false, false, true, true]);
    t.equal(await call(), 200);
    await settled(1, 1);
  },
);

t.test('a reload to the same CA in another file verifies anew, and opens what was kept', async (t) => {
  const scene = await startScene(t);
  const { platform, gateway, call, settled, configFor } = scene;
  await call();
  const caFile = join(t.testdir(), 'ca.pem');
  copyFileSync(ca.caFile, caFile);
  gateway.replace(configFor(platform, { tls: { caFile } }));
  await until(() => connections(scene).unused === 2);
  await settled(1, 1);
  t.same(platform.resumed, [false, false, false, false]);
  t.equal(await call(), 200);
  t.equal(platform.resumed.length, 4);
});

t.test('after a reload that withdraws the CA no connection and no session of before is used', async (t) => {
  const { platform, gateway, call, settled, configFor } = await startScene(t);
  await call();
  gateway.replace(configFor(platform, { tls: { caFile: otherCa.caFile }, retry: { max: 0 } }));
  await settled(0, 0);
  t.equal(await call(), 'gateway.upstream.tls');
  t.equal(platform.sockets.api.size, 0);
});

t.test('a reload to a proxy opens them through it, and leaves none beside it', async (t) => {
  const proxy = await startConnectProxy();
  t.teardown(() => proxy.close());
  const scene = await startScene(t);
  const { platform, gateway, call, settled, configFor } = scene;
  await call();
  const [before] = platform.sockets.api;
  gateway.replace(configFor(platform, { proxy: { url: `http://127.0.0.1:${proxy.port}`, off: false } }));
  await until(() => connections(scene).unused === 2);
  await settled(1, 1);
  t.equal(before?.destroyed, true);
  t.same(
    [...proxy.asked].sort(),
    [platform.hosts.api, platform.hosts.login].map(({ origin }) => origin.slice(8)).sort(),
  );
  t.equal(await call(), 200);
  t.equal(proxy.asked.length, 2, 'the call goes by what is there');
});

t.test('a reload to another host keeps that one, once it is called, and not the one before', async (t) => {
  const { platform, gateway, call, settled, configFor } = await startScene(t);
  await call();
  const next = await startPlatform(t);
  gateway.replace(configFor(next, {}));
  await settled(0, 0);
  t.equal(await call(), 200);
  await settled(1, 1, next);
  t.same(platform.counts(), { api: 0, login: 0 });
});

t.test('a reload that turns it off ends what is idle, one that turns it on again opens it', async (t) => {
  const scene = await startScene(t);
  const { platform, gateway, call, settled, configFor } = scene;
  await call();
  const { dispatcher } = gateway.runtime().upstream;
  gateway.replace(configFor(platform, { timeouts: { keepWarmMs: 0 } }));
  await settled(0, 0);
  t.equal(gateway.runtime().upstream.dispatcher, dispatcher, 'the way out is the same');
  gateway.replace(configFor(platform, { timeouts: { keepWarmMs: 60_000 } }));
  await settled(1, 1);
});

t.test('the end of the gateway ends them, and none is opened again', async (t) => {
  const { platform, gateway, call, settled } = await startScene(t);
  await call();
  await settled(1, 1);
  await gateway.drain();
  await settled(0, 0);
  t.equal(platform.resumed.length, 2);
});

t.test('through a proxy that refuses our password nothing is dialled by itself', async (t) => {
  const proxy = await startConnectProxy({ login: 'corp:right' });
  t.teardown(() => proxy.close());
  const { call } = await startScene(t, { retry: { max: 0 } }).then(async (scene) => {
    const { platform, gateway, configFor } = scene;
    await scene.call();
    gateway.replace(
      configFor(platform, {
        proxy: { url: `http://corp:wrong@127.0.0.1:${proxy.port}`, off: false },
        retry: { max: 0 },
      }),
    );
    return scene;
  });
  // What was kept is opened once, for each host, each first without the password.
  await until(() => proxy.asked.length === 4);
  t.equal(await call(), 'gateway.proxy.auth');
  t.ok(proxy.asked.length <= 6);
});
