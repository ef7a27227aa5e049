// Which routes pages of listed origins may use: those of the API and of the SDK facade. All others are for pages of the
// gateway's own origin.

import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createTestLog, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, parseAnswer, type RawAnswer } from '../helpers/raw-http.ts';

const APP = 'https://app.example.com';
const ANYWHERE = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

const OPEN = [
  ['GET', '/api/v2/users'],
  ['POST', '/api/v2/users'],
  ['GET', '/default/api/v2/users'],
  ['GET', '/api/api/v2/users'],
  ['POST', '/oauth/token'],
  ['POST', '/login/oauth/token'],
  ['GET', '/oauth/authorize'],
  ['GET', '/logout'],
] as const;

const OWN = [
  ['GET', '/'],
  ['GET', '/metrics'],
  ['GET', '/livez'],
  ['GET', '/healthz'],
  ['GET', '/readyz'],
  ['GET', '/-/status'],
  ['POST', '/-/credentials/default/refresh'],
  ['POST', '/-/credentials/default/logout'],
  ['POST', '/-/reload'],
  ['POST', '/-/quit'],
  ['GET', '/-/login/default'],
  ['POST', '/-/login/default'],
  ['GET', '/-/callback'],
  ['POST', '/-/callback'],
  ['GET', '/-/ui/'],
  ['GET', '/-/calls'],
  ['DELETE', '/-/calls'],
  ['GET', '/-/events'],
  ['GET', '/-/insight'],
  ['GET', '/-/capture'],
  ['POST', '/-/export'],
  ['POST', '/-/ui/session'],
  ['POST', '/-/ui/link'],
  ['GET', '/nothing'],
  ['GET', '/%2d/status'],
] as const;

type Asked = { method: string; path: string; lines: readonly string[] };

async function ask(port: number, { method, path, lines }: Asked): Promise<RawAnswer & { text: string }> {
  const fixed = [`Host: localhost:${port}`, 'Content-Length: 0', 'Connection: close'];
  const head = [`${method} ${path} HTTP/1.1`, ...fixed, ...lines].join('\r\n');
  const text = await exchangeRaw(port, `${head}\r\n\r\n`, () => false);
  return { ...parseAnswer(text), text };
}

const GATEWAYS: Record<string, { clients: boolean; proof: string[] }> = {
  'an anonymous gateway': { clients: false, proof: [] },
  'a gateway with clients, and a page that knows the secret of an administrator': {
    clients: true,
    proof: ['X-Gateway-Key: boss-secret'],
  },
};

for (const [name, { clients, proof }] of Object.entries(GATEWAYS)) {
  t.test(`a listed origin reaches the API and the facade, and nothing else: ${name}`, async (t) => {
    const { port, sandbox, gateway } = await startGateway(t, {
      config: {
        server: { adminListen: ANYWHERE, corsOrigins: [APP] },
        ...(clients && { clients: [clientNamed('boss', { isAdmin: true })] }),
      },
    });
    const issued = sandbox.stats.tokensIssued;
    for (const site of ['cross-site', 'same-site', 'same-origin', 'none', null]) {
      const origin = [`Origin: ${APP}`, ...(site === null ? [] : [`Sec-Fetch-Site: ${site}`])];
      for (const [method, path] of OPEN) {
        const answer = await ask(port, { method, path, lines: [...origin, ...proof] });
        t.not(answer.status, 403, `${method} ${path}`);
        t.match(answer.text, `Access-Control-Allow-Origin: ${APP}`, `${method} ${path}`);
      }
      for (const [method, path] of OWN) {
        const answer = await ask(port, { method, path, lines: [...origin, 'X-Gateway-Request: 1', ...proof] });
        t.match(
          [answer.status, answer.text],
          [403, /X-Gateway-Error: gateway\.origin\.forbidden/],
          `${method} ${path} ${site}`,
        );
        t.notMatch(answer.text, /access-control/i, `${method} ${path}`);
      }
    }
    for (const [method, path] of [...OPEN, ...OWN]) {
      const lines = [
        `Origin: ${APP}`,
        `Access-Control-Request-Method: ${method}`,
        'Access-Control-Request-Headers: x-gateway-request,x-gateway-key',
      ];
      const isOpen = OPEN.some(([, open]) => open === path);
      t.equal(
        (await ask(port, { method: 'OPTIONS', path, lines })).status,
        isOpen ? 204 : 403,
        `preflight for ${method} ${path}`,
      );
    }
    t.equal(sandbox.stats.tokensIssued, issued, 'nothing was renewed');
    t.ok(gateway.runtime().credentials.default());
  });
}

