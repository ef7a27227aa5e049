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

t.test(
  'DELETE of the own token, in every spelling, ends only the handle of the application that sent it',
  async (t) => {
    const { url, port, sandbox } = await startGateway(t, {
      config: { clients: [clientNamed('crm'), clientNamed('erp')] },
    });
    const login = async (name: string) =>
      (await postToken(url, { grant_type: 'client_credentials' }, { authorization: basic(name, `${name}-secret`) }))
        .body.access_token;
    const status = async (token: string) =>
      (await fetch(`${url}/api/v2/users`, { headers: { authorization: `Bearer ${token}` } })).status;
    const other = await login('erp');
    const send = async (target: string, token: string, extra = '', method = 'DELETE') =>
      parseAnswer(
        await exchangeRaw(
          port,
          `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Length: ` +
            `0\r\n${extra}\r\n`,
        ),
      );
    for (const target of SPELLINGS) {
      const own = await login('crm');
      t.equal((await send(target, own)).status, 200, target);
      t.equal(await status(own), 401, `${target} ended it`);
      t.equal(await status(other), 200, 'and not the other');
    }
    t.equal((await send('/api/v2/tokens/%c1%ade', other)).status, 400, 'an overlong escape is refused');
    t.equal(sandbox.stats.validTokens, 1, 'the shared token is alive');
    t.equal(sandbox.events.recent.filter(({ method }) => method === 'DELETE').length, 0, 'no DELETE went upstream');
  },
);

t.test(
  'another method that asks to be taken for DELETE, or for anything, is refused there and ends nothing',
  async (t) => {
    const { url, port, sandbox } = await startGateway(t);
    const login = await postToken(url, { grant_type: 'client_credentials' }, { authorization: basic('any', 'thing') });
    const authorization = `Bearer ${login.body.access_token}`;
    const send = async (line: string, extra = '') => {
      const head = [
        `${line} HTTP/1.1`,
        'Host: localhost',
        `Authorization: ${authorization}`,
        'Content-Length: 0',
        ...(extra ? [extra] : []),
        '',
        '',
      ];
      return parseAnswer(await exchangeRaw(port, head.join('\r\n')));
    };
    const headers = ['X-HTTP-Method-Override', 'x-method-override', 'X-Http-Method', 'X_HTTP_METHOD_OVERRIDE'];
    const overrides = headers.flatMap((name) => [
      `${name}: DELETE`,
      `${name}: delete`,
      `${name}: GET, DELETE`,
      `${name}: PATCH`,
    ]);
    const before = sandbox.stats.apiCallsTotal;
    for (const method of ['GET', 'POST', 'PUT', 'PATCH']) {
      for (const override of overrides) {
        const answer = await send(`${method} /api/v2/tokens/me`, override);
        t.equal(answer.status, 400, `${method}, ${override}`);
        t.match(JSON.parse(answer.body), { code: 'gateway.request.invalid', message: /send DELETE itself/ });
      }
      for (const query of ['_method=DELETE', 'x=1&_METHOD=delete', '%5Fmethod=DELETE', 'x=1;_method=DELETE']) {
        t.equal((await send(`${method} /api/v2/tokens/me?${query}`)).status, 400, `${method}, ${query}`);
      }
    }
    for (const target of SPELLINGS) t.equal((await send(`POST ${target}`, overrides[0])).status, 400, target);
    t.equal((await send('POST /api/v2/tokens/%c1%ade', overrides[0])).status, 400, 'nor where nobody can be sure');
    t.equal(sandbox.stats.apiCallsTotal, before, 'nothing went upstream');
    t.equal((await send('POST /api/v2/sandbox/echo', overrides[0])).status, 200, 'elsewhere, without rules, it passes');
    t.equal((await send('GET /api/v2/tokens/me', 'X-Method: DELETE')).status, 200, 'as does what is none');
    t.equal((await send('GET /api/v2/tokens/me?_methods=1')).status, 200);
    t.equal(
      (await send('DELETE /api/v2/tokens/me', overrides[3])).status,
      200,
      'a DELETE is one, whatever it asks for',
    );
    t.equal((await send('GET /api/v2/tokens/me')).status, 401);
  },
);

t.test('a DELETE, or what asks to be taken for one, that asks by a header for that path is refused', async (t) => {
  const { port, sandbox } = await startGateway(t);
  const send = async (line: string, extra: readonly string[]) =>
    parseAnswer(
      await exchangeRaw(
        port,
        [`${line} HTTP/1.1`, 'Host: localhost', 'Content-Length: 0', ...extra, '', ''].join('\r\n'),
      ),
    );
  const before = sandbox.stats.apiCallsTotal;
  const paths = [
    '/api/v2/tokens/me',
    'api/v2/tokens/me',
    '/api/v2//Tokens/%6de/',
    'https://api.mypurecloud.com/api/v2/tokens/me?x',
    '/x, /api/v2/tokens/me',
  ];
  for (const name of ['X-Original-URL', 'x_rewrite_url', 'X-Original-Uri', 'X-Override-Path']) {
    for (const path of [...paths, '/api/v2/tokens/%c1%ade']) {
      for (const [line, ...more] of [
        ['DELETE /api/v2/users/x'],
        ['POST /api/v2/users', 'X-HTTP-Method-Override: DELETE'],
        ['GET /api/v2/users?_method=delete'],
      ]) {
        const answer = await send(line as string, [`${name}: ${path}`, ...more]);
        t.match([answer.status, answer.body], [400, /gateway\.request\.invalid/], `${line} ${name}: ${path}`);
      }
    }
  }
  t.equal(sandbox.stats.apiCallsTotal, before, 'nothing went upstream');
  t.equal((await send('GET /api/v2/users', ['X-Original-URL: /api/v2/tokens/me'])).status, 200, 'a GET ends nothing');
  t.not(
    (await send('DELETE /api/v2/users/x', ['X-Original-URL: /api/v2/users/x'])).status,
    400,
    'nor does another path',
  );
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
  const { url, sandbox } = await startGateway(t, {
    config: { clients: [clientNamed('crm')], server: { anonymousCredentials: ['default'] } },
  });
  for (const headers of [{}, { authorization: 'Bearer crm-secret' }, { authorization: 'Bearer legacy' }] as Record<
    string,
    string
  >[]) {
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
