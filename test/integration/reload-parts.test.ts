// What a reload replaces and what it leaves as it is, part by part: tokens, limits, connections, callers, running
// calls.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { inlineSecret } from '../../src/secret.ts';
import { clientNamed, credentialOf } from '../helpers/clients.ts';
import { configAt, credentialAt, startGateway } from '../helpers/gateway.ts';

t.test(
  'a credential that stays the same keeps its token, its state and its source; one that is gone is unknown',
  async (t) => {
    const { gateway, sandbox, url, config } = await startGateway(t);
    const origin = config.general.hosts.api.origin;
    const before = gateway.runtime().credentials.default();
    const second = credentialOf(origin, 'second', DEMO_CLIENTS.clientCredentials);
    gateway.replace(
      configAt(origin, {
        credentials: [credentialAt(origin, { isRequired: false, location: 'elsewhere:99' }), second],
      }),
    );
    const after = gateway.runtime().credentials.default();
    t.equal(after?.source, before?.source);
    t.equal(after?.config.isRequired, false, 'with what is new about it');
    await gateway.runtime().credentials.get('second')?.source.token();
    t.equal(sandbox.stats.tokenRequestsTotal, 2);
    gateway.replace(configAt(origin));
    const gone = await fetch(`${url}/second/api/v2/users?pageSize=1`);
    t.equal(gone.headers.get('x-gateway-error'), 'gateway.credential.unknown');
    t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 200);
    t.equal(sandbox.stats.tokenRequestsTotal, 2);
  },
);

t.test(
  'another secret for the same client is tried at once while the old token serves; another client gets a token of ' +
    'its own',
  async (t) => {
    const { gateway, sandbox, url, config, log } = await startGateway(t);
    const origin = config.general.hosts.api.origin;
    const token = gateway.runtime().credentials.default()?.source.current();
    gateway.replace(
      configAt(origin, {
        credentials: [credentialAt(origin, { clientSecret: inlineSecret('a-wrong-secret', 'test') })],
      }),
    );
    t.equal(gateway.runtime().credentials.default()?.source.current(), token);
    await log.nextLine('token request', ({ result }) => result === 'refused');
    t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 200, 'the good token is used up to its end');
    gateway.replace(configAt(origin, { credentials: [credentialAt(origin, { clientId: 'another-client' })] }));
    t.equal(gateway.runtime().credentials.default()?.source.current(), null);
    t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 424, 'and no token of somebody else');
    t.equal(sandbox.stats.tokenRequestsTotal, 3);
  },
);

t.test('other reauthentication settings keep the token', async (t) => {
  const { gateway, sandbox, config } = await startGateway(t);
  const origin = config.general.hosts.api.origin;
  const token = gateway.runtime().credentials.default()?.source.current();
  gateway.replace(configAt(origin, { reauthentication: { refreshAccessToken: false } }));
  t.equal(gateway.runtime().credentials.default()?.source.current(), token);
  t.equal(sandbox.stats.tokenRequestsTotal, 1);
});

t.test(
  'connections are shared where both dial alike; else running calls end on the old ones, which close behind them',
  async (t) => {
    const { gateway, sandbox, url, config } = await startGateway(t);
    const origin = config.general.hosts.api.origin;
    const first = gateway.runtime().upstream.dispatcher;
    gateway.replace(configAt(origin, { retry: { max: 1 } }));
    t.equal(gateway.runtime().upstream.dispatcher, first, 'retry has nothing to do with connections');
    sandbox.set({ holdApi: { next: 1 } });
    const held = sandbox.events.next('held');
    const call = fetch(`${url}/api/v2/users?pageSize=1`);
    await held;
    gateway.replace(configAt(origin, { retry: { max: 1 }, timeouts: { connectMs: 1234 } }));
    const second = gateway.runtime().upstream.dispatcher;
    t.not(second, first);
    t.equal((await fetch(`${url}/api/v2/users?pageSize=2`)).status, 200, 'new calls go by the new ones');
    t.same(
      first.connections(),
      { active: 1, idle: 0, unused: 0 },
      'of the old ones the held call has its own, no other is kept',
    );
    sandbox.release();
    t.equal((await call).status, 200);
    await until(() => first.connections().active === 0);
    t.equal(second.connections().idle, 1);
  },
);

