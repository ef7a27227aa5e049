import { createHash } from 'node:crypto';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { basic, type Running, start } from '../unit/sandbox/harness.ts';

const REDIRECT = 'http://127.0.0.1:49152/callback';
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url');
const ADA = 'a11ce000-0000-4000-8000-000000000001';
const { code: webClient, pkce: pkceClient, implicit: implicitClient } = DEMO_CLIENTS;

const codeQuery = { client_id: webClient.id, redirect_uri: REDIRECT, response_type: 'code', state: 'a b&c' };
const pkceQuery = { ...codeQuery, client_id: pkceClient.id, code_challenge: CHALLENGE, code_challenge_method: 'S256' };

function open({ origin }: Running, query: Record<string, string>, cookie = ''): Promise<Response> {
  return fetch(`${origin}/oauth/authorize?${new URLSearchParams(query)}`, {
    redirect: 'manual',
    headers: { Cookie: cookie },
  });
}

async function submit({ origin }: Running, page: Response, decision: string, user = ADA): Promise<Response> {
  const transaction = /name="transaction" value="([\w-]+)"/.exec(await page.text())?.[1] ?? '';
  return fetch(`${origin}/oauth/authorize`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ transaction, user, decision }),
  });
}

const target = (response: Response) => new URL(response.headers.get('location') ?? '');

/** A code for a login that the switch approves. */
async function codeFor(running: Running, query: Record<string, string>): Promise<string> {
  running.sandbox.set({ login: { approve: ADA } });
  return target(await open(running, query)).searchParams.get('code') ?? '';
}

t.test('the page says that it is a simulation, runs nothing, and cannot be framed', async (t) => {
  const running = await start(t);
  const page = await open(running, codeQuery);
  t.equal(page.status, 200);
  t.match(await page.text(), /This is a simulation.*<label for="user">.*Ada Lindqvist.*Refuse/s);
  const policy = page.headers.get('content-security-policy') ?? '';
  t.match(policy, /default-src 'none'.*form-action 'self' http:\/\/127\.0\.0\.1:49152; frame-ancestors 'none'/);
  t.notMatch(policy, /script-src|unsafe/);
});

t.test('a chosen person comes back as a code with the state, and the code as tokens of that person', async (t) => {
  const running = await start(t);
  const back = await submit(running, await open(running, codeQuery), 'allow');
  t.equal(back.status, 302);
  t.equal(target(back).searchParams.get('state'), 'a b&c');
  const code = target(back).searchParams.get('code') ?? '';
  const given = await running.token(
    { grant_type: 'authorization_code', code, redirect_uri: REDIRECT },
    basic(webClient),
  );
  t.match(given.body, {
    access_token: /^[\w-]{86}$/,
    refresh_token: /^[\w-]{86}$/,
    token_type: 'bearer',
    expires_in: 86_400,
  });
  t.equal((await running.call('/api/v2/users/me', { token: given.body.access_token })).body.id, ADA);
});

t.test('refusing comes back as access_denied with its description and the state', async (t) => {
  const running = await start(t);
  const back = target(await submit(running, await open(running, codeQuery), 'deny'));
  t.same(Object.fromEntries(back.searchParams), {
    error: 'access_denied',
    error_description: 'the user refused',
    state: 'a b&c',
  });
});

t.test('a form is good for one answer', async (t) => {
  const running = await start(t);
  const page = await open(running, codeQuery);
  const copy = page.clone();
  t.equal((await submit(running, page, 'allow')).status, 302);
  t.equal((await submit(running, copy as Response, 'allow')).status, 400);
});

t.test('an unknown client or redirect URI is told on the page and never redirected', async (t) => {
  const running = await start(t);
  for (const wrong of [
    { client_id: 'x<b>' },
    { redirect_uri: 'http://evil.example/' },
    { redirect_uri: 'http://127.0.0.1:1/other' },
  ]) {
    const page = await open(running, { ...codeQuery, ...wrong });
    t.equal(page.status, 400);
    t.equal(page.headers.get('location'), null);
    t.notMatch(await page.text(), '<b>');
  }
});

