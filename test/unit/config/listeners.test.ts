// [server]: addresses to listen on, who may reach them, and what is asked of those that others can reach.

import t from 'tap';
import {
  formatListenAddress,
  isBoundAt,
  isLoopbackHost,
  parseListenAddress,
} from '../../../src/config/listen-address.ts';
import { good, problems, warnings, withCredential } from './load-text.ts';

const serverOf = (text: string, more = '') => good(withCredential(`[server]\n${text}\n${more}`)).server;
const problemsOf = (text: string, more = '') => problems(withCredential(`[server]\n${text}\n${more}`));
const CLIENT = '[client.a]\nsecret = a-long-enough-secret\n';

t.test('addresses are host:port, unix:/path or fd:N, and are written back as they were', async (t) => {
  for (const text of [
    '127.0.0.1:8080',
    '[::1]:0',
    'localhost:65535',
    '0.0.0.0:80',
    'unix:/run/gcg.sock',
    'fd:3',
    'fd:3@[::1]:80',
    'fd:4@unix:/x',
  ]) {
    const parsed = parseListenAddress(text);
    t.equal(parsed.ok && formatListenAddress(parsed.value), text);
  }
});

t.test('what is not quite an address is refused with what would be right', async (t) => {
  const cases: [string, RegExp][] = [
    ['8080', /write 127\.0\.0\.1:8080/],
    [':8080', /write 127\.0\.0\.1:8080 .*0\.0\.0\.0:8080/],
    ['*:8080', /0\.0\.0\.0:8080/],
    ['::1:8080', /write \[::1\]:8080|brackets/],
    ['::1', /write \[::1\]:8080/],
    ['http://127.0.0.1:8080', /without http/],
    ['127.0.0.1', /write 127\.0\.0\.1:8080/],
    ['127.0.0.1:99999', /at most 65535/],
    ['127.0.0.1.5:80', /no IPv4 address/],
    ['[1.2.3.4]:80', /not an IPv6/],
    ['unix:gcg.sock', /absolute path/],
    [`unix:/${'s'.repeat(110)}`, /a path of 111 bytes, and a Unix socket here can have 10[37]; write a shorter one/],
    [`unix:/${'é'.repeat(60)}`, /a path of 121 bytes/],
    ['fd:0', /from 3 up/],
    ['fd:3@', /is not an address/],
    ['fd:3@fd:4', /needs the address that the socket is bound to/],
    ['fd:3@127.0.0.1:0', /needs the address that the socket is bound to/],
    ['fd:3@8080', /has no host/],
    ['a b:80', /is not an address/],
  ];
  for (const [text, message] of cases) t.match(parseListenAddress(text), { ok: false, message }, text);
});

t.test('loopback is known in every spelling', async (t) => {
  for (const host of [
    '127.0.0.1',
    '127.255.0.9',
    '::1',
    '[::1]',
    '0:0::1',
    '::ffff:127.0.0.1',
    'localhost',
    'LocalHost.',
    'a.localhost',
    '127.9.9.9',
  ])
    t.equal(isLoopbackHost(host), true, host);
  for (const host of [
    '0.0.0.0',
    '::',
    '10.0.0.1',
    'localhost.example.com',
    'mylocalhost',
    '::2',
    '::ffff:10.0.0.1',
    '128.0.0.1',
  ])
    t.equal(isLoopbackHost(host), false, host);
});

t.test('where nothing is configured, loopback alone is listened on', async (t) => {
  const { listen, adminListen, healthListen } = serverOf('');
  t.match(listen, [{ kind: 'tcp', host: '127.0.0.1', port: 8080 }]);
  t.strictSame(adminListen, listen);
  t.strictSame(healthListen, []);
});

t.test('the admin listener is the data listener while nobody else can reach it, and can be switched off', async (t) => {
  t.match(serverOf('').adminListen, [{ host: '127.0.0.1', port: 8080 }]);
  t.match(serverOf('listen = unix:/x, [::1]:1').adminListen, [{ path: '/x' }, { host: '::1' }]);
  t.strictSame(serverOf('listen = 127.0.0.1:1, 0.0.0.0:2', CLIENT).adminListen, []);
  t.strictSame(serverOf('admin_listen = none').adminListen, []);
  t.strictSame(serverOf('admin_listen =').adminListen, []);
});

t.test('an address that others can reach needs clients, client certificates, or the word unsafe', async (t) => {
  const open = 'listen = 127.0.0.1:8080, 0.0.0.0:8081';
  t.match(problemsOf(open), [/^gcg\.ini:5: server\.listen: 0\.0\.0\.0:8081 can be reached.*unsafe_allow_anonymous/]);
  t.strictSame(problemsOf(open, CLIENT), []);
  const unsafe = withCredential(`[server]\n${open}\nunsafe_allow_anonymous = true`);
  t.ok(unsafe.ok);
  t.match(warnings(unsafe), [/0\.0\.0\.0:8081 can be reached/]);
  t.strictSame(problemsOf('listen = fd:3, unix:/x, localhost:1'), []);
  t.strictSame(problemsOf('health_listen = 0.0.0.0:9000'), []);
});

