// Where the explanation of a failed call is told: the address in its answer, and the terminal.

import fc from 'fast-check';
import t, { type Test } from 'tap';
import { explain } from '../../src/cli/commands/explain.ts';
import { tail } from '../../src/cli/commands/tail.ts';
import type { CallAnswer } from '../../src/inspector/wire.ts';
import { askAt } from '../helpers/ask.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { givenTokenConfig } from '../helpers/direct.ts';
import { type ConfigOverrides, startGateway, startGatewayWith } from '../helpers/gateway.ts';
import { startHostileUpstream } from '../helpers/hostile-upstream.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const HEADER = 'x-gateway-explain-url';
const ID = '[0-9a-f-]{36}';

function start(t: Test, server: ConfigOverrides['server'] = {}, more: ConfigOverrides = {}) {
  return startGateway(t, { config: { ...more, server: { adminListen: LOCAL, ...server } } });
}

/** The address in an answer; null where there is none. */
async function addressIn(url: string, init?: RequestInit): Promise<string | null> {
  const answer = await fetch(url, init);
  await answer.arrayBuffer();
  return answer.headers.get(HEADER);
}

t.test('an answer of 400 and above says where the page about the call is, whoever gave it', async (t) => {
  const { url, gateway } = await start(t);
  const failed: readonly (readonly [string, RequestInit?])[] = [
    ['/api/v2/users/00000000-0000-0000-0000-000000000000'],
    ['/nowhere'],
    ['/api/v2/users', { method: 'POST', body: 'no json', headers: { origin: 'https://evil.example' } }],
    ['/oauth/token', { method: 'POST' }],
    ['/-/nowhere', { headers: { accept: 'text/html' } }],
  ];
  for (const [path, init] of failed) {
    const address = await addressIn(url + path, init);
    t.match(address, new RegExp(`^${url}/-/ui/#/calls/${ID}$`), path);
    const id = address?.split('/').at(-1);
    const headers = { 'x-gateway-request': '1', 'x-gateway-key': gateway.pageKey };
    const told = (await (await fetch(`${url}/-/calls/${id}`, { headers })).json()) as CallAnswer;
    t.equal(told.call?.requestId, id, path);
    t.ok(told.why?.todo.length, path);
  }
  const fine = ['/api/v2/users', '/livez', '/', '/-/status'];
  for (const path of fine) t.equal(await addressIn(url + path), null, path);
  const looking = { headers: { 'x-gateway-request': '1' } };
  for (const path of ['/-/calls', '/-/calls/1', '/-/calls?f=x:y'])
    t.equal(await addressIn(url + path, looking), null, `${path} is no call`);
});

