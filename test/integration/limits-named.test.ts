// The platform's limits through a whole gateway: named in its 429, shared by an organisation, asked for at the start;
// and what of them is seen in the log, the status and the metrics. Channels near their bound likewise.

import t from 'tap';
import { statusTable } from '../../src/cli/commands/status.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { startAdminGateway, statusOf } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { credentialAt, type TestGateway } from '../helpers/gateway.ts';

const DIRECTORY = {
  ...{ namespace: 'directory', key: 'user.rate.per.minute' },
  paths: ['/api/v2/users', '/api/v2/groups'],
};
const NAME = 'directory:user.rate.per.minute';

const call = async ({ url }: Pick<TestGateway, 'url'>, path: string, init?: RequestInit) => {
  const response = await fetch(`${url}${path}`, init);
  return { status: response.status, code: response.headers.get('x-gateway-error'), body: await response.text() };
};
const metricsOf = async ({ url }: Pick<TestGateway, 'url'>) => (await fetch(`${url}/metrics`)).text();

/** Until a status shows what is waited for: the platform is asked beside everything else. */
async function statusWith(url: string, isSo: (status: StatusDocument) => boolean): Promise<StatusDocument> {
  for (;;) {
    const status = await statusOf(url);
    if (isSo(status)) return status;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

t.test('a service’s limit is named to whoever looks, and pauses nothing but its service', async (t) => {
  const running = await startAdminGateway(t, {
    sandbox: { switches: { rateLimit: { services: [{ ...DIRECTORY, perMinute: 3 }] } } },
    overrides: { timeouts: { totalWaitMs: 500 } },
  });
  const { url, sandbox, log } = running;
  for (let sent = 0; sent < 3; sent += 1) t.equal((await call(running, '/api/v2/users')).status, 200);
  const refused = await call(running, '/api/v2/users');
  t.match(refused, { status: 429, code: null, body: `"limit":{"key":"user.rate.per.minute","namespace":"directory"` });
  t.match(await call(running, '/api/v2/groups'), { status: 429, code: null }, 'its routes join one by one');
  const before = sandbox.stats.apiCallsTotal;
  for (const path of ['/api/v2/users', '/api/v2/groups'])
    t.match(await call(running, path), { status: 429, code: 'gateway.rate.limited', body: NAME });
  t.equal(sandbox.stats.apiCallsTotal, before, 'these were not sent');
  for (let sent = 0; sent < 5; sent += 1) t.equal((await call(running, '/api/v2/organizations/me')).status, 200);
  const record = await log.nextExchange(({ status }) => status === 429);
  t.equal(record.limit, NAME);
  const held = await log.nextExchange(({ errorCode }) => errorCode === 'gateway.rate.limited');
  t.equal(held.heldBy, `the platform's limit ${NAME} of credential default`);
  const { limits } = await statusOf(url);
  t.match(
    limits.find(({ limit }) => limit === NAME),
    {
      ...{ scope: 'service', credential: 'default', organization: null, source: 'met', perMinute: 3 },
      routes: ['GET /api/v2/users', 'GET /api/v2/groups'],
    },
  );
  t.match(
    statusTable(await statusOf(url)),
    /^the platform's limit directory:user\S+ of credential default +3 +a 429 +0 /m,
  );
  t.match(limits[0], { scope: 'token', limit: null, source: null, routes: null, pausedMs: 0 });
  const page = await (await fetch(url)).text();
  t.match(page, `the platform&#39;s limit ${NAME} of credential default`);
  t.match(page, 'a 429');
  t.match(
    await metricsOf(running),
    `gcg_upstream_429_total{client="anonymous",credential="default",limit="${NAME}"} 2`,
  );
});

t.test('an organisation’s limit is shared by its credentials, which the platform has told', async (t) => {
  const services = [
    { namespace: 'routing', key: 'org.rate.per.minute', perMinute: 4, paths: ['/api/v2/users'], isShared: true },
  ];
  const running = await startAdminGateway(t, {
    identify: true,
    awaitReady: true,
    sandbox: { switches: { rateLimit: { services } } },
    credentials: (origin) => [credentialAt(origin), credentialAt(origin, { name: 'wfm', isDefault: false })],
    overrides: { timeouts: { totalWaitMs: 500 }, server: { anonymousCredentials: ['default', 'wfm'] } },
  });
  const { url, sandbox } = running;
  const known = await statusWith(url, ({ credentials }) => credentials.every(({ identity }) => identity != null));
  const organization = known.credentials[0]?.identity?.organization?.id ?? '';
  t.ok(organization);
  for (let sent = 0; sent < 5; sent += 1) await call(running, '/api/v2/users');
  const before = sandbox.stats.apiCallsTotal;
  t.match(await call(running, '/wfm/api/v2/users'), { status: 429, code: 'gateway.rate.limited' });
  t.equal(sandbox.stats.apiCallsTotal, before, 'the other credential knows without a refusal of its own');
  t.equal((await call(running, '/wfm/api/v2/organizations/me')).status, 200);
  const { limits } = await statusOf(url);
  t.match(
    limits.find(({ scope }) => scope === 'organization'),
    {
      ...{ organization, credential: null, perMinute: 4, limit: 'routing:org.rate.per.minute' },
      name: `the platform's limit routing:org.rate.per.minute of organisation ${organization}`,
    },
  );
});

t.test('limits are asked for at the start, and nothing is refused to learn them', async (t) => {
  const running = await startAdminGateway(t, {
    identify: true,
    sandbox: { switches: { rateLimit: { perMinute: 40 } } },
    overrides: { timeouts: { totalWaitMs: 200 } },
  });
  const { url, sandbox } = running;
  const { limits } = await statusWith(url, (status) => status.limits[0]?.source === 'asked');
  t.match(limits[0], { perMinute: 40, limit: 'platform.api:client.credentials.token.rate.per.minute' });
  const used = limits[0]?.used ?? 0;
  const answers = await Promise.all(Array.from({ length: 60 }, () => call(running, '/api/v2/users')));
  t.equal(answers.filter(({ status }) => status === 200).length, 40 - Math.max(2, used), 'two were questions of ours');
  t.equal(sandbox.stats.rateLimitedCalls, 0);
  t.match(await (await fetch(url)).text(), 'the platform, asked');
});

t.test('who makes channels is seen before the platform drops the oldest', async (t) => {
  const running = await startAdminGateway(t, {
    overrides: { clients: [clientNamed('wall', { isAdmin: true }), clientNamed('crm')] },
  });
  const { url, log } = running;
  const make = (client: string) =>
    call(running, '/api/v2/notifications/channels', {
      method: 'POST',
      headers: { 'X-Gateway-Key': `${client}-secret`, 'Content-Type': 'application/json' },
    });
  for (let made = 0; made < 15; made += 1) t.equal((await make(made < 12 ? 'wall' : 'crm')).status, 200);
  const headers = { 'X-Gateway-Key': 'wall-secret' };
  const status = async () => (await (await fetch(`${url}/-/status`, { headers })).json()) as StatusDocument;
  t.match(await status(), { channels: [{ credential: 'default', channels: 15, most: 20, warning: null }] });
  await make('crm');
  t.match(await log.nextLine('many notification channels'), { channels: 16, clients: 'wall 12, crm 4' });
  t.match((await status()).channels, [
    {
      channels: 16,
      clients: [
        { client: 'wall', channels: 12 },
        { client: 'crm', channels: 4 },
      ],
      warning: /16/,
    },
  ]);
  t.match(statusTable(await status()), /^credential default \(wall 12, crm 4\): 16 notification channels are in use/m);
  t.match(await (await fetch(url, { headers })).text(), /role="alert">Credential default \(wall 12, crm 4\): 16 notif/);
  const metrics = await (await fetch(`${url}/metrics`, { headers })).text();
  t.match(metrics, 'gcg_notification_channels{client="wall",credential="default"} 12');
  for (let made = 0; made < 8; made += 1) await make('crm');
  t.equal(log.lines.filter(({ msg }) => msg === 'many notification channels').length, 2);
});
