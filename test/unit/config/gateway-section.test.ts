// [gateway]: the SDKs' own keys, which send everything to one host; and what must not be sent there.

import t from 'tap';
import { good, problems, warnings, withCredential } from './load-text.ts';

const hostsOf = (text: string) => good(withCredential(`[gateway]\n${text}\n`)).general.hosts;
const problemsOf = (text: string, more = '') => problems(withCredential(`[gateway]\n${text}\n${more}`));

t.test('logins, calls and sockets go to the gateway host, behind its path parameters', async (t) => {
  t.strictSame(hostsOf('host = gw.example.com\nport = 8443\npath_params_login = /gwlogin/\npath_params_api = gwapi'), {
    domain: 'mypurecloud.com',
    api: { origin: 'https://gw.example.com:8443', pathPrefix: '/gwapi' },
    login: { origin: 'https://gw.example.com:8443', pathPrefix: '/gwlogin' },
    streaming: { origin: 'wss://gw.example.com:8443', pathPrefix: '' },
  });
});

t.test('the host may hold a port, a path or a scheme; port 0 and empty path parameters mean none', async (t) => {
  t.match(hostsOf('host = gw.example.com:8443/base/\npath_params_api = /a//b/'), {
    api: { origin: 'https://gw.example.com:8443', pathPrefix: '/base/a/b' },
    login: { pathPrefix: '/base' },
  });
  t.match(hostsOf('host = gw.example.com\nport = 0\npath_params_login =\n'), {
    login: { origin: 'https://gw.example.com', pathPrefix: '' },
  });
  t.match(hostsOf('host = http://localhost:9000'), {
    api: { origin: 'http://localhost:9000' },
    streaming: { origin: 'ws://localhost:9000' },
  });
  t.match(hostsOf('host = [::1]\nport = 9000\nprotocol = http'), { api: { origin: 'http://[::1]:9000' } });
});

t.test('what is no host, or says the port or the protocol twice, is refused', async (t) => {
  for (const text of [
    'host = a b',
    'host = user@gw',
    'host = gw?x',
    'host = gw:1\nport = 2',
    'host = https://gw\nprotocol = http',
    'host = gw\npath_params_api = a/../b',
    'host = gw\nport = 65536',
    'host = gw\nprotocol = ftp',
  ]) {
    t.equal(problemsOf(text).length, 1, text);
  }
});

t.test('plain http to another machine needs the word unsafe', async (t) => {
  t.match(problemsOf('host = gw.example.com\nprotocol = http'), [
    /^gcg\.ini:6: gateway\.protocol: http sends tokens.*unsafe_plain_http/,
  ]);
  t.match(hostsOf('host = gw.example.com\nprotocol = http\nunsafe_plain_http = yes'), {
    api: { origin: 'http://gw.example.com' },
  });
  for (const host of ['localhost', '127.0.0.1', '127.1', '[::1]', '[::ffff:127.0.0.1]', '2130706433', 'app.localhost'])
    t.strictSame(problemsOf(`host = ${host}\nport = 9\nprotocol = http`), [], host);
});

t.test('ourselves, in any spelling, are refused', async (t) => {
  for (const host of [
    'localhost',
    '127.0.0.1',
    '127.0.0.2',
    '127.1',
    '0x7f.1',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    '0.0.0.0',
    '[::]',
    'LOCALHOST',
    '2130706433',
  ]) {
    t.match(
      problemsOf(`host = ${host}\nport = 8080\nprotocol = http`),
      [/^gcg\.ini:5: gateway\.host: .*is this gateway itself/],
      host,
    );
  }
  t.strictSame(problemsOf('host = localhost\nport = 8081\nprotocol = http'), []);
  t.match(problemsOf('host = localhost:80\nprotocol = http', '[server]\nhealth_listen = 0.0.0.0:80'), [
    /is this gateway itself \(server.listen 0\.0\.0\.0:80\)/,
  ]);
  t.match(problemsOf('host = gw.example.com', '[server]\nlisten = gw.example.com:443\nunsafe_allow_anonymous = on'), [
    /is this gateway itself/,
  ]);
});

t.test('keys without a host have no effect, and that is said', async (t) => {
  t.match(warnings(withCredential('[gateway]\nport = 8443')), [
    /^gcg\.ini:5: gateway\.port: has no effect without gateway\.host/,
  ]);
  t.match(warnings(withCredential('[gateway]\nhost =')), [/gateway\.host: has no effect/]);
});
