import fc from 'fast-check';
import t from 'tap';
import { basic, clientNamed, postToken } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, parseAnswer } from '../helpers/raw-http.ts';

/** Ways to write DELETE /api/v2/tokens/me that one server or another takes for it. */
const SPELLINGS = [
  '/api/v2/tokens/me',
  '/api/v2/tokens/me/',
  '/api/v2/tokens//me',
  '/api/v2//tokens/me',
  '/api/v2/tokens/me//',
  '/api/v2/Tokens/ME',
  '/api/v2/tokens/%6De',
  '/api/v2/%74%6f%6B%65ns/me',
  '/api/v2/tokens%2Fme',
  '/api/v2/tokens/%256De',
  '/api/v2/tokens/me;v=1',
  '/api/v2/tokens;a/me',
  '/api/v2/tokens/me?x=1',
  '/api/v2/tokens/me?/api/v2/users',
  '/api/v2/tokens/me%3Fx',
  '/api/v2/tokens/me%23',
  '/api/v2/to\u006Bens/me',
  '/default/api/v2/tokens/me',
  '/api/api/v2/tokens/me',
  '/default/api/api/v2/TOKENS//me/',
];

t.test('DELETE of the own token, in every spelling, ends only the handle of the application that sent it', async (t) => {
  const { url, port, sandbox } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  const login = async (name: string) =>
    (await postToken(url, { grant_type: 'client_credentials' }, { authorization: basic(name, `${name}-secret`) })).body.access_token;
  const status = async (token: string) => (await fetch(`${url}/api/v2/users`, { headers: { authorization: `Bearer ${token}` } })).status;
  const other = await login('erp');
  const send = async (target: string, token: string, extra = '', method = 'DELETE') =>
    parseAnswer(
      await exchangeRaw(
        port,
        `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Length: 0\r\n${extra}\r\n`,
      ),
    );
  for (const target of SPELLINGS) {
    const own = await login('crm');
    t.equal((await send(target, own)).status, 200, target);
    t.equal(await status(own), 401, `${target} ended it`);
    t.equal(await status(other), 200, 'and not the other');
  }
  const own = await login('crm');
  t.equal((await send('/api/v2/tokens/me', own, 'X-HTTP-Method-Override: DELETE\r\n', 'POST')).status, 200);
  t.equal(await status(own), 401, 'a method override is a DELETE too');
  t.equal((await send('/api/v2/tokens/%c1%ade', other)).status, 400, 'an overlong escape is refused');
  t.equal(sandbox.stats.validTokens, 1, 'the shared token is alive');
  t.equal(sandbox.events.recent.filter(({ method }) => method === 'DELETE').length, 0, 'no DELETE went upstream');
});

t.test('other DELETEs go upstream', async (t) => {
  const { url, sandbox } = await startGateway(t);
  for (const path of [
    '/api/v2/users/me',
    '/api/v2/tokens/me2',
    '/api/v2/tokens/me/x',
    '/api/v2/tokens/0b0c',
    '/api/v2/xtokens/me',
    '/api/v2/tokens',
  ]) {
    await (await fetch(url + path, { method: 'DELETE' })).arrayBuffer();
    t.equal(sandbox.events.recent.at(-1)?.target, path);
  }
});

t.test('GET and HEAD of the own token pass', async (t) => {
  const { url } = await startGateway(t);
  t.equal((await fetch(`${url}/api/v2/tokens/me`)).status, 200);
  t.equal((await fetch(`${url}/api/v2/tokens/me`, { method: 'HEAD' })).status, 200);
});

t.test('a secret, and an anonymous caller, have no handle: 200, and they go on', async (t) => {
  const { url, sandbox } = await startGateway(t, { config: { clients: [clientNamed('crm')], server: { anonymousCredentials: ['default'] } } });
  for (const headers of [{}, { authorization: 'Bearer crm-secret' }, { authorization: 'Bearer legacy' }] as Record<string, string>[]) {
    t.equal((await fetch(`${url}/api/v2/tokens/me`, { method: 'DELETE', headers })).status, 200);
    t.equal((await fetch(`${url}/api/v2/users`, { headers })).status, 200);
  }
  t.equal(sandbox.stats.validTokens, 1);
});

t.test('any escaping, doubling of slashes and change of case of the path never gets through', async (t) => {
  const { port, sandbox } = await startGateway(t);
  const letter = fc.constantFrom('plain', 'escaped', 'upper', 'twice');
  const write = (text: string, how: readonly string[]) =>
    [...text]
      .map((char, at) => {
        const hex = char.charCodeAt(0).toString(16);
        switch (how[at % how.length]) {
          case 'escaped':
            return `%${hex}`;
          case 'twice':
            return `%25${hex}`;
          case 'upper':
            return char.toUpperCase();
          default:
            return char;
        }
      })
      .join('');
  await fc.assert(
    fc.asyncProperty(
      fc.array(letter, { minLength: 8, maxLength: 8 }),
      fc.constantFrom('/', '//', '///'),
      fc.constantFrom('', '/', ';a=1', '?q'),
      async (how, slash, end) => {
        const target = `/api/v2${slash}${write('tokens', how)}${slash}${write('me', how.slice(6))}${end}`;
        const answer = parseAnswer(await exchangeRaw(port, `DELETE ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`));
        return answer.status === 200;
      },
    ),
    { numRuns: 60 },
  );
  t.equal(sandbox.stats.validTokens, 1);
  t.equal(sandbox.events.recent.filter(({ method }) => method === 'DELETE').length, 0);
});
