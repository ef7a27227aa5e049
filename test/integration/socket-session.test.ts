// Sockets of an application's own users: a channel belongs to the session that made it, and ends with it.

import t from 'tap';
import { createToken } from '../../src/auth/credentials/token-source.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { Secret } from '../../src/secret.ts';
import { startGateway, type TestGateway } from '../helpers/gateway.ts';
import { makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

/** A handle for a user of the simulation who has logged in. */
async function logIn({ gateway, sandbox, config }: TestGateway, userId: string): Promise<{ authorization: string }> {
  const issued = sandbox.issueToken({ clientId: DEMO_CLIENTS.code.id, userId });
  const now = Date.now();
  const token = createToken({ accessToken: new Secret(issued.value), obtainedAt: now, expiresAt: now + 3_600_000 });
  const { sessions } = gateway.runtime();
  const opened = await sessions.open(
    { client: null, authFingerprint: null, credential: 'default', clientId: 'app', secret: null },
    { token, refreshToken: new Secret('r') },
    config.general.hosts.login.origin,
  );
  return { authorization: `Bearer ${opened.handle}` };
}

t.test(
  "a user's channel opens by its address alone, for nobody else, and for as long as the session lasts",
  async (t) => {
    const running = await startGateway(t);
    const { url } = running;
    const alice = await logIn(running, 'a11ce000-0000-4000-8000-000000000001');
    const bob = await logIn(running, 'b0b00000-0000-4000-8000-000000000002');
    const { connectUri } = await makeChannel(url, alice);
    const bare = connectUri.replace(/\?.*/, '');
    t.match(connectUri, /\?token=/);
    await openWebSocket(t, connectUri);
    await openWebSocket(t, bare, { headers: alice });
    t.match(await refusalOf(bare), { status: 404 }, 'without its token it says nothing');
    t.match(await refusalOf(bare, { headers: bob }), { status: 404 });
    t.match(await refusalOf(connectUri, { headers: bob }), { status: 404 });
    await fetch(`${url}/api/v2/tokens/me`, { method: 'DELETE', headers: alice });
    t.match(await refusalOf(connectUri), { status: 404 });
    t.match(await refusalOf(bare, { headers: alice }), { status: 401, code: 'gateway.session.ended' });
  },
);
