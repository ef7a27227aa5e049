// [proxy]: one URL or its parts; the password never appears.

import t from 'tap';
import { good, load, problems, warnings, withCredential } from './load-text.ts';

const proxyOf = (text: string) => good(withCredential(`[proxy]\n${text}`)).proxy;
const problemsOf = (text: string) => problems(withCredential(`[proxy]\n${text}`));

t.test('every supported scheme is taken', async (t) => {
  for (const scheme of ['http', 'https', 'socks4', 'socks4a', 'socks5', 'socks5h'])
    t.equal(proxyOf(`url = ${scheme}://proxy.example.com:3128/`).url, `${scheme}://proxy.example.com:3128`);
  for (const url of [
    'pac+http://wpad.example.com/proxy.pac',
    'pac+https://wpad.example.com:8443/p.pac?x=1',
    'pac+file:///etc/proxy.pac',
  ])
    t.equal(proxyOf(`url = ${url}`).url, url);
});

t.test('user name and password are taken out of the URL and decoded', async (t) => {
  const proxy = proxyOf('url = "socks5h://us%20er:p%40ss%23@proxy:1080"');
  t.match(proxy, { url: 'socks5h://proxy:1080', username: 'us er' });
  t.equal(proxy.password?.read().reveal(), 'p@ss#');
});

t.test('host, port and protocol are the same as a URL, and a higher source wins as a whole', async (t) => {
  t.equal(proxyOf('host = proxy.example.com\nport = 3128').url, 'http://proxy.example.com:3128');
  t.equal(proxyOf('host = ::1\nport = 3128\nprotocol = socks5').url, 'socks5://[::1]:3128');
  t.equal(
    good(load({ file: '[proxy]\nurl = http://one:1', env: { GCG_PROXY_HOST: 'two', GCG_PROXY_PORT: '2' } })).proxy.url,
    'http://two:2',
  );
  t.equal(
    good(load({ file: '[proxy]\nhost = two\nport = 2', env: { GCG_PROXY_URL: 'http://one:1' } })).proxy.url,
    'http://one:1',
  );
});

t.test('what is wrong is said without the URL, which may hold a password', async (t) => {
  for (const text of [
    'url = ftp://u:hidden@p',
    'url = u:hidden@p:3128',
    'url = http://u:hidden@',
    'url = http://u:hidden@p/path',
    'url = http://u:hidden%@p',
    'url = http://u:hidden@p:99999',
    'url = socks5://u:hidden@p:0',
    'url = pac+file://host/x',
    'host = u:hidden@p',
  ]) {
    const found = problemsOf(text);
    t.equal(found.length, 1, text);
    t.match(found[0], /^gcg\.ini:5: proxy\.(url|host): /);
    t.notMatch(found.join(), 'hidden');
  }
});

t.test('settings that contradict each other or lack their other half are refused', async (t) => {
  t.match(problemsOf('url = http://a:1\nhost = b'), [/proxy\.host: and proxy\.url/]);
  t.match(problemsOf('url = http://u:p@a:1\nusername = v'), [/proxy\.username: is given in proxy\.url/]);
  t.match(problemsOf('port = 1'), [/needs proxy\.host/]);
  t.match(problemsOf('url = http://a:1\npassword = x'), [/needs proxy\.username/]);
});

t.test(
  'a password beside a script that comes over plain http is warned of, unless it is said for whom it is',
  async (t) => {
    const warningsIn = (lines: string) => warnings(withCredential(`[proxy]\n${lines}`));
    const login = 'username = u\npassword = hidden';
    t.match(warningsIn(`url = pac+http://p/x\n${login}`), [/proxy\.url: comes over plain http.*shown to no proxy/]);
    t.match(warningsIn('url = pac+http://u:hidden@p/x'), [/proxy\.url: comes over plain http/]);
    for (const lines of [
      'url = pac+http://p/x',
      `url = pac+https://p/x\n${login}`,
      `url = pac+file:///x\n${login}`,
      `url = http://p:1\n${login}`,
      `url = pac+http://p/x\ncredential_hosts = .corp.example\n${login}`,
    ]) {
      t.strictSame(
        warningsIn(lines).filter((warning) => warning.includes('plain http')),
        [],
        lines,
      );
    }
    t.match(problemsOf('credential_hosts = 10.0.0.0/99'), [
      /proxy\.credential_hosts: .*10\.0\.0\.0\/99.* can match nothing/,
    ]);
  },
);

t.test("the SDKs' own names for user and password are told what they are here", async (t) => {
  const found = warnings(withCredential('[proxy]\nhost = p\nport = 3128\nauth-username = u\nauth-password = hidden'));
  t.match(found, [
    /proxy\.auth-username: only an SDK knows this key; .* write proxy\.username/,
    /write proxy\.password/,
  ]);
  t.notMatch(found.join(), 'hidden');
});

t.test('no proxy is a choice, and exceptions are a list', async (t) => {
  t.match(proxyOf('off = yes\nno_proxy = .a.example, 10.0.0.0/8'), {
    url: null,
    off: true,
    noProxy: ['.a.example', '10.0.0.0/8'],
  });
});

t.test('an entry of no_proxy that can match nothing is an error, and says which', async (t) => {
  t.match(problemsOf('no_proxy = localhost, 10.0.0.0/99, .example.com, host:70000'), [
    /proxy\.no_proxy: "10\.0\.0\.0\/99" can match nothing/,
    /proxy\.no_proxy: "host:70000" can match nothing/,
  ]);
  t.strictSame(problemsOf('no_proxy = *, ::1, [::1]:8080, fe80::/10, *.example.com, example.com:443'), []);
});
