// A session's tokens go where they were issued and nowhere else, whatever becomes of the configuration.

import t, { type Test } from 'tap';
import { createToken } from '../../src/auth/credentials/token-source.ts';
import type { Gateway } from '../../src/gateway.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { Secret } from '../../src/secret.ts';
import { configAt, credentialAt, startGatewayWith, stateFolder } from '../helpers/gateway.ts';

async function startTwo(t: Test) {
  const start = async () => {
    const sandbox = createSandbox();
    const { origin } = await sandbox.listen({ port: 0 });
    t.teardown(() => sandbox.close());
    return { sandbox, origin };
  };
  return { here: await start(), there: await start() };
}

/** A user of the simulation who has logged in through credential crm. */
async function logIn(gateway: Gateway, { sandbox, origin }: { sandbox: Sandbox; origin: string }) {
  const issued = sandbox.issueToken({ clientId: DEMO_CLIENTS.code.id, userId: 'a11ce000-0000-4000-8000-000000000001' });
  const token = createToken({
    accessToken: new Secret(issued.value),
    obtainedAt: Date.now(),
    expiresAt: Date.now() + 3_600_000,
  });
  const owner = { client: null, authFingerprint: null, credential: 'crm', clientId: 'app', secret: null };
  const { handle } = await gateway
    .runtime()
    .sessions.open(owner, { token, refreshToken: new Secret('refresh') }, origin);
  return { authorization: `Bearer ${handle}` };
}

t.test(
  'a credential that leads elsewhere, or is gone, takes no session along; one that comes back finds them again',
  async (t) => {
    const { here, there } = await startTwo(t);
    const at = (origin: string, name = 'crm') =>
      configAt(here.origin, { credentials: [credentialAt(origin, { name })] });
    const { gateway, url } = await startGatewayWith(t, at(here.origin));
    const headers = await logIn(gateway, here);
    const call = async () => {
      const answer = await fetch(`${url}/api/v2/users/me`, { headers });
      await answer.text();
      return answer.headers.get('x-gateway-error') ?? answer.status;
    };
    t.equal(await call(), 200);
    gateway.replace(at(there.origin));
    t.equal(await call(), 'gateway.session.ended');
    gateway.replace(at(here.origin, 'other'));
    t.equal(await call(), 'gateway.session.ended');
    gateway.replace(at(here.origin));
    t.equal(await call(), 200);
    t.same(
      there.sandbox.events.recent.filter(({ kind }) => kind === 'api'),
      [],
      'no token of the one platform was shown to the other',
    );
  },
);

t.test('nor does a restart', async (t) => {
  const { here, there } = await startTwo(t);
  const store = { type: 'file', path: stateFolder(t) } as const;
  const at = (origin: string) => configAt(here.origin, { store, credentials: [credentialAt(origin, { name: 'crm' })] });
  const first = await startGatewayWith(t, at(here.origin));
  const headers = await logIn(first.gateway, here);
  await first.gateway.drain();
  for (const [origin, status] of [
    [there.origin, 401],
    [here.origin, 200],
  ] as const) {
    const { gateway, url } = await startGatewayWith(t, at(origin));
    const answer = await fetch(`${url}/api/v2/users/me`, { headers });
    await answer.text();
    t.equal(answer.status, status);
    await gateway.drain();
  }
  t.equal(there.sandbox.events.recent.filter(({ kind }) => kind === 'api').length, 0);
});