for (const [name, query, error] of [
  ['an unknown response_type', { ...codeQuery, response_type: 'id_token' }, 'unsupported_response_type'],
  ['a response_type the client may not use', { ...codeQuery, client_id: implicitClient.id }, 'unauthorized_client'],
  ['org without provider', { ...codeQuery, org: 'simulated-org' }, 'invalid_request'],
  ['an unknown org', { ...codeQuery, org: 'x', provider: 'okta' }, 'invalid_request'],
  ['a public client without challenge', { ...codeQuery, client_id: pkceClient.id }, 'invalid_request'],
  ['challenge method plain', { ...pkceQuery, code_challenge_method: 'plain' }, 'invalid_request'],
  ['a challenge of the wrong length', { ...pkceQuery, code_challenge: 'x' }, 'invalid_request'],
] as const) {
  t.test(`${name} comes back as ${error}`, async (t) => {
    const back = target(await open(await start(t), query));
    t.equal(`${back.origin}${back.pathname}`, REDIRECT);
    t.equal(back.searchParams.get('error'), error);
    t.equal(back.searchParams.get('state'), 'a b&c');
  });
}

t.test('login_hint chooses the person, org and target are shown', async (t) => {
  const hint = 'bruno.okafor@simulated-org.example:simulated-org';
  const page = await open(await start(t), {
    ...codeQuery,
    login_hint: hint,
    org: 'simulated-org',
    provider: 'okta',
    target: 'org-2',
  });
  t.match(await page.text(), /identity provider okta.*authorized organization org-2.*selected>Bruno Okafor/s);
});

t.test('who is logged in is not asked again, unless prompt=login', async (t) => {
  const running = await start(t);
  const cookie =
    (await submit(running, await open(running, codeQuery), 'allow')).headers.get('set-cookie')?.split(';')[0] ?? '';
  t.equal((await open(running, codeQuery, cookie)).status, 302);
  t.equal((await open(running, { ...codeQuery, prompt: 'login' }, cookie)).status, 200);
  t.equal((await open(running, codeQuery)).status, 200);
});

t.test(
  'logout ends the session and the tokens of that person with that client, and returns only to registered places',
  async (t) => {
    const running = await start(t);
    const back = await submit(running, await open(running, codeQuery), 'allow');
    const headers = { Cookie: back.headers.get('set-cookie')?.split(';')[0] ?? '' };
    const form = {
      grant_type: 'authorization_code',
      code: target(back).searchParams.get('code') ?? '',
      redirect_uri: REDIRECT,
    };
    const { body } = await running.token(form, basic(webClient));
    const leave = (uri: string) =>
      fetch(`${running.origin}/logout?${new URLSearchParams({ client_id: webClient.id, redirect_uri: uri })}`, {
        redirect: 'manual',
        headers,
      });
    t.equal((await leave(REDIRECT)).headers.get('location'), REDIRECT);
    t.equal((await running.call('/api/v2/users/me', { token: body.access_token })).status, 401);
    t.match(
      (await running.token({ grant_type: 'refresh_token', refresh_token: body.refresh_token }, basic(webClient))).body,
      {
        error: 'invalid_grant',
      },
    );
    t.equal((await open(running, codeQuery, headers.Cookie)).status, 200);
    t.equal((await leave('http://evil.example/')).status, 400);
  },
);

t.test('PKCE needs no secret, takes an empty one, and only the right verifier', async (t) => {
  const running = await start(t);
  const exchange = async (extra: Record<string, string>, authorization: string | null = null) =>
    running.token(
      {
        grant_type: 'authorization_code',
        code: await codeFor(running, pkceQuery),
        redirect_uri: REDIRECT,
        client_id: pkceClient.id,
        ...extra,
      },
      authorization,
    );
  t.match((await exchange({ code_verifier: VERIFIER })).body, { access_token: String, refresh_token: String });
  t.match((await exchange({ code_verifier: VERIFIER }, basic(pkceClient))).body, { access_token: String });
  t.match((await exchange({ code_verifier: `${VERIFIER.slice(0, -1)}x` })).body, { error: 'invalid_grant' });
  t.match((await exchange({})).body, { error: 'invalid_grant' });
  t.match((await exchange({ code_verifier: VERIFIER, redirect_uri: REDIRECT.replace('49152', '49153') })).body, {
    error: 'invalid_grant',
  });
  t.match(running.sandbox.stats.tokenRequests.pkce, { ok: 2, invalid_grant: 2 });
});

