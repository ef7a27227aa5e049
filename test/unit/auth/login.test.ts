import t from 'tap';
import { codeChallenge } from '../../../src/auth/credentials/grants.ts';
import { createBinding, createLogins } from '../../../src/auth/credentials/login.ts';
import type { CredentialConfig } from '../../../src/config/gateway-config.ts';
import { credentialConfig, credentialsUnderTest, granted, type ScriptedReply, type SentRequest } from './fixtures.ts';

const REDIRECT = 'http://127.0.0.1:8080/-/callback';

function loginUnderTest(
  overrides: Partial<CredentialConfig>,
  script: (ScriptedReply | ((request: SentRequest) => ScriptedReply | Promise<ScriptedReply>))[],
) {
  const subject = credentialsUnderTest([credentialConfig(overrides)], script);
  const credential = subject.registry.get('crm')!;
  const logins = createLogins({ clock: subject.clock, log: subject.log, current: () => credential });
  return { ...subject, logins, credential };
}

t.test('a code login: URL, exchange with the secret, token in use, refresh token stored', async (t) => {
  const { logins, credential, requests, form, store } = loginUnderTest({ grantType: 'authorization_code' }, [
    granted('at-1', { refresh_token: 'rt-1' }),
  ]);
  const binding = createBinding();
  const { url, state } = await logins.begin(credential, { redirectUri: REDIRECT, binding });
  t.equal(new URL(url).searchParams.get('state'), state);
  t.strictSame(await logins.complete({ state, binding, code: 'code-1' }), { credential: 'crm' });
  t.strictSame(form(0), [
    ['grant_type', 'authorization_code'],
    ['code', 'code-1'],
    ['redirect_uri', REDIRECT],
  ]);
  t.ok(requests[0]?.headers.includes('authorization'));
  t.equal(credential.source.current()?.authorization, 'Bearer at-1');
  t.strictSame(await store.list(), ['crm']);
});

t.test(
  'a PKCE login: S256 challenge, verifier in the exchange, no secret; the refresh names the client in the form',
  async (t) => {
    const { logins, credential, requests, form, clock } = loginUnderTest({ grantType: 'pkce', clientSecret: null }, [
      granted('at-1', { refresh_token: 'rt-1', expires_in: 300 }),
      granted('at-2'),
    ]);
    const { url, state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: null });
    await logins.complete({ state, binding: null, code: 'code-1' });
    const sent = new Map(form(0));
    t.equal(new URL(url).searchParams.get('code_challenge'), codeChallenge(sent.get('code_verifier')!));
    t.notOk(requests[0]?.headers.includes('authorization'));
    await clock.advance(290_000);
    t.strictSame(form(1), [
      ['grant_type', 'refresh_token'],
      ['refresh_token', 'rt-1'],
      ['client_id', 'client-1'],
    ]);
    t.equal(credential.source.current()?.authorization, 'Bearer at-2');
  },
);

t.test('an implicit login takes the token from the fragment, and says so when it has ended', async (t) => {
  const { logins, credential, requests, clock } = loginUnderTest({ grantType: 'implicit', clientSecret: null }, [
    granted('never'),
  ]);
  const { state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: null });
  await logins.complete({ state, binding: null, fragment: { access_token: 'at-f', expires_in: '300' } });
  t.equal((await credential.source.token()).authorization, 'Bearer at-f');
  await clock.advance(300_000);
  await t.rejects(credential.source.token(), {
    code: 'gateway.login.required',
    message: /gcg login crm.*\/-\/login\/crm/,
  });
  t.equal(requests.length, 0);
});

t.test('a callback that loads twice redeems the code once, and both get the outcome', async (t) => {
  const { logins, credential, requests, clock } = loginUnderTest({ grantType: 'authorization_code' }, [
    async () => {
      await new Promise<void>((resolve) => clock.after(500, resolve));
      return granted('at-1', { refresh_token: 'rt-1' });
    },
  ]);
  const { state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: null });
  const both = Promise.all([
    logins.complete({ state, binding: null, code: 'c' }),
    logins.complete({ state, binding: null, code: 'c' }),
  ]);
  await clock.advance(500);
  t.strictSame(await both, [{ credential: 'crm' }, { credential: 'crm' }]);
  t.strictSame(await logins.complete({ state, binding: null, code: 'c' }), { credential: 'crm' }, 'also long after');
  t.equal(requests.length, 1);
});