t.test(
  'anonymous_credentials counts for local listeners only: said beside one that others reach, refused where there ' +
    'is no other',
  async (t) => {
    const asked = (listen: string) => `listen = ${listen}\nanonymous_credentials = default`;
    for (const listen of ['127.0.0.1:1, 0.0.0.0:2', 'unix:/x, 0.0.0.0:2', 'fd:3, 0.0.0.0:2']) {
      const result = withCredential(`[server]\n${asked(listen)}\n${CLIENT}`);
      t.ok(result.ok, listen);
      t.match(
        warnings(result),
        [/^gcg\.ini:6: server\.anonymous_credentials: counts on loopback and Unix listeners only; at 0\.0\.0\.0:2 /],
        listen,
      );
    }
    t.match(problemsOf(asked('0.0.0.0:2'), CLIENT), [/^gcg\.ini:6: server\.anonymous_credentials: would serve nobody/]);
    t.match(problemsOf(asked('0.0.0.0:2')), [/^gcg\.ini:5: server\.listen: .*unsafe_allow_anonymous/]);
    const unsafe = withCredential(`[server]\n${asked('0.0.0.0:2')}\nunsafe_allow_anonymous = true\n${CLIENT}`);
    t.match(warnings(unsafe), [/^gcg\.ini:5: server\.listen: .*everybody there may use your credentials/]);
    t.strictSame(warnings(withCredential(`[server]\n${asked('127.0.0.1:2, [::1]:2, fd:3')}\n${CLIENT}`)), []);
  },
);

t.test('an admin listener that others can reach needs an admin among the clients', async (t) => {
  t.match(problemsOf('admin_listen = 0.0.0.0:9'), [/^gcg\.ini:5: server\.admin_listen: /]);
  t.match(problemsOf('admin_listen = 0.0.0.0:9', CLIENT), [/server\.admin_listen: .*admin = true/]);
  t.match(problemsOf('admin_listen = 0.0.0.0:9\nunsafe_allow_anonymous = on', CLIENT), [/server\.admin_listen/]);
  t.strictSame(problemsOf('admin_listen = 0.0.0.0:9', `${CLIENT}admin = true`), []);
});

t.test('the same address twice, and none at all, are refused', async (t) => {
  t.match(problemsOf('listen = 127.0.0.1:1, 127.0.0.1:1'), [/is there twice/]);
  t.match(problemsOf('listen = ,'), [/server\.listen: is empty/]);
  t.match(problemsOf('health_listen = 127.0.0.1:8080'), [/is a data or admin listener already/]);
  t.strictSame(problemsOf('listen = 127.0.0.1:0, 127.0.0.1:0'), []);
});

t.test('hosts, origins, proxies and the public address must be what they say', async (t) => {
  const config = serverOf(
    'allowed_hosts = GW.example.com, gw:8080\ncors_origins = https://a.example, ' +
      'http://localhost:3000\ntrusted_proxies = 10.0.0.0/8, ::1\npublic_url = https://gw.example.com/base/',
  );
  t.match(config, {
    allowedHosts: ['gw.example.com', 'gw:8080'],
    corsOrigins: ['https://a.example', 'http://localhost:3000'],
    trustedProxies: ['10.0.0.0/8', '::1'],
    publicUrl: 'https://gw.example.com/base',
  });
  for (const text of [
    'allowed_hosts = https://x',
    'allowed_hosts = *.x',
    'cors_origins = *',
    'cors_origins = https://a.example/',
    'cors_origins = https://*.example',
    'trusted_proxies = all',
    'trusted_proxies = 10.0.0.0/33',
    'public_url = gw.example.com',
    'public_url = https://u:p@gw',
    'anonymous_credentials = nobody',
  ]) {
    t.equal(problemsOf(text).length, 1, text);
  }
  t.strictSame(serverOf('anonymous_credentials = *').anonymousCredentials, ['*']);
});

t.test('the address beside a descriptor makes rules stricter, never laxer, and the descriptor is one', async (t) => {
  t.match(problemsOf('listen = fd:3@0.0.0.0:80'), [/can be reached by other machines/]);
  t.strictSame(problemsOf('listen = fd:3@127.0.0.1:80'), []);
  t.match(problemsOf('listen = fd:3, fd:3@127.0.0.1:80'), [/is there twice/]);
  const v4 = (address: string, port: number) => ({ address, port, family: 'IPv4' });
  for (const [written, bound, isSame] of [
    ['127.0.0.1:80', v4('127.0.0.1', 80), true],
    ['127.0.0.1:80', v4('0.0.0.0', 80), true],
    ['localhost:80', v4('127.0.0.1', 80), true],
    ['127.0.0.1:80', v4('127.0.0.1', 81), false],
    ['127.0.0.1:80', v4('127.0.0.2', 80), false],
    ['127.0.0.1:80', 'inherited', false],
    ['unix:/x', 'inherited', true],
    ['unix:/x', v4('127.0.0.1', 80), false],
  ] as const) {
    const parsed = parseListenAddress(written);
    if (parsed.ok && parsed.value.kind !== 'fd') t.equal(isBoundAt(parsed.value, bound), isSame, written);
  }
});