t.test(
  'a client with a secret may use PKCE, with or without showing the secret; without PKCE it must show it',
  async (t) => {
    const running = await start(t);
    const query = { ...pkceQuery, client_id: webClient.id };
    const form = (code: string) => ({
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT,
      client_id: webClient.id,
    });
    t.equal(
      (await running.token({ ...form(await codeFor(running, query)), code_verifier: VERIFIER }, null)).status,
      200,
    );
    t.equal(
      (await running.token({ ...form(await codeFor(running, query)), code_verifier: VERIFIER }, basic(webClient)))
        .status,
      200,
    );
    t.match((await running.token(form(await codeFor(running, codeQuery)), null)).body, { error: 'invalid_client' });
  },
);

t.test('a code used twice is refused, and what its first use gave is revoked', async (t) => {
  const running = await start(t);
  const form = { grant_type: 'authorization_code', code: await codeFor(running, codeQuery), redirect_uri: REDIRECT };
  const first = await running.token(form, basic(webClient));
  t.equal((await running.call('/api/v2/users/me', { token: first.body.access_token })).status, 200);
  t.match((await running.token(form, basic(webClient))).body, { error: 'invalid_grant' });
  t.equal((await running.call('/api/v2/users/me', { token: first.body.access_token })).body.code, 'bad.credentials');
});

t.test('implicit login puts the token and the state in the fragment, and errors too', async (t) => {
  const running = await start(t);
  const query = { ...codeQuery, client_id: implicitClient.id, response_type: 'token' };
  running.sandbox.set({ login: { approve: 'ada.lindqvist@simulated-org.example' } });
  const back = target(await open(running, query));
  t.equal(back.search, '');
  const fragment = Object.fromEntries(new URLSearchParams(back.hash.slice(1)));
  t.match(fragment, { access_token: /^[\w-]{86}$/, expires_in: '86400', token_type: 'bearer', state: 'a b&c' });
  t.equal((await running.call('/api/v2/users/me', { token: fragment.access_token ?? '' })).body.id, ADA);
  running.sandbox.set({ login: { deny: 'not today' } });
  t.match(new URLSearchParams(target(await open(running, query)).hash.slice(1)).get('error_description'), 'not today');
});

t.test(
  'a refresh obeys the rotation switch, counts reuse, and ends the access tokens of a stolen family',
  async (t) => {
    const running = await start(t);
    const { sandbox, clock, token, call } = running;
    const login = async () =>
      (
        await token(
          { grant_type: 'authorization_code', code: await codeFor(running, codeQuery), redirect_uri: REDIRECT },
          basic(webClient),
        )
      ).body;
    const refresh = (value: string) => token({ grant_type: 'refresh_token', refresh_token: value }, basic(webClient));

    const plain = await login();
    t.equal((await refresh(plain.refresh_token)).body.refresh_token, plain.refresh_token);
    sandbox.set({ replyRefreshToken: 'when-changed' });
    t.notOk('refresh_token' in (await refresh(plain.refresh_token)).body);

    sandbox.set({ rotation: 'grace', graceMs: 5000 });
    const grace = await login();
    const successor = (await refresh(grace.refresh_token)).body.refresh_token;
    t.not(successor, grace.refresh_token);
    t.equal((await refresh(grace.refresh_token)).body.refresh_token, successor);
    t.match(sandbox.stats, { refreshGraceUses: 1, refreshReuse: 0 });
    clock.advance(5000);
    t.match((await refresh(grace.refresh_token)).body, { error: 'invalid_grant' });

    sandbox.set({ rotation: 'strict' });
    const strict = await login();
    const renewed = (await refresh(strict.refresh_token)).body;
    t.equal((await call('/api/v2/users/me', { token: renewed.access_token })).status, 200);
    t.match(await refresh(strict.refresh_token), { status: 400, body: { error: 'invalid_grant' } });
    t.match((await refresh(renewed.refresh_token)).body, { error: 'invalid_grant' });
    t.equal((await call('/api/v2/users/me', { token: renewed.access_token })).status, 401);
    t.equal(sandbox.stats.refreshReuse, 2);
  },
);

t.test('a rotated answer that is lost on the way can be fetched again within the grace window', async (t) => {
  const running = await start(t, { switches: { rotation: 'grace' } });
  const { body } = await running.token(
    { grant_type: 'authorization_code', code: await codeFor(running, codeQuery), redirect_uri: REDIRECT },
    basic(webClient),
  );
  const refresh = () =>
    running.token({ grant_type: 'refresh_token', refresh_token: body.refresh_token }, basic(webClient));
  running.sandbox.set({ tokenEndpoint: { fault: 'lost', next: 1 } });
  await t.rejects(refresh());
  t.equal((await refresh()).status, 200);
});
