// What must not reach the data of the inspector: pages of others by every way that a browser has, upgrades, the way
// through the gateway itself, malformed requests, guesses, caches; and where it must not be served at all.

import { EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { isPageServed } from '../../src/inspector/page-place.ts';
import { Places, type Viewer } from '../../src/server/routes/inspector/viewer.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { startInspected } from '../helpers/inspected.ts';
import { exchangeRaw, parseAnswer, type RawAnswer } from '../helpers/raw-http.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

/** Every route with data of the inspector, or a change of it. */
const ROUTES = [
  ['GET', '/-/calls'],
  ['GET', '/-/calls/1'],
  ['DELETE', '/-/calls'],
  ['GET', '/-/events'],
  ['GET', '/-/insight'],
  ['GET', '/-/capture'],
  ['POST', '/-/capture'],
  ['DELETE', '/-/capture'],
  ['POST', '/-/export'],
  ['POST', '/-/export/which'],
  ['POST', '/-/ui/session'],
  ['DELETE', '/-/ui/session'],
  ['POST', '/-/ui/link'],
] as const;

function start(t: Test, config: ConfigOverrides = {}, more: { clock?: ReturnType<typeof createFakeClock> } = {}) {
  return startGateway(t, { ...more, config: { ...config, server: { adminListen: LOCAL, ...config.server } } });
}

type Answer = RawAnswer & { readonly text: string };

async function ask(port: number, method: string, path: string, lines: readonly string[]): Promise<Answer> {
  const hasHost = lines.some((line) => /^host:/i.test(line));
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...(hasHost ? [] : [`Host: localhost:${port}`]),
    'Content-Length: 0',
    'Connection: close',
    ...lines,
  ];
  const text = await exchangeRaw(port, `${head.join('\r\n')}\r\n\r\n`);
  return { ...parseAnswer(text), text };
}

const headerOf = ({ headers }: RawAnswer, name: string) =>
  headers.find(([one]) => one.toLowerCase() === name.toLowerCase())?.[1];

/** One call that is there to be seen. */
async function withACall(started: TestGateway): Promise<TestGateway> {
  await fetch(`${started.url}/api/v2/organizations/me?marked=yes`).then((answer) => answer.text());
  return started;
}

t.test('no page of another origin, and no name that leads here, gets anything, key or not', async (t) => {
  const APP = 'https://app.example';
  const { port, gateway } = await withACall(await start(t, { server: { corsOrigins: [APP] } }));
  const key = `X-Gateway-Key: ${gateway.pageKey}`;
  const asked = 'X-Gateway-Request: 1';
  const foreign: Record<string, readonly string[]> = {
    'another origin': ['Origin: https://evil.test'],
    'an origin that is listed': [`Origin: ${APP}`],
    'another port of this host': [`Origin: http://localhost:${port + 1}`],
    'an origin without a name': ['Origin: null'],
    'a sandboxed page of ours': ['Origin: null', 'Sec-Fetch-Site: same-origin'],
    'another site, whatever it says': [`Origin: http://localhost:${port}`, 'Sec-Fetch-Site: cross-site'],
    'a neighbour': ['Sec-Fetch-Site: same-site'],
    'a link': ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'],
    'a name that was rebound': [`Host: evil.test:${port}`],
    'a name below localhost of another': [`Host: localhost.evil.test:${port}`],
    'such a name with a dot': [`Host: evil.test.:${port}`],
    'such a name without a port': ['Host: evil.test'],
  };
  for (const [method, path] of ROUTES) {
    for (const [who, lines] of Object.entries(foreign)) {
      const answer = await ask(port, method, path, [asked, key, ...lines]);
      if (answer.status !== 403 || /marked|access-control/i.test(answer.text))
        t.fail(`${method} ${path} from ${who}: ${answer.text.slice(0, 300)}`);
    }
    const bare = await ask(port, method, path, [key]);
    if (bare.status !== 403) t.fail(`${method} ${path} without the header: ${bare.status}`);
    const preflight = await ask(port, 'OPTIONS', path, [
      `Origin: ${APP}`,
      `Access-Control-Request-Method: ${method}`,
      'Access-Control-Request-Headers: x-gateway-request,x-gateway-key',
    ]);
    if (preflight.status !== 403) t.fail(`preflight for ${method} ${path}: ${preflight.status}`);
  }
  for (const host of ['localhost', '127.0.0.1', '[::1]', '0.0.0.0', '[::]', '127.1', '2130706433', '0x7f.1']) {
    // No browser sends the header for a form or an image, whatever the address is called.
    for (const [method, path] of ROUTES)
      t.equal((await ask(port, method, path, [`Host: ${host}:${port}`, key])).status, 403, `${method} ${path} ${host}`);
  }
  t.equal((await ask(port, 'GET', '/-/calls', [asked, key])).status, 200, 'control: with all that it takes');
});

