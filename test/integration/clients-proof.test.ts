import { hash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { fileSecret } from '../../src/secret.ts';
import { basic, clientNamed, credentialOf } from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const sha256 = (text: string) => hash('sha256', text);
const call = async (url: string, headers: Record<string, string> = {}, path = '/api/v2/users') => {
  const answer = await fetch(url + path, { headers });
  await answer.arrayBuffer();
  return { status: answer.status, code: answer.headers.get('x-gateway-error'), headers: answer.headers };
};

t.test('a client proves itself by Bearer, Basic or X-Gateway-Key, and its record names it', async (t) => {
  const { url, log } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  for (const [way, headers] of [
    ['Bearer', { authorization: 'Bearer crm-secret' }],
    ['bearer, odd case', { authorization: 'bearer  crm-secret' }],
    ['Basic', { authorization: basic('crm', 'crm-secret') }],
    ['key', { 'x-gateway-key': 'crm-secret' }],
    ['key beside a Bearer of its own', { 'x-gateway-key': 'crm-secret', authorization: 'Bearer crm-secret' }],
  ] as const) {
    const before = log.exchanges.length;
    t.equal((await call(url, headers)).status, 200, way);
    await log.nextExchange(() => log.exchanges.length > before);
    t.equal(log.exchanges.at(-1)?.client, 'crm', way);
  }
});

t.test(
  'a wrong secret, a wrong name, an unknown key, a foreign name with a right secret: 401 with WWW-Authenticate',
  async (t) => {
    const { url, log } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
    for (const headers of [
      { authorization: 'Bearer wrong' },
      { authorization: basic('crm', 'wrong') },
      { authorization: basic('erp', 'crm-secret') },
    ] as Record<string, string>[]) {
      const answer = await call(url, headers);
      t.match(answer, { status: 401, code: 'gateway.client.unauthenticated' });
      t.equal(answer.headers.get('www-authenticate'), 'Bearer realm="genesys-cloud-gateway"');
    }
    t.match(await call(url), { status: 401, code: 'gateway.client.unauthenticated' }, 'nothing at all');
    t.match(await call(url, { x_gateway_key: 'crm-secret' }), { status: 401 }, 'a look-alike header');
    t.notMatch(JSON.stringify(log.lines), /crm-secret/);
  },
);

t.test('two hashes during rotation, and a secret file that changes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-clients-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'secret');
  writeFileSync(file, 'first\n');
  const clock = createFakeClock();
  const { url } = await startGateway(t, {
    clock,
    awaitReady: false,
    config: {
      clients: [
        clientNamed('crm', { secret: null, secretSha256: [sha256('old'), sha256('new')] }),
        clientNamed('erp', { secret: fileSecret(file) }),
      ],
    },
  });
  await clock.settle();
  const status = async (secret: string) => (await call(url, { 'x-gateway-key': secret }, '/-/nothing')).status;
  t.equal(await status('old'), 404, 'known, and there is no such page');
  t.equal(await status('new'), 404);
  t.equal(await status(sha256('new')), 401, 'the hash is not the secret');
  t.equal(await status('first'), 404);
  writeFileSync(file, 'second!');
  await clock.advance(1000);
  t.equal(await status('second!'), 404);
  t.equal(await status('first'), 401);
});

t.test('anonymous use ends on every listener once a client is configured; health stays open', async (t) => {
  const { url, gateway } = await startGateway(t, {
    config: { clients: [clientNamed('crm')], server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] } },
  });
  void gateway;
  t.equal((await call(url)).status, 401);
  t.equal((await call(url, {}, '/-/status')).status, 401);
  t.equal((await call(url, {}, '/whatever')).status, 401);
  for (const path of ['/livez', '/healthz', '/readyz']) t.equal((await call(url, {}, path)).status, 200, path);
});

t.test('anonymous_credentials keeps anonymous callers, with those credentials only', async (t) => {
  const { url, log } = await startGateway(t, {
    config: (origin) => ({
      clients: [clientNamed('crm', { credentials: ['other'] })],
      credentials: [credentialAt(origin), credentialOf(origin, 'other', DEMO_CLIENTS.clientCredentials)],
      server: { anonymousCredentials: ['default'] },
    }),
  });
  t.equal((await call(url)).status, 200);
  t.equal((await call(url, { authorization: 'Bearer whatever' })).status, 200, 'any other Bearer is anonymous');
  t.equal((await call(url, { authorization: 'Bearer ' })).status, 200, 'an empty one too');
  t.match(await call(url, { authorization: basic('crm', 'wrong') }), { status: 401 }, 'but a wrong proof is not');
  t.match(await call(url, { 'x-gateway-key': 'wrong' }), { status: 401 });
  t.match(await call(url, {}, '/other/api/v2/users'), { status: 403, code: 'gateway.client.forbidden' });
  t.equal((await call(url, { authorization: 'Bearer crm-secret' })).status, 200);
  t.match(
    await log.nextExchange(({ client }) => client === 'crm'),
    { credential: 'other' },
    'the first listed is its default',
  );
});

