// The platform limits tokens, and each session has its own: one that is held up holds up no other.

import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import { allCredentials, assertionFor, basic, postToken } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';

t.test('a session that has used its limit up delays neither another session nor the credential itself', async (t) => {
  const [first, second] = createUsers(2) as unknown as [{ email: string }, { email: string }];
  const { url, sandbox } = await startGateway(t, {
    config: (origin) => ({
      credentials: allCredentials(origin),
      server: { anonymousCredentials: ['*'] },
      timeouts: { totalWaitMs: 200 },
    }),
  });
  sandbox.set({ rateLimit: { perMinute: 3 } });
  const saml = (email: string) => ({
    grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
    orgName: 'Simulated Organization',
    assertion: assertionFor(email),
  });
  const login = async (email: string) =>
    (await postToken(`${url}/oauth/token`, saml(email), { authorization: basic(DEMO_CLIENTS.saml2Bearer.id, 'x') }))
      .body.access_token;
  const call = async (token: string) => {
    const answer = await fetch(`${url}/api/v2/users?pageSize=1`, { headers: { authorization: `Bearer ${token}` } });
    await answer.arrayBuffer();
    return answer.status;
  };
  const [busy, quiet] = [await login(first.email), await login(second.email)];
  const statuses: number[] = [];
  for (let calls = 0; calls < 5; calls += 1) statuses.push(await call(busy));
  t.same(statuses, [200, 200, 200, 429, 429], 'the busy one is limited');
  t.equal(await call(quiet), 200, 'the quiet one is not');
  t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 200, 'nor are calls without a session');
});
