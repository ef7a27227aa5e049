// The login over HTTP, step by step: where each answer leads, what binds it to a browser, and that it counts once.

import t from 'tap';
import { inlineSecret } from '../../src/secret.ts';
import { change, createCookieJar, personAt, startAdminGateway, statusOf } from '../helpers/admin.ts';
import { credentialAt } from '../helpers/gateway.ts';

const APPROVED = { login: { approve: 'ada.lindqvist@simulated-org.example' } };

t.test('pkce: start, authorise, callback; then calls are served', async (t) => {
  const { url, sandbox } = await startAdminGateway(t, {
    sandbox: { switches: APPROVED },
    credentials: (origin) => [personAt(origin, 'pkce')],
  });
  const jar = createCookieJar();
  const start = await jar.get(`${url}/-/login/crm`);
  t.equal(start.status, 302);
  const authorize = new URL(start.location).searchParams;
  t.equal(authorize.get('redirect_uri'), `${url}/-/callback`, 'the address the browser used');
  t.equal(authorize.get('code_challenge_method'), 'S256');
  t.match(authorize.get('state'), /^[\w-]{43}$/);
  t.match(start.headers.get('set-cookie'), /^gcg_login=[\w-]{43}; Max-Age=600; Path=\/-\/; HttpOnly; SameSite=Lax$/);
  const landed = await jar.get((await jar.get(start.location)).location);
  t.equal(landed.status, 200);
  t.match(await landed.text(), /You are logged in/);
  t.equal((await fetch(`${url}/api/v2/users/me`)).status, 200);
  t.equal(sandbox.stats.tokensIssued, 1);
  const { credentials } = await statusOf(url);
  t.match(credentials[0], { token: 'fresh', login: { completedAt: /^20/, lastError: null } });
});

t.test('the callback loaded twice, also at the same time, redeems the code once and says the same', async (t) => {
  const { url, sandbox } = await startAdminGateway(t, {
    sandbox: { switches: APPROVED },
    credentials: (origin) => [personAt(origin, 'authorization_code')],
  });
  const jar = createCookieJar();
  const { location } = await jar.get((await jar.get(`${url}/-/login/crm`)).location);
  const loads = await Promise.all([jar.get(location), jar.get(location)]);
  loads.push(await jar.get(location));
  for (const load of loads) t.match(await load.text(), /You are logged in/);
  t.equal(sandbox.stats.tokensIssued, 1);
});

t.test('two tabs of one browser share a login; another browser cannot end it', async (t) => {
  const { url, sandbox } = await startAdminGateway(t, {
    sandbox: { switches: APPROVED },
    credentials: (origin) => [personAt(origin, 'pkce')],
  });
  const jar = createCookieJar();
  const [first, second] = [await jar.get(`${url}/-/login/crm`), await jar.get(`${url}/-/login/crm`)];
  t.equal(first.location, second.location);
  const { location } = await jar.get(first.location);
  const foreign = await createCookieJar().get(location);
  t.equal(foreign.status, 400);
  t.match(await foreign.text(), /begun in another browser/);
  t.equal(sandbox.stats.tokensIssued, 0);
  t.equal((await jar.get(location)).status, 200);
});

t.test('what the platform refuses is shown escaped, kept in status, and gone after a success', async (t) => {
  const { url, sandbox } = await startAdminGateway(t, {
    sandbox: { switches: { login: { deny: 'no <b>licence</b> & no luck' } } },
    credentials: (origin) => [personAt(origin, 'pkce')],
  });
  const jar = createCookieJar();
  const refused = await jar.get((await jar.get((await jar.get(`${url}/-/login/crm`)).location)).location);
  t.equal(refused.status, 424);
  t.equal(refused.headers.get('x-gateway-error'), 'gateway.login.required');
  t.match(await refused.text(), /access_denied: no &lt;b&gt;licence&lt;\/b&gt; &amp; no luck/);
  t.match((await statusOf(url)).credentials[0], {
    login: { completedAt: null, lastError: { message: /access_denied: no <b>licence/ } },
  });
  const page = await (await fetch(url)).text();
  t.match(page, /Last login<\/dt><dd>failed at .*no &lt;b&gt;licence/);
  sandbox.set(APPROVED);
  t.equal((await jar.get((await jar.get((await jar.get(`${url}/-/login/crm`)).location)).location)).status, 200);
  t.match((await statusOf(url)).credentials[0], { login: { lastError: null } });
});

t.test('implicit: the callback page reads the fragment, and what it posts is the token', async (t) => {
  const { url, sandbox } = await startAdminGateway(t, {
    sandbox: { switches: APPROVED },
    credentials: (origin) => [personAt(origin, 'implicit')],
  });
  const jar = createCookieJar();
  const { location } = await jar.get((await jar.get(`${url}/-/login/crm`)).location);
  const [path = '', fragment = ''] = location.split('#');
  const page = await jar.get(path);
  t.match(page.headers.get('content-security-policy'), /script-src 'sha256-[^']+'; connect-src 'self'/);
  const cookie = jar.cookieFor('127.0.0.1');
  t.equal((await change(`${url}/-/callback`, fragment)).status, 400, 'without the browser’s cookie');
  const posted = await change(`${url}/-/callback`, fragment, { cookie });
  t.same(await posted.json(), { credential: 'crm' });
  t.equal((await fetch(`${url}/api/v2/users/me`)).status, 200);
  t.equal(sandbox.stats.tokensIssued, 1);
});