t.test(
  'start says that every local user can use an anonymous loopback listener, unless there are clients or it was ' +
    'asked for',
  async (t) => {
    const open = await startGateway(t);
    t.ok(open.log.lines.some(({ level, msg }) => level === 'warn' && msg === 'anonymous callers are served'));
    const closed = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
    t.notOk(closed.log.lines.some(({ msg }) => msg === 'anonymous callers are served'));
    for (const server of [{ anonymousCredentials: ['default'] }, { unsafeAllowAnonymous: true }]) {
      const asked = await startGateway(t, { config: { server } });
      t.notOk(asked.log.lines.some(({ msg }) => msg === 'anonymous callers are served'));
    }
  },
);

t.test('a client is not asked for a Host of ours; an anonymous caller is', async (t) => {
  const { port } = await startGateway(t, {
    config: { clients: [clientNamed('crm')], server: { anonymousCredentials: ['default'] } },
  });
  const status = (headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) =>
      httpRequest(
        { host: '127.0.0.1', port, path: '/api/v2/users', headers: { host: 'gateway.example', ...headers } },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        },
      )
        .on('error', reject)
        .end(),
    );
  t.equal(await status({}), 403);
  t.equal(await status({ authorization: 'Bearer crm-secret' }), 200);
  t.equal(
    await status({
      authorization: 'Bearer crm-secret',
      origin: 'http://gateway.example',
      'sec-fetch-site': 'same-origin',
    }),
    200,
    'its own origin',
  );
  t.equal(
    await status({ authorization: 'Bearer crm-secret', origin: 'https://evil.example' }),
    403,
    'a page stays outside with any proof',
  );
});

t.test('repeated failures of a peer are answered later and later; a right secret never waits', async (t) => {
  const clock = createFakeClock();
  const { url } = await startGateway(t, { clock, awaitReady: false, config: { clients: [clientNamed('crm')] } });
  const wrong = () => call(url, { authorization: 'Bearer wrong' }, '/-/nothing');
  for (let i = 0; i < 3; i++) t.equal((await wrong()).status, 401, 'at once');
  let isAnswered = false;
  const fourth = wrong().then((answer) => {
    isAnswered = true;
    return answer;
  });
  t.equal(
    (await call(url, { authorization: 'Bearer crm-secret' }, '/-/nothing')).status,
    404,
    'the right one passes meanwhile',
  );
  t.equal(isAnswered, false);
  while (clock.pending === 0) await clock.settle();
  await clock.advance(250);
  t.equal((await fourth).status, 401);
});

t.test('behind a trusted proxy each of its callers is slowed alone; behind another all are one', async (t) => {
  for (const trustedProxies of [['127.0.0.1'], ['10.0.0.0/8']]) {
    const clock = createFakeClock();
    const config = { clients: [clientNamed('crm')], server: { trustedProxies } };
    const { url } = await startGateway(t, { clock, awaitReady: false, config });
    let answers = 0;
    const wrong = async (address: string) => {
      const answer = await call(url, { authorization: 'Bearer wrong', 'x-forwarded-for': address }, '/-/nothing');
      answers += 1;
      return answer.status;
    };
    for (let i = 0; i < 3; i++) t.equal(await wrong('198.51.100.7'), 401);
    const fourth = wrong('198.51.100.7');
    while (clock.pending === 0) await clock.settle();
    const another = wrong('198.51.100.8');
    // By the time others have been answered, it would have been.
    for (let i = 0; i < 3; i++) t.equal((await call(url, { 'x-forwarded-for': '127.0.0.1' }, '/livez')).status, 200);
    t.equal(answers, trustedProxies.includes('127.0.0.1') ? 4 : 3);
    t.equal((await call(url, { 'x-forwarded-for': '127.0.0.1' }, '/-/status')).status, 401, 'an address is no proof');
    await clock.advance(60_000);
    t.same(await Promise.all([fourth, another]), [401, 401]);
  }
});

