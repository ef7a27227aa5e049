import fc from 'fast-check';
import t from 'tap';
import { authorizeUrl } from '../../../src/auth/credentials/authorize-url.ts';
import {
  acceptFragmentToken,
  authorizationCodeForm,
  clientCredentialsForm,
  codeChallenge,
  createCodeVerifier,
  encodeAssertion,
  pkceForm,
  refreshTokenForm,
  saml2BearerForm,
} from '../../../src/auth/credentials/grants.ts';
import { runAssertionCommand } from '../../../src/auth/credentials/saml-assertion.ts';
import { basicHeader } from '../../../src/auth/credentials/token-endpoint.ts';
import { systemClock } from '../../../src/clock.ts';
import { Secret } from '../../../src/secret.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { credentialConfig } from './fixtures.ts';

t.test('each grant sends its fields in the order of the SDKs', async (t) => {
  const names = (form: readonly (readonly [string, string])[]) => form.map(([name]) => name).join(' ');
  t.equal(names(clientCredentialsForm(null)), 'grant_type');
  t.equal(names(clientCredentialsForm('a')), 'grant_type scope');
  t.equal(names(saml2BearerForm('org', 'abc', null)), 'grant_type orgName assertion');
  t.equal(names(authorizationCodeForm('c', 'u')), 'grant_type code redirect_uri');
  t.equal(
    names(pkceForm({ code: 'c', verifier: 'v', clientId: 'i', redirectUri: 'u' })),
    'grant_type code code_verifier client_id redirect_uri',
  );
  t.equal(names(refreshTokenForm(new Secret('r'))), 'grant_type refresh_token');
  t.equal(saml2BearerForm('org', 'abc', null)[0]?.[1], 'urn:ietf:params:oauth:grant-type:saml2-bearer');
});

t.test('Basic is the raw pair as UTF-8, never percent-encoded', async (t) => {
  fc.assert(
    fc.property(fc.stringMatching(/^[^:]+$/), fc.string({ minLength: 1, unit: 'grapheme' }), (id, secret) => {
      const value = basicHeader(id, new Secret(secret));
      return (
        Buffer.from(value.slice('Basic '.length), 'base64').toString() === Buffer.from(`${id}:${secret}`).toString()
      );
    }),
  );
  t.pass();
});

t.test('a verifier is 43 to 128 allowed characters, and the challenge is that of RFC 7636', async (t) => {
  t.match(createCodeVerifier(), /^[A-Za-z0-9_-]{128}$/);
  t.not(createCodeVerifier(), createCodeVerifier());
  t.equal(codeChallenge('dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'), 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM');
  for (const wrong of ['', 'a'.repeat(42), 'a'.repeat(129), `${'a'.repeat(43)}+`])
    t.throws(() => codeChallenge(wrong), RangeError);
});

t.test('the authorise URL names its parameters in the order of the SDKs', async (t) => {
  const config = credentialConfig({
    grantType: 'pkce',
    clientId: 'id 1',
    org: 'acme',
    provider: 'okta',
    target: 'trustee',
    loginHint: 'a@b.c:acme',
    prompt: 'login',
    scope: 'users, routing',
  });
  const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
  const url = authorizeUrl(config, { redirectUri: 'http://localhost:8080/-/callback', state: 's+1', verifier });
  t.equal(
    url,
    'https://login.mypurecloud.de/oauth/authorize?client_id=id%201&' +
      'redirect_uri=http%3A%2F%2Flocalhost%3A8080%2F-%2Fcallback' +
      '&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&response_type=code&code_challenge_method=S256' +
      '&state=s%2B1&org=acme&provider=okta&target=trustee&login_hint=a%40b.c%3Aacme&prompt=login&scope=users%20routing',
  );
  const plain = authorizeUrl(credentialConfig({ grantType: 'implicit' }), {
    redirectUri: 'http://x',
    state: 's',
    verifier: null,
  });
  t.match(plain, /client_id=client-1&redirect_uri=http%3A%2F%2Fx&response_type=token&state=s$/);
});

t.test('org without provider, or the other way round, is refused by the name of what is missing', async (t) => {
  const ask = (parts: object) => () =>
    authorizeUrl(credentialConfig({ grantType: 'authorization_code', ...parts }), {
      redirectUri: 'u',
      state: 's',
      verifier: null,
    });
  t.throws(ask({ org: 'acme' }), /has org but no provider/);
  t.throws(ask({ provider: 'okta' }), /has provider but no org/);
});

t.test('an assertion as XML is encoded, and one with line breaks is joined', async (t) => {
  t.equal(encodeAssertion(' <Assertion/>\n'), Buffer.from('<Assertion/>').toString('base64'));
  t.equal(encodeAssertion('YWJj\nZGVm\r\n'), 'YWJjZGVm');
});

t.test('a token from a fragment is validated like any other', async (t) => {
  t.match(acceptFragmentToken({ access_token: 'at', expires_in: '3600' }, 1_000), {
    authorization: 'Bearer at',
    expiresAt: 3_601_000,
  });
  t.throws(() => acceptFragmentToken({ access_token: 'a b' }, 0), { code: 'gateway.request.invalid' });
  t.throws(() => acceptFragmentToken({ access_token: 'at', expires_in: '0' }, 0), { code: 'gateway.request.invalid' });
});

// The test runner adds variables of its own to every child.
t.test('the assertion command gets PATH, HOME and LANG and nothing else, and no shell', async (t) => {
  const environment = { PATH: process.env.PATH, HOME: '/home/x', LANG: 'C', CRM_SECRET: 'canary' };
  const output = await runAssertionCommand(
    [
      process.execPath,
      '-e',
      'console.log(JSON.stringify([Object.keys(process.env).filter((name) => ' +
        '!/TAPJS|NODE_OPTIONS/.test(name)).sort(), process.argv[1]]))',
      '$HOME;ls',
    ],
    systemClock,
    environment,
  );
  t.strictSame(JSON.parse(output.reveal()), [['HOME', 'LANG', 'PATH'], '$HOME;ls']);
});

t.test('an assertion command that fails, prints nothing, too much, or does not exist says so', async (t) => {
  const run = (script: string) => runAssertionCommand([process.execPath, '-e', script], systemClock);
  await t.rejects(run('console.log("canary"); process.exit(3)'), { kind: 'transient', message: /exit code 3/ });
  await t.rejects(run(''), { message: /printed nothing/ });
  await t.rejects(run('process.stdout.write("x".repeat(3e6)); setInterval(() => {}, 1e9)'), {
    message: /more than 1 MiB/,
  });
  await t.rejects(runAssertionCommand(['/nowhere/at-all'], systemClock), { message: /cannot be run \(ENOENT\)/ });
});

t.test('an assertion command that hangs is killed at the deadline, with its children', async (t) => {
  const clock = createFakeClock();
  const script =
    'const c = require("child_process").spawn("sleep", ["600"], { stdio: "inherit" }); setInterval(() => {}, 1e9)';
  const running = runAssertionCommand([process.execPath, '-e', script], clock);
  running.catch(() => undefined);
  await clock.advance(10_000);
  await t.rejects(running, { message: /did not end within 10 s/ });
});
