import t from 'tap';
import { inlineSecret } from '../../../src/config/secret-source.ts';
import { credentialConfig, credentialsUnderTest, granted } from './fixtures.ts';

t.test('a client credentials token is obtained once, with raw Basic and the form the SDKs send', async (t) => {
  const { registry, requests, form } = credentialsUnderTest(
    [credentialConfig({ clientId: 'id+%é', clientSecret: inlineSecret('s:/?+ü', 'test'), scope: 'users,  routing' })],
    [granted('at-1')],
  );
  const token = await registry.default()?.source.token();
  t.equal(token?.authorization, 'Bearer at-1');
  t.equal(requests.length, 1);
  t.equal(requests[0]?.url, 'https://login.mypurecloud.de/oauth/token');
  t.strictSame(form(0), [
    ['grant_type', 'client_credentials'],
    ['scope', 'users routing'],
  ]);
  const at = requests[0]?.headers.indexOf('authorization') ?? -1;
  t.equal(requests[0]?.headers[at + 1], `Basic ${Buffer.from('id+%é:s:/?+ü').toString('base64')}`);
});

t.test('a given access token is used as it is, without any request', async (t) => {
  const { registry, requests } = credentialsUnderTest(
    [credentialConfig({ grantType: 'access_token', accessToken: inlineSecret('given-1', 'test') })],
    [granted('never')],
  );
  registry.start();
  const token = await registry.get('crm')?.source.token();
  t.equal(token?.authorization, 'Bearer given-1');
  t.equal(token?.expiresAt, Number.POSITIVE_INFINITY);
  t.equal(requests.length, 0);
  t.match(registry.states(), { crm: { token: 'fresh', renewal: 'idle', expiresAt: null } });
});

t.test('a name that is not configured is not found, and without a default there is none', async (t) => {
  const { registry } = credentialsUnderTest([credentialConfig({ isDefault: false })], [granted('x')]);
  t.equal(registry.get('other'), undefined);
  t.equal(registry.default(), undefined);
  t.equal(registry.list().length, 1);
});

t.test('registry methods of the prototype chain are not credentials', async (t) => {
  const { registry } = credentialsUnderTest([credentialConfig()], [granted('x')]);
  t.equal(registry.get('__proto__'), undefined);
  t.equal(registry.get('constructor'), undefined);
});