t.test('a page of our own origin goes on to reach them, listed or not', async (t) => {
  for (const isListed of [false, true]) {
    const { port } = await startGateway(t, { config: { server: { adminListen: ANYWHERE } } });
    const own = `http://localhost:${port}`;
    const gateway = isListed
      ? await startGateway(t, { config: { server: { adminListen: ANYWHERE, corsOrigins: [own, APP] } } }).then(
          (started) => started.port,
        )
      : port;
    for (const path of ['/', '/metrics', '/-/status', '/readyz']) {
      const lines = [`Origin: http://localhost:${gateway}`, 'Sec-Fetch-Site: same-origin'];
      t.equal((await ask(gateway, { method: 'GET', path, lines })).status, 200, path);
    }
  }
});

t.test('what a browser calls of another site is that, whatever Origin stands beside it', async (t) => {
  const { port, sandbox } = await startGateway(t, {
    config: { server: { adminListen: ANYWHERE, publicUrl: 'https://apps.example/gcg' } },
  });
  const calls = sandbox.stats.apiCallsTotal;
  for (const origin of [`http://localhost:${port}`, 'https://apps.example']) {
    for (const site of ['cross-site', 'same-site']) {
      for (const path of ['/api/v2/users', '/-/status', '/']) {
        const answer = await ask(port, {
          method: 'GET',
          path,
          lines: [`Origin: ${origin}`, `Sec-Fetch-Site: ${site}`],
        });
        t.equal(answer.status, 403, `${path} ${origin} ${site}`);
      }
    }
  }
  t.equal(sandbox.stats.apiCallsTotal, calls);
});

t.test('nobody is asked for Basic: browsers would keep it and send it along with whatever page asks', async (t) => {
  const { port } = await startGateway(t, {
    config: {
      server: { adminListen: ANYWHERE, corsOrigins: [APP] },
      clients: [clientNamed('boss', { isAdmin: true }), clientNamed('crm')],
    },
  });
  const askers: Record<string, string[]> = {
    'a person at the address bar': [
      'Sec-Fetch-Site: none',
      'Sec-Fetch-Mode: navigate',
      'Sec-Fetch-Dest: document',
      'User-Agent: Mozilla/5.0',
    ],
    'a browser that says nothing of itself': ['User-Agent: Mozilla/5.0'],
    'a page of ours': [`Origin: http://localhost:${port}`, 'Sec-Fetch-Site: same-origin'],
    'a page of a listed origin': [`Origin: ${APP}`, 'Sec-Fetch-Site: cross-site'],
    'a program': ['User-Agent: curl/8'],
  };
  const isAsked = async (who: string, path: string, method: string, lines: string[]) => {
    const { status, headers } = await ask(port, { method, path, lines });
    const challenges = headers
      .filter(([header]) => header.toLowerCase() === 'www-authenticate')
      .map(([, value]) => value);
    t.strictSame(
      challenges,
      status === 401 ? ['Bearer realm="genesys-cloud-gateway"'] : [],
      `${who}: ${method} ${path} ${status}`,
    );
    return status;
  };
  for (const [who, lines] of Object.entries(askers)) {
    for (const proof of [[], ['Authorization: Bearer gcgh_dead']]) {
      for (const [method, path] of [...OPEN, ...OWN]) await isAsked(who, path, method, [...lines, ...proof]);
    }
  }
  // Guesses are slowed, so there are two.
  const wrong = `Authorization: Basic ${Buffer.from('crm:wrong').toString('base64')}`;
  for (const path of ['/api/v2/users', '/']) t.equal(await isAsked('a wrong secret', path, 'GET', [wrong]), 401);
});

t.test("an embedding program's routes are admitted as all others: by Host, Origin and client", async (t) => {
  const { config } = await startGateway(t, {
    config: { server: { corsOrigins: [APP] }, clients: [clientNamed('crm')] },
  });
  const gateway = await createGateway(config, {
    log: createTestLog(),
    env: {},
    plugins: [(app) => app.get('/hello', async () => ({}))],
  });
  t.teardown(() => gateway.drain());
  const [url = ''] = await gateway.listen();
  const port = Number(new URL(url).port);
  const proof = 'X-Gateway-Key: crm-secret';
  const statusOf = async (lines: string[]) => (await ask(port, { method: 'GET', path: '/hello', lines })).status;
  t.equal(await statusOf([]), 401);
  t.equal(await statusOf([proof]), 200);
  for (const origin of [APP, 'https://evil.example', 'null'])
    t.equal(await statusOf([proof, `Origin: ${origin}`]), 403, origin);
  t.equal(await statusOf([proof, 'Sec-Fetch-Site: cross-site']), 403);
  const foreign = await exchangeRaw(
    port,
    'GET /hello HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    () => false,
  );
  t.match(parseAnswer(foreign).status, 403);
});