t.test('no proof that a browser keeps is asked for, or taken for more than it is', async (t) => {
  const { port } = await start(t, { clients: [clientNamed('boss', { isAdmin: true }), clientNamed('crm')] });
  const basic = (name: string) => `Authorization: Basic ${Buffer.from(`${name}:${name}-secret`).toString('base64')}`;
  for (const [method, path] of ROUTES) {
    for (const lines of [[], ['X-Gateway-Request: 1'], ['X-Gateway-Request: 1', 'Authorization: Digest x']]) {
      const { status, text } = await ask(port, method, path, lines);
      if (status !== 401 && status !== 403) t.fail(`${method} ${path}: ${status}`);
      t.notMatch(text, /www-authenticate: *basic|set-cookie/i);
    }
    const kept = await ask(port, method, path, [basic('boss')]);
    t.equal(kept.status, 403, `${method} ${path} with what a browser sends along by itself`);
    t.equal((await ask(port, method, path, [basic('crm'), 'X-Gateway-Request: 1'])).status, 403, `${method} ${path}`);
  }
});

t.test('no upgrade leads to the inspector', async (t) => {
  const { port, gateway } = await start(t);
  for (const [, path] of ROUTES) {
    const answer = await ask(port, 'GET', path, [
      'X-Gateway-Request: 1',
      `X-Gateway-Key: ${gateway.pageKey}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ]);
    t.ok([400, 403, 404].includes(answer.status), `${path}: ${answer.status}`);
  }
});

t.test('no call leads through the gateway to itself', async (t) => {
  const started = await withACall(await start(t));
  const { port, gateway } = started;
  const proof = ['X-Gateway-Request: 1', `X-Gateway-Key: ${gateway.pageKey}`];
  for (const target of [
    '/api/v2/../../-/calls',
    '/api/v2/..%2f..%2f-/calls',
    '/api/v2/%2e%2e/-/calls',
    '/api/v2\\..\\-\\calls',
    '//localhost/-/calls',
    '/api/-/calls',
    '/login/-/calls',
    '/default/-/calls',
    '/-/calls/../quit',
    '/-/calls;x=1',
    '/-/./calls',
  ]) {
    const { status, text } = await ask(port, 'GET', target, proof);
    t.ok(status === 400 || status === 404, `${target}: ${status}`);
    t.notMatch(text, /marked/);
  }
});

t.test('data is an object that nobody else may embed, and that nothing keeps', async (t) => {
  const { port, gateway } = await withACall(await start(t));
  const proof = ['X-Gateway-Request: 1', `X-Gateway-Key: ${gateway.pageKey}`];
  for (const [method, path] of ROUTES.filter(([, path]) => path !== '/-/events')) {
    for (const lines of [proof, []]) {
      const answer = await ask(port, method, path, lines);
      t.match(headerOf(answer, 'cache-control'), /no-store/, `${method} ${path}`);
      t.equal(headerOf(answer, 'cross-origin-resource-policy'), 'same-origin', `${method} ${path}`);
      t.equal(headerOf(answer, 'x-content-type-options'), 'nosniff', `${method} ${path}`);
      t.match(answer.text, /\r\n\r\n\{/, `${method} ${path}`);
      t.notMatch(answer.text, /set-cookie/i);
    }
  }
});

t.test('whatever Host, Origin, ids and filters are made of, it is refused and the gateway lives', async (t) => {
  const { port, gateway, log } = await start(t);
  const proof = ['X-Gateway-Request: 1', `X-Gateway-Key: ${gateway.pageKey}`];
  // A line is a line: what ends it would begin another request.
  const octets = fc
    .array(fc.oneof(fc.integer({ min: 0x20, max: 0xff }), fc.constantFrom(0x3a, 0x2f, 0x5b, 0x5d, 0x25)), {
      maxLength: 80,
    })
    .map((codes) => String.fromCharCode(...codes.filter((code) => code !== 0x7f)));
  const escaped = octets.map((text) => encodeURIComponent(text));
  const request = fc.oneof(
    octets.map((host) => ['/-/calls', `Host: ${host}`]),
    octets.map((origin) => ['/-/calls', `Origin: ${origin}`]),
    octets.map((id) => ['/-/events', `Last-Event-ID: x${id}`]),
    octets.map((key) => ['/-/calls', `X-Gateway-Key: x${key}`]),
    escaped.map((text) => [`/-/calls?f=status:${text}`, 'X: y']),
    escaped.map((text) => [`/-/events?since=x${text}`, 'X: y']),
    escaped.map((text) => [`/-/calls?limit=x${text}&before=${text}`, 'X: y']),
    escaped.map((text) => [`/-/calls/x${text}`, 'X: y']),
  );
  await fc.assert(
    fc.asyncProperty(request, async ([path = '', line = '']) => {
      const own = line.startsWith('X-Gateway-Key') ? proof.slice(0, 1) : proof;
      const { status } = await ask(port, 'GET', path, [...own, line]);
      // A filter of odd characters may be one that is fine.
      return [400, 401, 403, 404].includes(status) || (status === 200 && /f=status|Host: localhost/.test(path + line));
    }),
    { numRuns: 150 },
  );
  t.equal((await ask(port, 'GET', '/-/calls', proof)).status, 200);
  t.strictSame(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  );
});

t.test('wrong keys and codes are refused ever more slowly, a right one at once', async (t) => {
  const clock = createFakeClock();
  const { port, gateway } = await start(t, {}, { clock });
  const asked = 'X-Gateway-Request: 1';
  const wrong = () => ask(port, 'GET', '/-/calls', [asked, 'X-Gateway-Key: gcgp_AAAAAAAAAAAAAAAAAAAAAA']);
  for (let at = 0; at < 3; at++) t.equal((await wrong()).status, 401, 'three cost nothing');
  let isAnswered = false;
  const fourth = wrong().finally(() => {
    isAnswered = true;
  });
  t.equal((await ask(port, 'GET', '/-/calls', [asked, `X-Gateway-Key: ${gateway.pageKey}`])).status, 200);
  t.notOk(isAnswered, 'it waits');
  await clock.advance(10_000);
  t.equal((await fourth).status, 401);
});

t.test('it is served on the admin listener alone, and not where others reach that', async (t) => {
  for (const [enabled, isLocal, isServed] of [
    [null, true, true],
    [null, false, false],
    [true, false, true],
    [false, true, false],
  ] as const)
    t.equal(isPageServed({ inspector: { enabled, memory: 4, capture: 'none', replay: 'off' } }, isLocal), isServed);
  const socket = join(tmpdir(), `gcg-boundary-${process.pid}.sock`);
  const { port } = await startGateway(t, { config: { server: { adminListen: [{ kind: 'unix', path: socket }] } } });
  for (const [method, path] of ROUTES)
    t.equal((await ask(port, method, path, ['X-Gateway-Request: 1'])).status, 404, `data listener: ${method} ${path}`);
  const off = await start(t, { inspector: { enabled: false } });
  for (const [method, path] of ROUTES) {
    const { status } = await ask(off.port, method, path, [
      'X-Gateway-Request: 1',
      `X-Gateway-Key: ${off.gateway.pageKey}`,
    ]);
    t.equal(status, 404, `switched off: ${method} ${path}`);
  }
});

t.test('a request whose head never ends, and streams that nobody reads, keep nobody from calling', async (t) => {
  const { url, port, gateway } = await start(t);
  const sockets = Array.from({ length: 20 }, (_, at) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    const head = `GET /-/events HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Request: 1\r\nX-Gateway-Key: ${gateway.pageKey}\r\n`;
    socket.write(at < 10 ? head : `${head}\r\n`);
    socket.pause();
    return socket;
  });
  t.teardown(() => sockets.map((socket) => socket.destroy()));
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const answer = await fetch(`${url}/api/v2/organizations/me`);
      await answer.text();
      return answer.status;
    }),
  );
  t.strictSame(new Set(statuses), new Set([200]));
});

t.test('who asks for much and reads nothing is refused more, and alone', async (t) => {
  const clients = [clientNamed('boss', { isAdmin: true }), clientNamed('crm', { inspect: 'own' })];
  const { url, add } = await startInspected(t, { clients });
  add(...Array.from({ length: 7_000 }, () => ({ client: 'crm' })));
  const as = (name: string) => ({ 'X-Gateway-Request': '1', 'X-Gateway-Key': `${name}-secret` });
  const make = (name: string) => fetch(`${url}/-/export`, { method: 'POST', headers: as(name), body: '{}' });
  const port = Number(new URL(url).port);
  const fields = ['Host: localhost', ...Object.entries(as('crm')).map((field) => field.join(': '))];
  const unread = [];
  for (let at = 0; at < 3; at++) {
    const socket = connect(port, '127.0.0.1').pause();
    socket.write(['POST /-/export HTTP/1.1', ...fields, 'Content-Length: 2', '', '{}'].join('\r\n'));
    await once(socket, 'readable');
    unread.push(socket);
  }
  const refused = await make('crm');
  t.equal(refused.status, 429);
  t.match(await refused.json(), { code: 'gateway.inspector.busy', message: /3 answers to you are not read yet/ });
  t.equal((await make('boss').then((one) => one.blob().then(() => one))).status, 200, 'others have their own places');
  for (const socket of unread) socket.destroy();
  let status = 429;
  while (status === 429) status = (await make('crm').then((one) => one.blob().then(() => one))).status;
  t.equal(status, 200, 'places are free again');
});

t.test('a place is free again when its answer is over, and is not taken for who has left', async (t) => {
  const places = new Places(2);
  const ask = (client: string | null, disconnected = false) => {
    const response = new EventEmitter();
    places.take({ exchange: { connection: { disconnected }, response }, rights: { client } } as unknown as Viewer);
    return response;
  };
  const first = ask('crm');
  ask('crm');
  t.throws(() => ask('crm'), { code: 'gateway.inspector.busy' });
  ask(null);
  first.emit('close');
  for (let at = 0; at < 3; at++) ask('etl', true);
  const second = ask('crm');
  t.throws(() => ask('crm'), { code: 'gateway.inspector.busy' });
  second.emit('close');
  t.doesNotThrow(() => ask('crm'));
});
