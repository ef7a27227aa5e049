// A socket ends with whoever opened it: 1008 to the client when its client, session or handle is gone, and nobody else
// notices.

import t, { type Test } from 'tap';
import type WebSocket from 'ws';
import { createToken } from '../../src/auth/credentials/token-source.ts';
import { createGateway } from '../../src/gateway.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { Secret } from '../../src/secret.ts';
import { startAdminGateway } from '../helpers/admin.ts';
import { basic, clientNamed, credentialOf, postToken } from '../helpers/clients.ts';
import {
  configAt,
  createTestLog,
  credentialAt,
  startGateway,
  startGatewayWith,
  type TestGateway,
} from '../helpers/gateway.ts';
import { closeOf, makeChannel, openWebSocket, refusalOf, startStreamingUpstream } from '../helpers/sockets.ts';

const as = (name: string) => ({ authorization: `Bearer ${name}-secret` });

/** Open at both ends, with what each of them is told at its end. */
async function listenAs(
  t: Test,
  { url }: Pick<TestGateway, 'url'>,
  headers: Record<string, string>,
): Promise<WebSocket> {
  const { connectUri } = await makeChannel(url, headers);
  return openWebSocket(t, connectUri);
}

/** The clients that have one, as the metrics tell. */
async function openSockets({ url }: Pick<TestGateway, 'url'>): Promise<string[]> {
  const text = await (await fetch(`${url}/metrics`, { headers: as('erp') })).text();
  return [...text.matchAll(/^gcg_websockets_open\{client="(\w+)",credential="default"\} 1$/gm)].map(
    ([, name = '']) => name,
  );
}

const openSession = async ({ gateway, sandbox }: Pick<TestGateway, 'gateway' | 'sandbox'>) => {
  const { value } = sandbox.issueToken({
    clientId: DEMO_CLIENTS.code.id,
    userId: 'a11ce000-0000-4000-8000-000000000001',
  });
  const token = createToken({
    accessToken: new Secret(value),
    obtainedAt: Date.now(),
    expiresAt: Date.now() + 3_600_000,
  });
  const owner = { client: null, authFingerprint: null, credential: 'default', clientId: 'app', secret: null };
  const { handle } = await gateway
    .runtime()
    .sessions.open(
      owner,
      { token, refreshToken: new Secret('r') },
      gateway.runtime().config.general.hosts.login.origin,
    );
  return { authorization: `Bearer ${handle}` };
};

t.test('a client that a reload removes is cut with 1008; one that stays is untouched', async (t) => {
  const started = await startAdminGateway(t, {
    overrides: { clients: [clientNamed('crm'), clientNamed('erp', { isAdmin: true })] },
  });
  const { gateway, config, log, sandbox } = started;
  const [crm, erp] = [await listenAs(t, started, as('crm')), await listenAs(t, started, as('erp'))];
  const upstream: number[] = [];
  sandbox.events.emitter.on('socketClose', ({ code }) => upstream.push(code));
  const end = closeOf(crm);
  t.same(await openSockets(started), ['crm', 'erp']);
  gateway.replace({ ...config, clients: [clientNamed('erp', { isAdmin: true, requestsPerMinute: 50 })] });
  t.same(await end, { code: 1008, reason: 'gateway.client.unauthenticated' });
  const record = await log.nextExchange(({ closeCode }) => closeCode === 1008);
  t.match(record, { status: 101, client: 'crm', errorCode: 'gateway.client.unauthenticated', aborted: false });
  t.same(upstream, [1001], 'the platform is told that somebody left');
  t.same(await openSockets(started), ['erp']);
  const pong = new Promise((resolve) => erp.once('message', resolve));
  erp.send(JSON.stringify({ message: 'ping' }));
  await pong;
});

t.test('a client that a reload takes a right from is cut: its credential, or the making of channels', async (t) => {
  const credentials = (origin: string) => [
    credentialAt(origin),
    credentialOf(origin, 'other', DEMO_CLIENTS.clientCredentials),
  ];
  const started = await startGateway(t, {
    config: (origin) => ({
      credentials: credentials(origin),
      clients: [clientNamed('crm', { credentials: ['other'] }), clientNamed('erp')],
    }),
  });
  const { gateway, config } = started;
  const [crm, erp] = [await listenAs(t, started, as('crm')), await listenAs(t, started, as('erp'))];
  const ends = Promise.all([closeOf(crm), closeOf(erp)]);
  gateway.replace({
    ...config,
    clients: [clientNamed('crm'), clientNamed('erp', { deny: ['POST /api/v2/notifications/**'] })],
  });
  t.same(await ends, Array(2).fill({ code: 1008, reason: 'gateway.client.forbidden' }));
});

t.test('the end of anonymous use ends the sockets of anonymous callers', async (t) => {
  const started = await startGateway(t);
  const socket = await listenAs(t, started, {});
  const end = closeOf(socket);
  started.gateway.replace({ ...started.config, clients: [clientNamed('crm')] });
  t.match(await end, { code: 1008 });
});

