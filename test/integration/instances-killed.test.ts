// Two `serve` processes behind a round-robin front, on one Redis: an application of the unmodified JavaScript SDK logs
// in at one, calls through both, and notices nothing when one of them is killed.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import platformClient from 'purecloud-platform-client-v2';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { followLogin } from '../helpers/clients.ts';
import { gatewaySection } from '../helpers/commands.ts';
import { startRedis, withoutRedis } from '../helpers/redis-process.ts';
import { startServe } from '../helpers/serve-process.ts';

// The SDK leaves out a few of its own methods in its typings.
// biome-ignore lint/suspicious/noExplicitAny: see above.
type Sdk = any;
const PERSON = 'ada.lindqvist@simulated-org.example';
const REDIRECT = 'http://localhost:7777/callback';

/** A front that gives each connection to the next of `ports`, and knows nothing of their health. */
async function startFront(t: Test, ports: readonly number[]) {
  const counts = ports.map(() => 0);
  const sockets = new Set<Socket>();
  let next = 0;
  const server = createServer((near) => {
    const at = next++ % ports.length;
    const far = connect(ports[at] as number, '127.0.0.1');
    far.once('connect', () => {
      counts[at] = (counts[at] ?? 0) + 1;
    });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, counts };
}

t.test(
  'one of two is killed in mid-run: no call fails of a caller that repeats a refused connection',
  { skip: withoutRedis },
  async (t) => {
    const redis = await startRedis(t);
    const sandbox = createSandbox({ switches: { rotation: 'strict', login: { approve: PERSON } } });
    const { origin } = await sandbox.listen({ port: 0 });
    t.teardown(() => sandbox.close());
    const { code, clientCredentials } = DEMO_CLIENTS;
    const config = join(t.testdir(), 'gcg.ini');
    writeFileSync(
      config,
      `${gatewaySection(origin)}[server]
listen = 127.0.0.1:0
[store]
type = redis
url = ${redis.url}
encryption_key = ${'a'.repeat(64)}
[credential]
client_id = ${clientCredentials.id}
client_secret = ${clientCredentials.secret}
[credential.web]
grant_type = authorization_code
client_id = ${code.id}
client_secret = ${code.secret}
required = false
[client.portal]
secret = portal-secret
credential = web
`,
      { mode: 0o600 },
    );
    const two = [await startServe(t, config), await startServe(t, config)] as const;
    const front = await startFront(
      t,
      two.map(({ url }) => Number(new URL(url).port)),
    );
    const sdk: Sdk = platformClient.ApiClient.instance;
    sdk.config.live_reload_config = false;
    sdk.clearAuthData();
    sdk.setGateway({ host: '127.0.0.1', protocol: 'http', port: front.port });

    const query = new URLSearchParams({ client_id: 'portal', redirect_uri: REDIRECT, response_type: 'code' });
    const login = await followLogin(`http://127.0.0.1:${front.port}/oauth/authorize?${query}`);
    const auth = await sdk.loginCodeAuthorizationGrant('portal', 'portal-secret', login.code, REDIRECT);
    t.match(auth, { accessToken: /^gcgh_s/, refreshToken: /^gcgr_/ });

    let repeated = 0;
    const failures: unknown[] = [];
    const call = async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          return await new platformClient.UsersApi().getUsersMe();
        } catch (error) {
          // What was answered counts; what got no answer is asked again.
          if ((error as { status?: number }).status !== undefined || tries === 5) return void failures.push(error);
          repeated += 1;
        }
      }
    };
    for (let round = 0; round < 30; round += 1) await Promise.all([call(), call()]);
    t.ok(
      front.counts.every((count) => count > 0),
      `both had calls: ${front.counts}`,
    );
    const running = Array.from({ length: 4 }, async () => {
      for (let made = 0; made < 40; made += 1) await call();
    });
    sandbox.expireTokens();
    await two[0].end('SIGKILL');
    await Promise.all(running);
    t.same(failures, []);
    t.ok(repeated > 0, `${repeated} calls met the one that was killed`);
    const refreshed = await sdk
      .refreshCodeAuthorizationGrant('portal', 'portal-secret', auth.refreshToken)
      .catch((error: Sdk) => error);
    t.match(refreshed, { accessToken: auth.accessToken }, 'its session lives on');
    t.equal(sandbox.stats.refreshReuse, 0);
    t.equal(await two[1].end('SIGTERM'), 0);
  },
);