t.test(
  'what is known of a limit goes on to count, with another number too; another account starts afresh',
  async (t) => {
    const limited = {
      rateLimit: { mode: 'enforce', requestsPerMinute: 5, queueMax: 10 },
      timeouts: { totalWaitMs: 1_000 },
    } as const;
    const { gateway, url, config } = await startGateway(t, { config: limited });
    const origin = config.general.hosts.api.origin;
    const call = async () => (await fetch(`${url}/api/v2/users?pageSize=1`)).status;
    for (let n = 0; n < 5; n += 1) t.equal(await call(), 200);
    gateway.replace(configAt(origin, { ...limited, retry: { max: 1 } }));
    t.equal(await call(), 429, 'used up before, used up now');
    gateway.replace(configAt(origin, { ...limited, rateLimit: { ...limited.rateLimit, requestsPerMinute: 7 } }));
    t.same([await call(), await call(), await call()], [200, 200, 429]);
    gateway.replace(configAt(origin, { ...limited, credentials: [credentialAt(origin, { orgName: 'another' })] }));
    await gateway.runtime().credentials.default()?.source.token();
    t.equal(await call(), 200);
  },
);

t.test(
  'bodies that are kept for calls of the configuration before count towards the bound of the present one',
  async (t) => {
    const { gateway, sandbox, url, config } = await startGateway(t, {
      sandbox: { switches: { holdApi: { next: 1 } } },
    });
    const held = sandbox.events.next('held');
    const call = fetch(`${url}/api/v2/users/search`, { method: 'POST', body: 'x'.repeat(1000) });
    await held;
    gateway.replace(configAt(config.general.hosts.api.origin, { retry: { max: 1 } }));
    t.equal(gateway.runtime().budget.usedBytes, 1000);
    sandbox.release();
    await (await call).text();
    t.equal(gateway.runtime().budget.usedBytes, 0);
  },
);

t.test('callers are known by the new clients at once, and the names of metrics follow', async (t) => {
  const { gateway, url, config } = await startGateway(t);
  const origin = config.general.hosts.api.origin;
  const call = async (headers = {}) => (await fetch(`${url}/api/v2/users?pageSize=1`, { headers })).status;
  t.equal(await call(), 200);
  gateway.replace(configAt(origin, { clients: [clientNamed('crm', { isAdmin: true })] }));
  t.equal(await call(), 401);
  const key = { 'x-gateway-key': 'crm-secret' };
  t.equal(await call(key), 200);
  gateway.replace(configAt(origin, { clients: [clientNamed('erp', { isAdmin: true })] }));
  t.equal(await call(key), 401);
});

t.test('a gateway that is shutting down takes no other configuration', async (t) => {
  const { gateway, config } = await startGateway(t);
  const ended = gateway.drain();
  t.throws(() => gateway.replace(configAt(config.general.hosts.api.origin)), /shutting down/);
  await ended;
});

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise<void>((resolve) => setImmediate(resolve));
}

t.test('a runtime that was replaced is let go of, whatever of it was taken over', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { gateway, url, config } = await startGateway(t);
  const origin = config.general.hosts.api.origin;
  const replaced: WeakRef<object>[] = [];
  for (let n = 0; n < 6; n += 1) {
    replaced.push(
      new WeakRef(gateway.runtime()),
      new WeakRef(gateway.runtime().upstream),
      new WeakRef(gateway.runtime().credentials),
    );
    await (await fetch(`${url}/api/v2/users?pageSize=1`)).text();
    gateway.replace(configAt(origin, { rateLimit: { queueMax: 100 + n }, timeouts: { connectMs: 1_000 + (n >> 1) } }));
  }
  await (await fetch(`${url}/api/v2/users?pageSize=1`)).text();
  const kept = () => replaced.filter((one) => one.deref() !== undefined).length;
  for (let rounds = 0; rounds < 1000 && kept() > 0; rounds += 1) {
    // What a WeakRef was asked for stays until the turn is over.
    await new Promise<void>((resolve) => setImmediate(resolve));
    collect();
  }
  t.equal(kept(), 0);
});