t.test('there is no such address where no page is served, and it never comes from upstream', async (t) => {
  const nowhere = '/api/v2/users/00000000-0000-0000-0000-000000000000';
  const apart = await startGateway(t, { config: { server: { adminListen: [] } } });
  t.equal(await addressIn(apart.url + nowhere), null, 'a listener for data alone');
  const off = await start(t, {}, { inspector: { enabled: false } });
  t.equal(await addressIn(off.url + nowhere), null, 'an inspector that is off');
  const liar = await startHostileUpstream(t, {
    onRequest: (socket) =>
      void socket.end(
        'HTTP/1.1 500 No\r\nX-Gateway-Explain-Url: http://evil.example/\r\nx_gateway_explain_url: http://evil.example/\r\n' +
          'Content-Length: 2\r\n\r\n{}',
      ),
  });
  const server = { adminListen: LOCAL };
  const told = await startGatewayWith(t, givenTokenConfig(liar.origin, { server }));
  t.match(await addressIn(`${told.url}/api/v2/x`), /^http:\/\/127\.0\.0\.1:\d+\/-\/ui\/#/);
  const config = givenTokenConfig(liar.origin, { server, inspector: { enabled: false } });
  const quiet = await startGatewayWith(t, config);
  t.equal(await addressIn(`${quiet.url}/api/v2/x`), null);
});

t.test('the address is one that its caller can open, and repeats nothing that is no host', async (t) => {
  const { port } = await start(t);
  const hosts: readonly (readonly [host: string, base: string])[] = [
    ['localhost:1234', 'http://localhost:1234'],
    ['[::1]:80', 'http://[::1]:80'],
    ['evil.example', `http://127.0.0.1:${port}`],
    ['a"><script>', `http://127.0.0.1:${port}`],
    ['localhost/x', `http://127.0.0.1:${port}`],
    ['user@localhost', `http://127.0.0.1:${port}`],
  ];
  for (const [host, base] of hosts) {
    const answer = parseAnswer(await exchangeRaw(port, `GET /nowhere HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
    t.match(headerOf(answer, HEADER), new RegExp(`^${base.replaceAll(/[.[\]]/g, '\\$&')}/-/ui/#/calls/${ID}$`), host);
  }
  // Of whoever has proved who it is, no Host is refused.
  const known = await start(t, {}, { clients: [clientNamed('etl')] });
  for (const host of ['a"><script>', 'localhost/x', 'user@localhost', 'x y']) {
    const head = `GET /nowhere HTTP/1.1\r\nHost: ${host}\r\nX-Gateway-Key: etl-secret\r\n\r\n`;
    const answer = parseAnswer(await exchangeRaw(known.port, head));
    t.equal(answer.status, 404);
    t.equal(headerOf(answer, HEADER)?.split('/-/')[0], `http://127.0.0.1:${known.port}`, host);
  }
  const shown = await start(t, { publicUrl: 'https://gw.example.com/gcg/' });
  t.match(await addressIn(`${shown.url}/nowhere`), /^https:\/\/gw\.example\.com\/gcg\/-\/ui\/#\/calls\//);
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const { certFile, keyFile } = ca.issue(['127.0.0.1']);
  const secure = await start(t, { tls: { certFile, keyFile, clientCaFile: null } });
  t.equal((await askAt(secure.url, { path: '/nowhere' })).status, 404);
  const listed = await start(t, { corsOrigins: ['https://app.example.com'] });
  const page = await fetch(`${listed.url}/nowhere/api/v2/x`, { headers: { origin: 'https://app.example.com' } });
  t.match(page.headers.get('access-control-expose-headers'), /X-Gateway-Explain-Url/, 'a page may read it');
  await page.arrayBuffer();
});

t.test('the terminal tells the same, and to nobody who may not see the call', async (t) => {
  const clients = [clientNamed('boss', { isAdmin: true }), clientNamed('etl', { deny: ['DELETE /api/v2/**'] })];
  const { url, port } = await start(t, {}, { clients });
  const folder = createCommandFolder(t, null);
  const run = (command: typeof tail, argv: readonly string[], secret: string) =>
    folder.run(command, [...argv, '--listen', `127.0.0.1:${port}`], { env: { GCG_ADMIN_KEY: secret } });
  t.match(await run(explain, ['explain', 'last'], 'boss-secret'), { code: 1, err: /no call was made yet/ });
  const headers = { 'x-gateway-key': 'etl-secret' };
  const refused = await fetch(`${url}/api/v2/users/4f`, { method: 'DELETE', headers });
  const id = refused.headers.get('x-gateway-request-id') ?? '';
  await refused.arrayBuffer();
  await fetch(`${url}/api/v2/users`, { headers }).then((answer) => answer.arrayBuffer());
  const last = await run(explain, ['explain', 'last'], 'boss-secret');
  t.match(last, {
    code: 0,
    out: /\nA rule denies this to client etl\n[\s\S]*Failed by a rule of this gateway\. What to do\n/,
  });
  t.equal((await run(explain, ['explain', id], 'boss-secret')).out, last.out);
  t.equal((await run(explain, ['explain', '1'], 'boss-secret')).out, last.out);
  const address = refused.headers.get(HEADER) ?? '';
  t.equal((await run(explain, ['explain', address], 'boss-secret')).out, last.out, 'by the address in the answer');
  t.match(await run(explain, ['explain', 'unknown'], 'boss-secret'), { code: 1, err: /no such call/ });
  for (const word of ['../status', '', 'x'.repeat(65), 'a%2fb'])
    t.match(await run(explain, ['explain', word], 'boss-secret'), { code: 2, err: /no id of a call/ });
  const lines = await run(tail, ['tail', '--no-follow', 'who:rule'], 'boss-secret');
  t.strictSame(JSON.parse(lines.out).requestId, id);
  for (const command of [tail, explain]) {
    const argv = command === tail ? ['tail'] : ['explain', id];
    t.match(await run(command, argv, 'etl-secret'), { code: 77, out: '', err: /needs a client with admin = true/ });
    t.match(await run(command, argv, 'a wrong secret'), { code: 77, out: '', err: /GCG_ADMIN_KEY/ });
  }
});

t.test('who may see only calls of its own reads nothing of others: no name and no number', async (t) => {
  const clients = [clientNamed('etl'), clientNamed('web', { inspect: 'own' })];
  const rateLimit = { requestsPerMinute: 10 } as const;
  const { url } = await start(t, {}, { clients, rateLimit, timeouts: { totalWaitMs: 200 } });
  const call = (name: string) => fetch(`${url}/api/v2/users`, { headers: { 'x-gateway-key': `${name}-secret` } });
  let refused = await call('web');
  for (let sent = 0; sent < 9; sent++) await (await call('etl')).arrayBuffer();
  while (refused.status !== 429) {
    await refused.arrayBuffer();
    refused = await call('web');
  }
  const id = refused.headers.get('x-gateway-request-id');
  const headers = { 'x-gateway-request': '1', 'x-gateway-key': 'web-secret' };
  const { why } = (await (await fetch(`${url}/-/calls/${id}`, { headers })).json()) as CallAnswer;
  t.match(
    why?.text,
    /10 calls a minute are allowed\. In the minute before, \d calls? of this client went through\. Other/,
  );
  t.notMatch(why?.text, /more wait|etl/);
  t.notMatch(JSON.stringify(why), /etl/);
});

t.test('no filter, id, place in the feed or number makes the gateway fail', async (t) => {
  const { url, gateway, log } = await start(t);
  const odd = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
    fc.constantFrom(
      '(((',
      'since:',
      '-',
      '"',
      'status:>',
      'path:/**/**',
      'a'.repeat(3_000),
      '__proto__:x',
      '*'.repeat(900),
    ),
  );
  const header = odd.map((text) => text.replaceAll(/[^\x20-\x7e]/g, '?').trim());
  const asked = { 'x-gateway-request': '1', 'x-gateway-key': gateway.pageKey };
  await fc.assert(
    fc.asyncProperty(odd, odd, header, async (one, other, id) => {
      const [a, b] = [one, other].map((text) => encodeURIComponent(text));
      const paths = [
        `/-/calls?f=${a}&limit=${b}`,
        `/-/calls?before=${a}&f=${b}`,
        `/-/calls/${a}`,
        `/-/events?f=${a}&since=${b}`,
      ];
      for (const path of paths) {
        const headers = { ...asked, 'last-event-id': id };
        const answer = await fetch(url + path, { headers });
        await answer.body?.cancel();
        if (![200, 400, 403, 404, 405, 414, 429].includes(answer.status)) throw new Error(`${path}: ${answer.status}`);
      }
      return true;
    }),
    { numRuns: 25 },
  );
  t.equal((await fetch(`${url}/-/calls`, { headers: asked })).status, 200, 'it goes on');
  t.strictSame(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  );
});