t.test(
  'a failed exchange is remembered for the status, told to every load, and not tried again with the same code',
  async (t) => {
    const { logins, credential, requests } = loginUnderTest({ grantType: 'authorization_code' }, [
      { statusCode: 400, body: { error: 'invalid_grant', description: 'canary' } },
    ]);
    const { state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: null });
    await t.rejects(logins.complete({ state, binding: null, code: 'c' }), { code: 'gateway.credential.rejected' });
    await t.rejects(logins.complete({ state, binding: null, code: 'c' }), { code: 'gateway.credential.rejected' });
    t.equal(requests.length, 1);
    t.match(logins.lastError('crm'), { message: /used up, expired or revoked/ });
  },
);

t.test('an error of the login page is shown cleaned and cut, and kept', async (t) => {
  const { logins, credential } = loginUnderTest({ grantType: 'pkce' }, [granted('never')]);
  const { state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: null });
  const callback = {
    state,
    binding: null,
    error: 'access_denied',
    errorDescription: `no\r\n\u001b[31m ${'x'.repeat(500)}`,
  };
  await t.rejects(logins.complete(callback), { message: /\(access_denied: no \[31m x{10}/ });
  const { message } = logins.lastError('crm')!;
  t.ok(message.length < 300 && !/[\r\n\u001b]/.test(message));
});

t.test('a state is refused when unknown, older than ten minutes, or of another browser', async (t) => {
  const { logins, credential, requests, clock } = loginUnderTest({ grantType: 'pkce' }, [granted('never')]);
  const unknown = { code: 'gateway.request.invalid' };
  await t.rejects(logins.complete({ state: 'made-up', binding: null, code: 'c' }), unknown);
  const { state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: 'browser-1' });
  await t.rejects(logins.complete({ state, binding: 'browser-2', code: 'c' }), unknown);
  await t.rejects(logins.complete({ state, binding: null, code: 'c' }), unknown);
  await clock.advance(600_000);
  await t.rejects(logins.complete({ state, binding: 'browser-1', code: 'c' }), unknown);
  t.equal(requests.length, 0);
});

t.test('several callers share one login; another browser gets its own', async (t) => {
  const { logins, credential } = loginUnderTest({ grantType: 'pkce' }, [granted('never')]);
  const first = await logins.begin(credential, { redirectUri: REDIRECT, binding: 'browser-1' });
  t.equal((await logins.begin(credential, { redirectUri: REDIRECT, binding: 'browser-1' })).state, first.state);
  t.not((await logins.begin(credential, { redirectUri: REDIRECT, binding: 'browser-2' })).state, first.state);
});

t.test('the number of logins is bounded: the oldest gives way', async (t) => {
  const { logins, credential } = loginUnderTest({ grantType: 'pkce' }, [granted('at')]);
  const first = await logins.begin(credential, { redirectUri: REDIRECT, binding: 'b' });
  const states: string[] = [];
  for (let begun = 0; begun < 100; begun += 1)
    states.push((await logins.begin(credential, { redirectUri: REDIRECT, binding: createBinding() })).state);
  t.equal(new Set(states).size, 100);
  await t.rejects(logins.complete({ state: first.state, binding: 'b', code: 'c' }), {
    code: 'gateway.request.invalid',
  });
});

t.test('a begun login gives away neither verifier nor binding', async (t) => {
  const { logins, credential } = loginUnderTest({ grantType: 'pkce' }, [granted('at')]);
  const begun = await logins.begin(credential, { redirectUri: REDIRECT, binding: 'canary-binding' });
  t.strictSame(Object.keys(begun).sort(), ['expiresAt', 'state', 'url']);
});

t.test('a grant without a login says so', async (t) => {
  const { logins, credential } = loginUnderTest({ grantType: 'client_credentials' }, [granted('at')]);
  await t.rejects(logins.begin(credential, { redirectUri: REDIRECT, binding: null }), {
    code: 'gateway.request.invalid',
    message: /has no login and needs none/,
  });
});

t.test('logout drops the token and the stored login, and says how to get back', async (t) => {
  const { logins, credential, store, clock } = loginUnderTest({ grantType: 'pkce' }, [
    granted('at-1', { refresh_token: 'rt-1' }),
  ]);
  const { state } = await logins.begin(credential, { redirectUri: REDIRECT, binding: null });
  await logins.complete({ state, binding: null, code: 'c' });
  await credential.logout();
  t.equal(credential.source.current(), null);
  t.strictSame(await store.list(), []);
  await clock.advance(3_600_000);
  await t.rejects(credential.source.token(), { code: 'gateway.login.required', message: /logged out.*gcg login crm/ });
});
