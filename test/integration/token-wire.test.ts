// Each grant on the wire, octet for octet: what the gateway sends to a token endpoint is what Genesys' JavaScript SDK
// sends for the same values.

import platformClient from 'purecloud-platform-client-v2';
import t from 'tap';
import type { CredentialConfig } from '../../src/config/gateway-config.ts';
import { inlineSecret } from '../../src/secret.ts';
import { configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';
import { startRawUpstream } from '../helpers/raw-http.ts';

const ID = 'c id+%41';
const SECRET = 's:e/cr=t %20é';
const ORG = 'my org & co';
const ASSERTION = 'PHNhbWw+Cg==';
const CODE = 'co/de+1';
const REDIRECT = 'https://app.example/cb?x=1&y=é';
const VERIFIER = `${'a-._~Z9'.repeat(9)}b`;
const REPLY = JSON.stringify({ access_token: 'at', token_type: 'bearer', expires_in: 86_400, refresh_token: 'RT/1+=' });

/** What the two must agree in; agents and lengths of lists they accept are their own. */
function comparable(request: string) {
  const [head = '', body = ''] = request.split('\r\n\r\n');
  const [line, ...headers] = head.split('\r\n');
  const one = (name: string) =>
    headers
      .filter((header) => header.toLowerCase().startsWith(`${name}:`))
      .map((header) => header.replace(/^[^:]*: */, ''));
  return { line, body, authorization: one('authorization'), type: one('content-type'), length: one('content-length') };
}

t.test('client credentials, SAML2 bearer, code, refresh and PKCE', async (t) => {
  const { port, origin, requests } = await startRawUpstream(t, (socket) =>
    socket.write(
      `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${REPLY.length}\r\n\r\n${REPLY}`,
    ),
  );
  // biome-ignore lint/suspicious/noExplicitAny: the SDK leaves out some of its own methods in its typings.
  const sdk: any = platformClient.ApiClient.instance;
  sdk.config.live_reload_config = false;
  sdk.setGateway({ host: '127.0.0.1', protocol: 'http', port });
  await sdk.loginClientCredentialsGrant(ID, SECRET);
  await sdk.loginSaml2BearerGrant(ID, SECRET, ORG, ASSERTION);
  await sdk.loginCodeAuthorizationGrant(ID, SECRET, CODE, REDIRECT);
  await sdk.refreshCodeAuthorizationGrant(ID, SECRET, 'RT/1+=');
  await sdk.authorizePKCEGrant(ID, VERIFIER, CODE, REDIRECT);
  const theirs = requests.splice(0).map(comparable);

  const named = (name: string, overrides: Partial<CredentialConfig>) =>
    credentialAt(origin, {
      name,
      clientId: ID,
      clientSecret: inlineSecret(SECRET, 'test'),
      isDefault: false,
      isRequired: false,
      ...overrides,
    });
  const { gateway } = await startGatewayWith(
    t,
    configAt(origin, {
      credentials: [
        named('app', { isDefault: true }),
        named('bridge', { grantType: 'saml2_bearer', orgName: ORG, assertion: inlineSecret(ASSERTION, 'test') }),
        named('web', { grantType: 'authorization_code' }),
        named('desktop', { grantType: 'pkce', clientSecret: null }),
      ],
    }),
  );
  const credential = (name: string) => gateway.runtime().credentials.get(name)!;
  await Promise.all([credential('app').source.token(), credential('bridge').source.token()]);
  await credential('web').redeem({ kind: 'code', code: CODE, redirectUri: REDIRECT, verifier: null });
  await credential('web').source.refresh();
  await credential('desktop').redeem({ kind: 'code', code: CODE, redirectUri: REDIRECT, verifier: VERIFIER });
  const ours = requests.map(comparable);

  t.equal(theirs.length, 5);
  t.equal(new Set(theirs.map(({ body }) => body)).size, 5, 'five different requests');
  t.strictSame(
    theirs.map(({ authorization }) => authorization.length),
    [1, 1, 1, 1, 0],
  );
  const byBody = (a: { body: string }, b: { body: string }) => (a.body < b.body ? -1 : 1);
  t.strictSame(ours.sort(byBody), theirs.sort(byBody));
});
