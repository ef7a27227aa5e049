// Which setting decides how a endpoint is reached.

import t from 'tap';
import { inlineSecret } from '../../../../src/secret.ts';
import { createRouting, endpointOf, routeName } from '../../../../src/upstream/egress/proxy-route.ts';

const unset = { url: null, username: null, password: null, credentialHosts: [], noProxy: [], off: false };
const warnings: unknown[] = [];
const log = { error() {}, info() {}, debug() {}, warn: (fields: unknown) => void warnings.push(fields) };

function way(
  url: string,
  proxy: Partial<Parameters<typeof createRouting>[0]['proxy']>,
  env: NodeJS.ProcessEnv,
): string {
  const choice = createRouting({ proxy: { ...unset, ...proxy }, env, log }).choose(endpointOf(new URL(url)));
  return `${choice.kind === 'route' ? routeName(choice.route) : choice.url.href} by ${choice.reason}`;
}

const api = 'https://api.mypurecloud.com/';
const cases: [told: string, url: string, proxy: Parameters<typeof way>[1], env: NodeJS.ProcessEnv, expected: string][] =
  [
    ['nothing set', api, {}, {}, 'direct by no proxy is configured'],
    ['proxy.url', api, { url: 'http://p:3128' }, { HTTPS_PROXY: 'http://e:1' }, 'http://p:3128 by proxy.url'],
    [
      'proxy.url counts for loopback too',
      'http://127.0.0.1/',
      { url: 'http://p:3128' },
      {},
      'http://p:3128 by proxy.url',
    ],
    [
      'proxy.url is not touched by NO_PROXY',
      api,
      { url: 'http://p:3128' },
      { NO_PROXY: '*' },
      'http://p:3128 by proxy.url',
    ],
    ['proxy.no_proxy', api, { url: 'http://p:3128', noProxy: ['mypurecloud.com'] }, {}, 'direct by proxy.no_proxy'],
    [
      'proxy.no_proxy against the environment',
      api,
      { noProxy: ['mypurecloud.com'] },
      { HTTPS_PROXY: 'http://e:1' },
      'direct by proxy.no_proxy',
    ],
    ['proxy.off', api, { off: true, url: 'http://p:1' }, { HTTPS_PROXY: 'http://e:1' }, 'direct by proxy.off'],
    ['HTTPS_PROXY', api, {}, { HTTPS_PROXY: 'http://e:1' }, 'http://e:1 by HTTPS_PROXY'],
    ['lower case wins', api, {}, { HTTPS_PROXY: 'http://e:1', https_proxy: 'http://l:2' }, 'http://l:2 by https_proxy'],
    [
      'an empty variable is not set',
      api,
      {},
      { https_proxy: '', HTTPS_PROXY: ' ', ALL_PROXY: 'socks5h://a' },
      'socks5h://a:1080 by ALL_PROXY',
    ],
    ['HTTP_PROXY is not for https', api, {}, { HTTP_PROXY: 'http://e:1' }, 'direct by no proxy is configured'],
    ['HTTP_PROXY is for http', 'http://x.test/', {}, { HTTP_PROXY: 'http://e:1' }, 'http://e:1 by HTTP_PROXY'],
    [
      'wss is https',
      'wss://streaming.mypurecloud.com/',
      {},
      { HTTPS_PROXY: 'http://e:1' },
      'http://e:1 by HTTPS_PROXY',
    ],
    [
      'ALL_PROXY comes last',
      api,
      {},
      { ALL_PROXY: 'http://a:1', HTTPS_PROXY: 'http://e:1' },
      'http://e:1 by HTTPS_PROXY',
    ],
    ['NO_PROXY', api, {}, { HTTPS_PROXY: 'http://e:1', NO_PROXY: '.mypurecloud.com' }, 'direct by NO_PROXY'],
    [
      'no_proxy',
      api,
      {},
      { HTTPS_PROXY: 'http://e:1', no_proxy: 'x.test,10.0.0.0/8,.mypurecloud.com' },
      'direct by no_proxy',
    ],
    [
      'no_proxy for a range',
      'https://10.1.2.3/',
      {},
      { HTTPS_PROXY: 'http://e:1', no_proxy: '10.0.0.0/8' },
      'direct by no_proxy',
    ],
    [
      'loopback is never the environment’s',
      'https://localhost:9/',
      {},
      { HTTPS_PROXY: 'http://e:1' },
      'direct by a loopback host, for which HTTPS_PROXY does not count',
    ],
    [
      'loopback over IPv6',
      'https://[::1]:9/',
      {},
      { https_proxy: 'http://e:1' },
      'direct by a loopback host, for which https_proxy does not count',
    ],
    [
      'without a scheme it is http',
      api,
      {},
      { HTTPS_PROXY: 'proxy.corp:3128' },
      'http://proxy.corp:3128 by HTTPS_PROXY',
    ],
    ['default ports', api, { url: 'https://p' }, {}, 'https://p:443 by proxy.url'],
    ['a PAC file', api, { url: 'pac+https://p/x.pac' }, {}, 'https://p/x.pac by proxy.url'],
    ['a PAC file on disk', api, { url: 'pac+file:///etc/x.pac' }, {}, 'file:///etc/x.pac by proxy.url'],
    ['credentials do not show', api, {}, { HTTPS_PROXY: 'http://corp:canary@e:1' }, 'http://e:1 by HTTPS_PROXY'],
    ['an IPv6 proxy', api, { url: 'socks5://[fd00::1]:1080' }, {}, 'socks5://[fd00::1]:1080 by proxy.url'],
  ];
for (const [told, url, proxy, env, expected] of cases) {
  t.test(told, async (t) => {
    t.equal(way(url, proxy, env), expected);
  });
}

t.test('a setting that is no proxy is an error that names it and shows no credentials', async (t) => {
  for (const value of [
    'ftp://corp:canary@p:1',
    'http://corp:canary@',
    'http://corp:canary%zz@p:1',
    'http://corp:canary@p:99999',
    'socks5://corp:canary@p:0',
  ]) {
    try {
      way(api, {}, { HTTPS_PROXY: value });
      t.fail(value);
    } catch (error) {
      t.match(error, { code: 'gateway.proxy.refused', message: /^HTTPS_PROXY is not usable: / });
      t.notMatch((error as Error).message, /canary/);
    }
  }
});

t.test('credentials: the configured ones win, those of a URL are decoded', async (t) => {
  const credentials = (proxy: Parameters<typeof way>[1], env: NodeJS.ProcessEnv) => {
    const choice = createRouting({ proxy: { ...unset, ...proxy }, env, log }).choose(endpointOf(new URL(api)));
    return choice.kind === 'route' && choice.route.kind === 'proxy' ? choice.route.credentials() : 'no proxy';
  };
  const env = { HTTPS_PROXY: 'http://us%20er:p%40ss%3Aw%25rd@e:1' };
  t.strictSame(credentials({}, env), { username: 'us er', password: 'p@ss:w%rd' });
  t.strictSame(credentials({ username: 'corp', password: inlineSecret('pw', 'x') }, env), {
    username: 'corp',
    password: 'pw',
  });
  t.strictSame(credentials({ url: 'http://p:1' }, env), null);
});

t.test('unusable NO_PROXY entries are warned about once', async (t) => {
  warnings.length = 0;
  way(api, {}, { NO_PROXY: 'a.test:0, 10.0.0.0/8' });
  t.strictSame(warnings, [{ entries: ['a.test:0'] }]);
});
