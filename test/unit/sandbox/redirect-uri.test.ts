import t from 'tap';
import { addToRedirect, isRegisteredRedirect, toFormActionSource } from '../../../src/sandbox/authorize-request.ts';

const registered = ['http://127.0.0.1/callback', 'http://[::1]/callback', 'https://app.example/cb'];

for (const shown of [
  'http://127.0.0.1/callback',
  'http://127.0.0.1:49152/callback',
  'http://[::1]:1/callback',
  'https://app.example/cb',
]) {
  t.test(`${shown} is registered`, async (t) => t.ok(isRegisteredRedirect(registered, shown)));
}
for (const shown of [
  'http://localhost:49152/callback',
  'http://127.0.0.1:49152/callback/x',
  'http://127.0.0.1:49152/callback?x=1',
  'http://127.0.0.1.evil.example/callback',
  'http://user@127.0.0.1/callback',
  'https://127.0.0.1/callback',
  'https://app.example:8443/cb',
  'https://app.example/cb#x',
  'javascript:alert(1)',
  '',
]) {
  t.test(`${shown || 'nothing'} is not registered`, async (t) => t.notOk(isRegisteredRedirect(registered, shown)));
}

t.test('answers go to the query or the fragment, and keep what was there', async (t) => {
  t.equal(
    addToRedirect('http://127.0.0.1/cb?a=1', 'query', { code: 'x&y', state: undefined }),
    'http://127.0.0.1/cb?a=1&code=x%26y',
  );
  t.equal(
    addToRedirect('http://127.0.0.1/cb', 'fragment', { access_token: 't', state: 's' }),
    'http://127.0.0.1/cb#access_token=t&state=s',
  );
});

t.test('the form may be followed to the redirect URI and nowhere else', async (t) => {
  t.equal(toFormActionSource('http://127.0.0.1:8080/cb'), 'http://127.0.0.1:8080');
  t.equal(toFormActionSource('http://[::1]:8080/cb'), 'http:');
  t.equal(toFormActionSource('myapp:/cb'), 'myapp:');
});
