// squid, tinyproxy and dante as Debian ships them, each with a password, carry everything the gateway sends.

import t from 'tap';
import { request } from 'undici';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, dispatcherOver, hashOf, hashOfBytes, startUpstream } from '../helpers/egress.ts';
import {
  DANTED,
  missingProgram,
  type RealProxy,
  SQUID,
  startDante,
  startSquid,
  startTinyproxy,
  TINYPROXY,
} from '../helpers/proxies.ts';

const HUNDRED_MB = 100 * 1024 * 1024;

const programs: {
  name: string;
  skip: string | null;
  scheme: string;
  start: () => Promise<RealProxy>;
  authCode: string;
}[] = [
  {
    name: 'squid with Basic',
    skip: missingProgram(SQUID),
    scheme: 'http',
    start: startSquid,
    authCode: 'gateway.proxy.auth',
  },
  {
    name: 'tinyproxy with Basic',
    skip: missingProgram(TINYPROXY),
    scheme: 'http',
    start: startTinyproxy,
    authCode: 'gateway.proxy.auth',
  },
  {
    name: 'dante with a SOCKS5 password',
    skip: missingProgram(DANTED, { needsRoot: true }),
    scheme: 'socks5h',
    start: startDante,
    authCode: 'gateway.proxy.auth',
  },
];

const ca = await createTestCa();
t.teardown(() => ca.close());

for (const { name, skip, scheme, start, authCode } of programs) {
  t.test(
    `${name} carries GET, POST, a token call, 100 MB and a socket, verified end to end`,
    { skip: skip ?? false },
    async (t) => {
      const upstream = await startUpstream(t, ca.issue(['localhost']));
      const base = `https://localhost:${upstream.port}`;
      const proxy = await start();
      t.teardown(() => proxy.close());
      const url = `${scheme}://127.0.0.1:${proxy.port}`;
      const { username, password } = proxy;
      const egress = createTestEgress(t, { proxy: { url, username, password }, tls: { caFile: ca.caFile } });
      const dispatcher = dispatcherOver(t, egress, { connections: 4 });

      const get = await request(`${base}/`, { dispatcher });
      t.equal(await get.body.text(), 'hello');

      const post = await request(`${base}/echo`, { dispatcher, method: 'POST', body: 'x'.repeat(300_000) });
      t.equal((await post.body.text()).length, 300_000);

      const token = await request(`${base}/oauth/token`, {
        dispatcher,
        method: 'POST',
        headers: { authorization: 'Basic aWQ6c2VjcmV0', 'content-type': 'application/x-www-form-urlencoded' },
        body: 'grant_type=client_credentials',
      });
      t.match(await token.body.json(), { access_token: 'token-of-the-test' });

      const big = await request(`${base}/bytes/${HUNDRED_MB}`, { dispatcher });
      t.equal(await hashOf(big.body), hashOfBytes(HUNDRED_MB), '100 MB arrive unchanged');

      const socket = await egress.dial({ host: 'localhost', port: upstream.port, secure: true });
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
      const chunks = await socket.toArray();
      t.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 200 OK[\s\S]*hello$/);

      for (const { headers } of upstream.requests)
        t.notOk(headers['proxy-authorization'], 'the upstream sees no proxy credentials');
      await t.rejects(
        request(`${base}/`, {
          dispatcher: dispatcherOver(t, createTestEgress(t, { proxy: { url, username, password } })),
        }),
        { code: 'gateway.upstream.tls' },
        'an authority that is not trusted is refused through the proxy too',
      );
    },
  );

  t.test(`${name} that does not know the password`, { skip: skip ?? false }, async (t) => {
    const proxy = await start();
    t.teardown(() => proxy.close());
    for (const login of [{}, { username: proxy.username, password: 'wr0ng-canary' }]) {
      const egress = createTestEgress(t, { proxy: { url: `${scheme}://127.0.0.1:${proxy.port}`, ...login } });
      const error: Error & { code?: string } = await egress.dial({ host: 'localhost', port: 1, secure: true }).then(
        () => t.fail('dialled'),
        (reason) => reason,
      );
      t.equal(error.code, authCode);
      t.match(
        error.message,
        new RegExp(`${scheme}://127\\.0\\.0\\.1:${proxy.port}.*proxy\\.username and proxy\\.password`),
      );
      t.notMatch(error.message, /canary/);
    }
  });
}