t.test('a session that is ended takes its sockets with it, and no others', async (t) => {
  const started = await startGateway(t);
  const [one, other] = [await openSession(started), await openSession(started)];
  const sockets = [await listenAs(t, started, one), await listenAs(t, started, one)];
  const stays = await listenAs(t, started, other);
  const ends = Promise.all(sockets.map(closeOf));
  await fetch(`${started.url}/api/v2/tokens/me`, { method: 'DELETE', headers: one });
  t.same(await ends, Array(2).fill({ code: 1008, reason: 'gateway.session.ended' }));
  t.match(await started.log.nextExchange(({ closeCode }) => closeCode === 1008), {
    errorCode: 'gateway.session.ended',
  });
  t.equal(stays.readyState, stays.OPEN);
});

t.test('a session that is evicted takes its sockets with it', async (t) => {
  const { sandbox, config } = await startGateway(t);
  const gateway = await createGateway(config, {
    log: createTestLog(),
    env: {},
    sessionLimits: { max: 1, idleMs: 3_600_000 },
  });
  t.teardown(() => gateway.drain());
  const [url = ''] = await gateway.listen();
  await gateway.runtime().credentials.default()?.source.token();
  const socket = await listenAs(t, { url }, await openSession({ gateway, sandbox }));
  const end = closeOf(socket);
  await openSession({ gateway, sandbox });
  t.same(await end, { code: 1008, reason: 'gateway.session.ended' });
});

t.test('a handle that is ended takes the sockets it opened; those of its client go on', async (t) => {
  const started = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
  const login = await postToken(
    started.url,
    { grant_type: 'client_credentials' },
    { authorization: basic('crm', 'crm-secret') },
  );
  const headers = { authorization: `Bearer ${login.body.access_token}` };
  const [byHandle, bySecret] = [await listenAs(t, started, headers), await listenAs(t, started, as('crm'))];
  const end = closeOf(byHandle);
  await fetch(`${started.url}/api/v2/tokens/me`, { method: 'DELETE', headers });
  t.same(await end, { code: 1008, reason: 'gateway.session.ended' });
  t.equal(bySecret.readyState, bySecret.OPEN);
});

t.test('a handshake that is under way is refused when its caller is gone', async (t) => {
  let asked = () => {};
  const arrived = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const upstream = await startStreamingUpstream(t, () => asked());
  const config = configAt(upstream.origin, { clients: [clientNamed('crm'), clientNamed('erp')] });
  const { url, gateway } = await startGatewayWith(t, config);
  const { connectUri } = await makeChannel(url, as('crm'));
  const refusal = refusalOf(connectUri);
  await arrived;
  gateway.replace({ ...config, clients: [clientNamed('erp')] });
  t.match(await refusal, { status: 401, code: 'gateway.client.unauthenticated' });
});

t.test('one client takes all places: another has its own all the same, and each has as many in the end', async (t) => {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const log = createTestLog();
  const clients = [clientNamed('crm'), clientNamed('erp')];
  const gateway = await createGateway(configAt(origin, { clients }), { log, env: {}, maxSockets: 6 });
  const [url = ''] = await gateway.listen();
  t.teardown(() => gateway.drain());
  const ends: ReturnType<typeof closeOf>[] = [];
  for (let nth = 0; nth < 6; nth += 1) ends.push(closeOf(await listenAs(t, { url }, as('crm'))));
  const refused = async (name: string) => refusalOf((await makeChannel(url, as(name))).connectUri);
  t.match(await refused('crm'), { status: 429, code: 'gateway.rate.limited' });
  for (let nth = 0; nth < 3; nth += 1) {
    await listenAs(t, { url }, as('erp'));
    await log.nextExchange(
      ({ closeCode }) => closeCode === 1013 && log.exchanges.filter((one) => one.closeCode === 1013).length === nth + 1,
    );
  }
  const TOLD = { code: 1013, reason: 'gateway.rate.limited' };
  t.same(await Promise.all(ends.slice(3)), [TOLD, TOLD, TOLD], 'its newest gave way');
  t.match(
    log.exchanges.find(({ closeCode }) => closeCode === 1013),
    { client: 'crm', status: 101, errorCode: 'gateway.rate.limited' },
  );
  for (const name of ['crm', 'erp']) t.match(await refused(name), { status: 429, code: 'gateway.rate.limited' }, name);
  t.equal(gateway.socketCount(), 6);
});

t.test('a channel takes no fourth socket', async (t) => {
  const started = await startGateway(t);
  const { connectUri } = await makeChannel(started.url);
  const upstream = await startStreamingUpstream(t, () => {});
  const held = configAt(upstream.origin);
  const { url, gateway } = await startGatewayWith(t, held);
  const { connectUri: silent } = await makeChannel(url);
  for (let nth = 1; nth <= 3; nth += 1) {
    refusalOf(silent).catch(() => undefined);
    while (gateway.socketCount() < nth) await new Promise((resolve) => setImmediate(resolve));
  }
  t.match(await refusalOf(silent), { status: 429, code: 'gateway.rate.limited' });
  for (let nth = 0; nth < 5; nth += 1) {
    const socket = await openWebSocket(t, connectUri);
    const closed = closeOf(socket);
    socket.close(1000);
    t.match(await closed, { code: 1000 }, 'one after the other there may be any number');
    await started.log.nextExchange(
      () => started.log.exchanges.filter(({ closeCode }) => closeCode === 1000).length > nth,
    );
  }
});