t.test(
  'a configured redirect_uri goes first, and the browser is led to its host before the cookie is set',
  async (t) => {
    const { url, port } = await startAdminGateway(t, {
      sandbox: { switches: APPROVED },
      credentials: (origin) => [personAt(origin, 'pkce', { redirectUri: 'http://localhost:1/-/callback' })],
    });
    const jar = createCookieJar();
    const hop = await jar.get(`${url}/-/login/crm`);
    t.equal(hop.location, 'http://localhost:1/-/login/crm?here');
    t.notOk(hop.headers.has('set-cookie'));
    const start = await jar.get(`http://127.0.0.1:${port}/-/login/crm?here`);
    t.equal(new URL(start.location).searchParams.get('redirect_uri'), 'http://localhost:1/-/callback');
  },
);

t.test('behind an ingress the redirect URI is public, and the cookie is for https alone', async (t) => {
  const { url } = await startAdminGateway(t, {
    overrides: { server: { publicUrl: 'https://gw.example/gcg/' } },
    credentials: (origin) => [personAt(origin, 'pkce')],
  });
  const start = await createCookieJar().get(`${url}/-/login/crm?here`);
  t.equal(new URL(start.location).searchParams.get('redirect_uri'), 'https://gw.example/gcg/-/callback');
  t.match(start.headers.get('set-cookie'), /; Path=\/gcg\/-\/; HttpOnly; SameSite=Lax; Secure$/);
});

t.test('a redirect_uri that is no page of ours is said to be one', async (t) => {
  const { url } = await startAdminGateway(t, {
    credentials: (origin) => [personAt(origin, 'pkce', { redirectUri: 'https://app.example/cb' })],
  });
  const answer = await createCookieJar().get(`${url}/-/login/crm`);
  t.equal(answer.status, 409);
  t.match(await answer.text(), /gcg login crm --paste/);
});

t.test(
  'a grant without a login is 400 and says what to do instead; a credential that is not there is 404',
  async (t) => {
    const grants = {
      client_credentials: /-\/credentials\/svc\/refresh/,
      access_token: /access_token/,
      saml2_bearer: /-\/credentials\/svc\/assertion/,
    };
    for (const [grantType, advice] of Object.entries(grants) as [keyof typeof grants, RegExp][]) {
      const accessToken = inlineSecret('a-given-token', 'test');
      const { url } = await startAdminGateway(t, {
        credentials: (origin) => [credentialAt(origin, { name: 'svc', grantType, accessToken })],
      });
      for (const answer of [await fetch(`${url}/-/login/svc`), await change(`${url}/-/login/svc`)]) {
        t.equal(answer.status, 400, grantType);
        const { code, message } = (await answer.json()) as { code: string; message: string };
        t.equal(code, 'gateway.request.invalid');
        t.match(message, /has no login and needs none/);
        t.match(message, advice);
      }
      for (const answer of [await fetch(`${url}/-/login/nobody`), await change(`${url}/-/login/nobody`)]) {
        t.equal(answer.status, 404);
        t.equal(answer.headers.get('x-gateway-error'), 'gateway.credential.unknown');
      }
    }
  },
);

t.test(
  'begun by a command: the address is given, the browser ends it, and the state is all that is needed',
  async (t) => {
    const { url } = await startAdminGateway(t, {
      sandbox: { switches: APPROVED },
      credentials: (origin) => [personAt(origin, 'pkce')],
    });
    const begun = (await (await change(`${url}/-/login/crm`)).json()) as { url: string; redirectUri: string };
    t.equal(begun.redirectUri, `${url}/-/callback`);
    const jar = createCookieJar();
    t.equal((await jar.get((await jar.get(begun.url)).location)).status, 200);
    t.equal((await fetch(`${url}/api/v2/users/me`)).status, 200);
  },
);

t.test('begun by a command for another address: this machine, or what is configured, and no other', async (t) => {
  const { url } = await startAdminGateway(t, {
    credentials: (origin) => [personAt(origin, 'pkce', { redirectUri: 'https://app.example/cb' })],
  });
  for (const wanted of ['http://127.0.0.1:49152/cb', 'https://app.example/cb', `${url}/-/callback`]) {
    const begun = await change(`${url}/-/login/crm`, new URLSearchParams({ redirect_uri: wanted }).toString());
    t.match(await begun.json(), { redirectUri: wanted });
  }
  const refused = await change(
    `${url}/-/login/crm`,
    new URLSearchParams({ redirect_uri: 'https://evil.example/cb' }).toString(),
  );
  t.equal(refused.status, 400);
  t.match(await refused.json(), {
    code: 'gateway.request.invalid',
    message: /https:\/\/app\.example\/cb.*-\/callback.*127\.0\.0\.1:PORT/,
  });
});

t.test('an answer with a field twice, or without a state, is refused', async (t) => {
  const { url } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
  t.equal((await fetch(`${url}/-/callback?code=a&code=b&state=s`)).status, 400);
  t.equal((await fetch(`${url}/-/callback?code=a`)).status, 400);
});

t.test('HEAD begins and redeems nothing', async (t) => {
  const { url } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
  t.equal((await fetch(`${url}/-/login/crm`, { method: 'HEAD' })).status, 405);
  t.equal((await fetch(`${url}/-/callback?code=a&state=b`, { method: 'HEAD' })).status, 405);
});
