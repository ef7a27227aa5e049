// A request may take its time between its head and what it does: its body comes slowly, or the answer to a wrong secret
// in it is held back. Who calls is asked again then.

import t, { type Test } from 'tap';
import type { ClientConfig } from '../../src/config/gateway-config.ts';
import { inlineSecret } from '../../src/secret.ts';
import { askAt } from '../helpers/ask.ts';
import { allCredentials, clientNamed, postToken } from '../helpers/clients.ts';
import { givenTokenConfig, ok } from '../helpers/direct.ts';
import { createFakeClock, type FakeClock } from '../helpers/fake-clock.ts';
import { startGateway, startGatewayWith } from '../helpers/gateway.ts';
import { openCaller, type RawCaller } from '../helpers/raw-caller.ts';
import { startRawUpstream } from '../helpers/raw-http.ts';

const adminListen = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const ops = clientNamed('ops', { isAdmin: true });
const root = clientNamed('root', { isAdmin: true });

/** What becomes of the client `ops` while a request of it is under way, and what that request is answered then. */
const CHANGES: Record<string, { clients: readonly ClientConfig[]; status: number }> = {
  'is an admin still': { clients: [ops, root, clientNamed('new')], status: 200 },
  'is no admin any more': { clients: [clientNamed('ops'), root], status: 403 },
  'is gone': { clients: [root], status: 401 },
  'has another secret': {
    clients: [clientNamed('ops', { isAdmin: true, secret: inlineSecret('other-secret', 'test') }), root],
    status: 401,
  },
};

/** Sends a request up to its body, which the gateway asks for once it knows who calls. */
async function beginPost(t: Test, port: number, path: string, authorization: string, body = 'a=b'): Promise<RawCaller> {
  const caller = await openCaller(t, port);
  const head = [
    `POST ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    `Authorization: ${authorization}`,
    'X-Gateway-Request: 1',
  ];
  const about = ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`];
  caller.socket.write([...head, ...about, 'Expect: 100-continue', 'Connection: close', '', ''].join('\r\n'));
  await caller.until((received) => received.includes('100 Continue'));
  return caller;
}

async function statusAfterBody(caller: RawCaller, body = 'a=b'): Promise<number> {
  caller.socket.write(body);
  await caller.until((received) => /HTTP\/1\.1 [2-5]\d\d/.test(received));
  return Number(/HTTP\/1\.1 ([2-5]\d\d)/.exec(caller.received())?.[1]);
}

for (const [what, { clients, status }] of Object.entries(CHANGES)) {
  t.test(`an admin request whose body comes after a reload, while its client ${what}: ${status}`, async (t) => {
    const { port, url, gateway, config } = await startGateway(t, {
      config: (origin) => ({ credentials: allCredentials(origin), clients: [ops, root], server: { adminListen } }),
    });
    const { access_token: handle } = (
      await postToken(url, { grant_type: 'client_credentials', client_id: 'ops', client_secret: 'ops-secret' })
    ).body;
    const paths = ['/-/login/web', '/-/credentials/default/refresh'];
    const callers = await Promise.all(
      paths.flatMap((path) => ['ops-secret', handle].map((token) => beginPost(t, port, path, `Bearer ${token}`))),
    );
    gateway.replace({ ...config, clients });
    for (const [at, caller] of callers.entries())
      t.equal(await statusAfterBody(caller), status, `${paths[at >> 1]} by ${at % 2 ? 'handle' : 'secret'}`);
  });
}

t.test('a login whose form comes after a reload is judged by the configuration in use then', async (t) => {
  const form = 'grant_type=client_credentials';
  const authorization = `Basic ${Buffer.from('ops:ops-secret').toString('base64')}`;
  for (const [what, { clients }] of Object.entries(CHANGES)) {
    const { port, gateway, config } = await startGateway(t, {
      config: (origin) => ({ credentials: allCredentials(origin), clients: [ops, root] }),
    });
    const caller = await beginPost(t, port, '/oauth/token', authorization, form);
    gateway.replace({ ...config, clients });
    const isProved = what !== 'is gone' && what !== 'has another secret';
    t.equal(await statusAfterBody(caller, form), isProved ? 200 : 400, what);
  }
});

t.test('an admin request by a handle that is ended before its body comes: 401', async (t) => {
  const { port, url } = await startGateway(t, {
    config: (origin) => ({ credentials: allCredentials(origin), clients: [ops], server: { adminListen } }),
  });
  const { access_token: handle } = (
    await postToken(url, { grant_type: 'client_credentials', client_id: 'ops', client_secret: 'ops-secret' })
  ).body;
  const authorization = `Bearer ${handle}`;
  const caller = await beginPost(t, port, '/-/login/web', authorization);
  t.equal((await askAt(url, { method: 'DELETE', path: '/api/v2/tokens/me', headers: { authorization } })).status, 200);
  t.equal(await statusAfterBody(caller), 401);
});

/** Resolves when one more timer is set than before. */
async function oneMoreHeld(clock: FakeClock, before: number): Promise<void> {
  while (clock.pending <= before) await clock.settle();
}

for (const path of ['/api/v2/users', '/-/status']) {
  t.test(`who showed a wrong secret and waits is served without one only while anybody is: ${path}`, async (t) => {
    const upstream = await startRawUpstream(t, (socket) => socket.write(ok('{}', ['Content-Type: application/json'])));
    const clock = createFakeClock();
    const server = { adminListen, anonymousCredentials: ['default'] };
    const config = givenTokenConfig(upstream.origin, { clients: [clientNamed('crm'), root], server });
    const { url, gateway } = await startGatewayWith(t, config, clock);
    const guess = (text: string) => askAt(url, { path, headers: { authorization: `Bearer ${text}` } });
    const usual = path === '/-/status' ? 401 : 200;
    for (const text of ['one', 'two', 'three'])
      t.equal((await guess(text)).status, usual, 'the first three cost nothing');
    for (const [text, isEnded] of [
      ['four', false],
      ['five', true],
    ] as const) {
      const before = clock.pending;
      const held = guess(text);
      await oneMoreHeld(clock, before);
      if (isEnded) gateway.replace({ ...config, server: { ...config.server, anonymousCredentials: null } });
      const asked = upstream.requests.length;
      await clock.advance(8_000);
      t.equal((await held).status, isEnded ? 401 : usual, text);
      if (isEnded) t.equal(upstream.requests.length, asked, 'nothing went up');
    }
  });
}