/** Requests that try a secret, each in another place; `n` makes the secret another one. */
const GUESSES: Record<string, (n: number) => string[]> = {
  Bearer: (n) => ['GET /api/v2/users HTTP/1.1', `Authorization: Bearer guess-${n}`],
  'Bearer, at an admin page': (n) => ['GET /-/status HTTP/1.1', `Authorization: Bearer guess-${n}`],
  'Bearer, with a foreign Host': (n) => [
    'GET /api/v2/users HTTP/1.1',
    `Authorization: Bearer guess-${n}`,
    'Host: evil.example',
  ],
  'Bearer, for a socket': (n) => [
    'GET /streaming/channels/streaming-0-abc HTTP/1.1',
    `Authorization: Bearer guess-${n}`,
    ...['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
  ],
  Basic: (n) => ['GET /api/v2/users HTTP/1.1', `Authorization: ${basic('crm', `guess-${n}`)}`],
  'X-Gateway-Key': (n) => ['GET /api/v2/users HTTP/1.1', `X-Gateway-Key: guess-${n}`],
  'the token endpoint': (n) => ['POST /oauth/token HTTP/1.1', `Authorization: ${basic('crm', `guess-${n}`)}`],
  'the token endpoint, with a foreign Host': (n) => [
    'POST /oauth/token HTTP/1.1',
    `Authorization: ${basic('crm', `guess-${n}`)}`,
    'Host: evil.example',
  ],
};

for (const anonymousCredentials of [null, ['default']]) {
  for (const [place, guess] of Object.entries(GUESSES)) {
    const name = `${place}, ${anonymousCredentials === null ? 'clients alone' : 'beside anonymous use'}`;
    t.test(`${name}: of 200 guesses at once few are answered, and a right secret is answered meanwhile`, async (t) => {
      const clock = createFakeClock();
      const config = { clients: [clientNamed('crm')], server: { anonymousCredentials } };
      const { url, port } = await startGateway(t, { clock, awaitReady: false, config });
      await clock.settle();
      const body = 'grant_type=client_credentials';
      const send = (n: number) => {
        const [line = '', ...rest] = guess(n);
        const host = rest.some((header) => header.startsWith('Host:')) ? [] : ['Host: localhost'];
        const form = line.startsWith('POST')
          ? ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`]
          : [];
        const connection = rest.some((header) => header.startsWith('Upgrade'))
          ? 'Connection: Upgrade'
          : 'Connection: close';
        return exchangeRaw(
          port,
          [line, ...host, ...rest, ...form, connection, '', form.length > 0 ? body : ''].join('\r\n'),
        );
      };
      let answers = 0;
      let isOver = 0;
      const guesses = Array.from({ length: 200 }, (_, n) =>
        send(n).then((received) => {
          isOver += 1;
          if (received !== '') answers += 1;
        }),
      );
      // Those that wait for the clock are few; the others are over without it.
      for (let turn = 0; turn < 3_000 && isOver < 190; turn++) await clock.settle();
      t.equal(
        (await call(url, { authorization: 'Bearer crm-secret' }, '/-/nothing')).status,
        404,
        'the right one passes, though no time does',
      );
      let isDone = false;
      const all = Promise.all(guesses).then(() => {
        isDone = true;
      });
      for (let passed = 0; passed < 60_000 && !isDone; passed += 100) await clock.advance(100);
      await all;
      t.ok(answers >= 3 && answers < 30, `${answers} answers`);
    });
  }
}

t.test(
  'an application that shows the same Bearer with every call is served beside clients without being slowed',
  async (t) => {
    const clock = createFakeClock();
    const { url } = await startGateway(t, {
      clock,
      awaitReady: false,
      config: { clients: [clientNamed('crm')], server: { anonymousCredentials: ['default'] } },
    });
    await clock.settle();
    const statuses = await Promise.all(
      Array.from({ length: 100 }, () => call(url, { authorization: 'Bearer none-needed' })),
    );
    t.equal(statuses.filter(({ status }) => status === 200).length, 100);
  },
);

t.test(
  'a caller who leaves while its wrong secret is held leaves nothing behind, and gets no new turn by it',
  async (t) => {
    const clock = createFakeClock();
    const { url, gateway, log } = await startGateway(t, {
      clock,
      awaitReady: false,
      config: { clients: [clientNamed('crm')], server: { anonymousCredentials: ['default'] } },
    });
    await clock.settle();
    for (let n = 0; n < 40; n++) {
      const leave = new AbortController();
      const left = fetch(`${url}/api/v2/users`, {
        headers: { authorization: `Bearer guess-${n}` },
        signal: leave.signal,
      }).then(
        ({ status }) => status,
        () => 0,
      );
      if (n < 3) t.equal(await left, 200);
      for (let turn = 0; turn < 5; turn++) await clock.settle();
      leave.abort();
      await left;
    }
    for (let passed = 0; passed < 20_000; passed += 500) await clock.advance(500);
    t.ok(log.exchanges.filter(({ status }) => status === 200).length <= 3, 'those that were answered');
    await gateway.drain();
    t.equal(log.exchanges.length, 40, 'each has its record');
  },
);

t.test(
  'whoever names no credential and has no default is told of those that it may use, and of no others',
  async (t) => {
    const { url } = await startGateway(t, {
      awaitReady: false,
      config: (origin) => ({
        credentials: ['web', 'bridge', 'desktop'].map((name) => credentialOf(origin, name, DEMO_CLIENTS.code)),
        clients: [clientNamed('crm')],
        server: { anonymousCredentials: ['bridge', 'desktop'] },
      }),
    });
    for (const [who, headers, named] of [
      ['a client with none', { authorization: 'Bearer crm-secret' }, []],
      ['nobody in particular', {}, ['bridge', 'desktop']],
    ] as const) {
      const answer = await fetch(`${url}/api/v2/users`, { headers });
      const { message } = (await answer.json()) as { message: string };
      t.equal(answer.status, 404, who);
      for (const name of ['web', 'bridge', 'desktop'])
        t.equal(message.includes(name), named.includes(name as never), `${who}: ${name}`);
    }
  },
);
