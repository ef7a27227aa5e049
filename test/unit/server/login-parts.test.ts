// The pure parts of a login over HTTP: where it comes back to, the cookie, what an answer is; and that pages escape
// whatever they are given.

import fc from 'fast-check';
import t from 'tap';
import { renderLoginFailed } from '../../../src/server/pages/login-pages.ts';
import { bindBrowser, hasOutcome, readBinding, readCallback } from '../../../src/server/routes/login.ts';
import { assertRedirectUri, redirectUriFor } from '../../../src/server/routes/redirect-uri.ts';

const arrival = (host: string, more: { isEncrypted?: boolean; isUnixSocket?: boolean } = {}) => ({
  ...{ host, isEncrypted: false, isUnixSocket: false },
  ...more,
});

t.test('the redirect URI: configured, else public, else the loopback address that was used, else none', async (t) => {
  const none = { redirectUri: null };
  t.same(redirectUriFor({ redirectUri: 'https://a.example/cb' }, 'https://gw.example', arrival('localhost')), {
    uri: 'https://a.example/cb',
    isLocalCallback: false,
  });
  t.same(redirectUriFor({ redirectUri: 'http://localhost:8080/-/callback' }, null, arrival('x')), {
    uri: 'http://localhost:8080/-/callback',
    isLocalCallback: true,
  });
  t.equal(redirectUriFor(none, 'https://gw.example/x/', arrival('10.0.0.1')).uri, 'https://gw.example/x/-/callback');
  for (const host of ['localhost:1', '127.0.0.1:8080', '127.9.9.9', '[::1]:8080']) {
    t.equal(redirectUriFor(none, null, arrival(host)).uri, `http://${host}/-/callback`);
  }
  t.equal(
    redirectUriFor(none, null, arrival('localhost:1', { isEncrypted: true })).uri,
    'https://localhost:1/-/callback',
  );
  for (const host of [
    '10.0.0.1',
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '[::2]',
    'localhost@evil.example',
    '',
  ]) {
    t.throws(() => redirectUriFor(none, null, arrival(host)), { code: 'gateway.request.invalid' }, host);
  }
  t.throws(() => redirectUriFor(none, null, arrival('localhost', { isUnixSocket: true })), {
    code: 'gateway.request.invalid',
  });
});

t.test('a redirect URI that is asked for: the configured one, our own page, or a port of this machine', async (t) => {
  const config = { redirectUri: 'https://a.example/cb' };
  const public_ = 'https://gw.example/x/';
  const allowed = ['https://a.example/cb', 'https://gw.example/x/-/callback'];
  const loopback = [
    'http://127.0.0.1:49152/',
    'http://127.0.0.1/cb?x=1',
    'http://[::1]:1/cb',
    'http://localhost:8080/-/callback',
    'http://localhost',
  ];
  for (const uri of [...allowed, ...loopback])
    t.doesNotThrow(() => assertRedirectUri(uri, config, public_, arrival('10.0.0.1')), uri);
  t.doesNotThrow(() =>
    assertRedirectUri('https://localhost:1/-/callback', config, null, arrival('localhost:1', { isEncrypted: true })),
  );
  const foreign = [
    ...[
      '',
      'https://evil.example/cb',
      'https://a.example/cb/',
      'https://a.example/cb?',
      'https://A.example/cb',
      'http://gw.example/x/-/callback',
    ],
    ...[
      'http://localhost.evil.example/',
      'http://127.0.0.1.evil.example/',
      'http://localhost@evil.example/',
      'http://evil.example#localhost',
    ],
    ...[
      'http://localhost\\@evil.example/',
      'http://loc\talhost/',
      ' http://localhost/',
      'http://localhost/#x',
      'https://localhost/',
      'http:localhost',
    ],
    ...[
      'app://localhost/',
      'javascript://localhost/%0aalert(1)',
      'http://10.0.0.1/',
      'http://[::2]/',
      'http://0.0.0.0/',
      'http://a.localhost/',
    ],
  ];
  for (const uri of foreign) {
    const refused = {
      code: 'gateway.request.invalid',
      statusCode: 400,
      message: /https:\/\/a\.example\/cb, or https:\/\/gw\.example\/x\/-\/callback, or/,
    };
    t.throws(() => assertRedirectUri(uri, config, public_, arrival('10.0.0.1')), refused, uri);
  }
});

t.test('a browser keeps its binding; what is no binding of ours is not taken for one', async (t) => {
  const { binding, setCookie } = bindBrowser(undefined, 'http://localhost:8080/-/callback');
  t.match(binding, /^[\w-]{43}$/);
  t.equal(readBinding(`other=1; gcg_login=${binding}; more=2`), binding);
  t.equal(bindBrowser(`gcg_login=${binding}`, 'http://localhost:8080/-/callback').binding, binding);
  t.notMatch(setCookie, /Secure|Domain/);
  for (const cookie of [
    undefined,
    '',
    'gcg_login=',
    'gcg_login=short',
    `xgcg_login=${binding}`,
    `gcg_login=${binding}x`,
    'gcg_login',
  ]) {
    t.equal(readBinding(cookie), null, String(cookie));
  }
});

t.test('an answer has a code or an error; a field twice, or no state, is refused', async (t) => {
  t.ok(hasOutcome('code=a&state=b'));
  t.ok(hasOutcome('error=x'));
  t.notOk(hasOutcome('state=b'));
  t.match(readCallback('access_token=t&expires_in=1&state=s', 'b'), {
    state: 's',
    binding: 'b',
    fragment: { access_token: 't', expires_in: '1' },
  });
  t.throws(() => readCallback('code=a&code=a&state=s', null), { code: 'gateway.request.invalid' });
  t.throws(() => readCallback('code=a', null), { code: 'gateway.request.invalid' });
  t.throws(() => readCallback('code=a&state=', null), { code: 'gateway.request.invalid' });
});

t.test('any text as a reason is text on the page: no tag, no attribute and no entity of its own', async (t) => {
  const frame = renderLoginFailed('', null).text;
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (reason) => {
      const page = renderLoginFailed(reason, null).text;
      const tags = (text: string) => text.match(/<[a-z/!]/gi)?.length;
      return tags(page) === tags(frame) && page.split('"').length === frame.split('"').length;
    }),
  );
  t.match(renderLoginFailed('<i>&"\'', null).text, '&lt;i&gt;&amp;&quot;&#39;');
});
