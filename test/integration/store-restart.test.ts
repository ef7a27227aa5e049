// A restart of the whole gateway goes on with the stored tokens and asks for nothing; what cannot go on says so.

import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import { createGateway } from '../../src/gateway.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { change, createCookieJar, personAt, statusOf } from '../helpers/admin.ts';
import { configAt, createTestLog, startGatewayWith, stateFolder } from '../helpers/gateway.ts';

async function startRange(t: Test, type: 'file' | 'memory') {
  const sandbox = createSandbox({
    switches: { rotation: 'strict', login: { approve: 'ada.lindqvist@simulated-org.example' } },
  });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const path = stateFolder(t);
  const config: GatewayConfig = configAt(origin, {
    credentials: [personAt(origin, 'authorization_code')],
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    store: { type, path },
  });
  const logIn = async (url: string) => {
    const jar = createCookieJar();
    return (await jar.get((await jar.get((await jar.get(`${url}/-/login/crm`)).location)).location)).status;
  };
  return { sandbox, path, config, logIn };
}

t.test(
  'a file store: the next gateway serves at once with the stored token, and renews with the stored refresh token',
  async (t) => {
    const { sandbox, path, config, logIn } = await startRange(t, 'file');
    const first = await startGatewayWith(t, config);
    t.equal(await logIn(first.url), 200);
    await first.gateway.drain();
    t.equal(statSync(path).mode & 0o777, 0o700);
    for (const name of readdirSync(path)) t.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);

    const requests = sandbox.events.recent.length;
    const second = await startGatewayWith(t, config);
    t.equal((await fetch(`${second.url}/api/v2/users/me`)).status, 200);
    t.same(
      sandbox.events.recent.slice(requests).map(({ kind }) => kind),
      ['api'],
      'the call alone went out',
    );
    t.equal((await statusOf(second.url)).store.error, null);
    await second.gateway.drain();

    sandbox.expireTokens();
    const third = await startGatewayWith(t, config);
    t.equal((await fetch(`${third.url}/api/v2/users/me`)).status, 200, 'expired meanwhile: renewed without a person');
    t.equal((await change(`${third.url}/-/credentials/crm/refresh`)).status, 200);
    t.equal(sandbox.stats.tokensIssued, 3);
  },
);

t.test('logged out is logged out, also after a restart', async (t) => {
  const { config, logIn } = await startRange(t, 'file');
  const first = await startGatewayWith(t, config);
  t.equal(await logIn(first.url), 200);
  t.equal((await change(`${first.url}/-/credentials/crm/logout`)).status, 200);
  await first.gateway.drain();
  const second = await startGatewayWith(t, config);
  t.equal((await fetch(`${second.url}/api/v2/users/me`)).headers.get('x-gateway-error'), 'gateway.login.required');
});

t.test('a memory store ends with the process: the next gateway asks for a login', async (t) => {
  const { config, logIn } = await startRange(t, 'memory');
  const first = await startGatewayWith(t, config);
  t.equal(await logIn(first.url), 200);
  await first.gateway.drain();
  const second = await startGatewayWith(t, config);
  t.equal((await fetch(`${second.url}/api/v2/users/me`)).headers.get('x-gateway-error'), 'gateway.login.required');
});

t.test(
  'a stored file that was tampered with is refused, kept aside, and said in status; a login mends it',
  async (t) => {
    const { path, config, logIn } = await startRange(t, 'file');
    const first = await startGatewayWith(t, config);
    t.equal(await logIn(first.url), 200);
    await first.gateway.drain();
    const file = readdirSync(path).find((name) => name.includes('-crm-') && name.endsWith('.token')) as string;
    writeFileSync(join(path, file), '{"format":"gcg-store-1"}');
    const second = await startGatewayWith(t, config);
    t.equal((await fetch(`${second.url}/api/v2/users/me`)).headers.get('x-gateway-error'), 'gateway.login.required');
    t.match((await statusOf(second.url)).credentials[0], {
      lastError: { message: /cannot use its stored login .*kept as/ },
    });
    t.ok(readdirSync(path).some((name) => name.startsWith(`${file}.damaged-`)));
    t.equal(await logIn(second.url), 200);
    t.equal((await fetch(`${second.url}/api/v2/users/me`)).status, 200);
  },
);

t.test('a store folder that cannot be used ends the start, by its name', async (t) => {
  const { path, config } = await startRange(t, 'file');
  writeFileSync(path, 'a file where the folder should be');
  await t.rejects(createGateway(config, { log: createTestLog(), env: {} }), {
    name: 'StoreError',
    message: new RegExp(`${path}.*cannot be used`),
  });
});
