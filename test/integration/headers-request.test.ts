// The caller's identity stays with the caller: whatever it sends as Authorization, and whatever it says about
// forwarding, goes no further.

import t from 'tap';
import { GIVEN_TOKEN, ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { isRefusal, refusedBy } from '../helpers/refusal.ts';

const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
t.beforeEach(() => {
  pair.requests.splice(0);
  pair.log.exchanges.splice(0);
});
const get = (...lines: readonly string[]) =>
  `GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
const OURS = `Authorization: Bearer ${GIVEN_TOKEN}`;
/** Header lines that the upstream saw, without Host and Connection, which are the gateway's hop. */
const seen = () =>
  (pair.requests[0] as string)
    .split('\r\n')
    .slice(1, -2)
    .filter((line) => !/^(host|connection|x-gateway-instance):/i.test(line));

const spellings: readonly (readonly [string, readonly string[]])[] = [
  ['as usual', ['Authorization: Bearer theirs']],
  ['in lower case', ['authorization: Bearer theirs']],
  ['in mixed case', ['aUTHORIZATIOn: Basic dGhlaXJz']],
  ['twice', ['Authorization: Bearer theirs', 'Authorization: Bearer theirs too']],
  ['twice in different cases', ['authorization: Bearer theirs', 'AUTHORIZATION: Bearer theirs']],
  ['empty', ['Authorization:']],
  ['empty Bearer', ['Authorization: Bearer ']],
  ['with spaces behind', ['Authorization:   Bearer theirs   ']],
  ['with a tab before', ['Authorization:\tBearer theirs']],
  ['named in Connection', ['Connection: authorization', 'Authorization: Bearer theirs']],
  ['Connection names it and nothing is sent', ['Connection: authorization']],
  ['Connection names it among others', ['Connection: x, AUTHORIZATION , close']],
  ['Connection names it in a second line', ['Connection: keep-alive', 'connection: Authorization']],
];
for (const [name, lines] of spellings) {
  t.test(`Authorization ${name}: the upstream sees ours, once`, async (t) => {
    await exchangeRaw(pair.port, get(...lines));
    t.strictSame(seen(), [OURS]);
    const record = await pair.log.nextExchange();
    t.equal(
      record.authorizationReplaced,
      lines.some((line) => /^authorization/i.test(line)),
      'what was replaced is in the record',
    );
  });
}

for (const name of [
  'Authorization_',
  'Authorizatio\u{6e}_x',
  'X-Authorization',
  'Proxy_Authorization',
  'authorization-',
]) {
  t.test(`${name} is not Authorization`, async (t) => {
    await exchangeRaw(pair.port, get(`${name}: Bearer theirs`));
    t.equal(seen().filter((line) => /^authorization:/i.test(line)).length, 1);
    t.equal(seen().at(-1), OURS);
  });
}

for (const line of [
  'Authorization : Bearer theirs',
  'Authorization\t: Bearer theirs',
  'X: 1\r\n Authorization: Bearer theirs',
  'Authorization: Bearer\r\n theirs',
  'Authorization: Bearer a\nAuthorization: b',
  'Author\0ization: x',
]) {
  t.test(`${JSON.stringify(line)} is refused`, async (t) => {
    isRefusal(t, await refusedBy(pair.port, get(line)), 400);
    t.strictSame(pair.requests, []);
  });
}

t.test('cookies, proxy, gateway and forwarding headers and their look-alikes go', async (t) => {
  const names = [
    'Cookie',
    'cookie',
    'Proxy-Authorization',
    'proxy_authorization',
    'Proxy-Connection',
    'Proxy-X',
    'X-Gateway-Key',
    'x_gateway_key',
    'X-Gateway-Request-Id',
    'X-GATEWAY-ERROR',
    'X-Gateway-Request',
    'Forwarded',
    'X-Forwarded-For',
    'X_Forwarded_For',
    'x-forwarded_host',
    'X-Forwarded-Proto',
    'X-Forwarded-Client-Cert',
    'Keep-Alive',
    'TE',
    'Trailer',
    'Content_Length',
    'Transfer_Encoding',
  ];
  await exchangeRaw(pair.port, get(...names.map((name) => `${name}: theirs`), 'X-Kept: 1'));
  t.strictSame(seen(), ['X-Kept: 1', OURS]);
});

t.test('an Upgrade that is passed over does not go upstream', async (t) => {
  await exchangeRaw(pair.port, get('Upgrade: h2c', 'Connection: Upgrade', 'X-Kept: 1'));
  t.strictSame(seen(), ['X-Kept: 1', OURS]);
});

t.test("a caller's Host decides nothing: the upstream sees its own", async (t) => {
  await exchangeRaw(pair.port, get().replace('Host: localhost', 'Host: 10.1.2.3:999'));
  t.match(pair.requests[0], new RegExp(`\r\nhost: 127\\.0\\.0\\.1:${pair.upstreamPort}\r\n`, 'i'));
  t.equal((pair.requests[0] as string).match(/^host:/gim)?.length, 1);
});

t.test('a caller cannot choose the request id', async (t) => {
  const received = await exchangeRaw(pair.port, get('X-Gateway-Request-Id: mine'));
  t.match(received, /\r\nX-Gateway-Request-Id: [0-9a-f-]{36}\r\n/);
  t.equal(received.match(/x-gateway-request-id/gi)?.length, 1);
});

t.test('headers of [upstream.headers] replace the caller’s, in any case', async (t) => {
  const own = await startBefore(t, (socket) => socket.write(ok()), {
    upstreamHeaders: [
      ['Genesys-App', 'ours'],
      ['X-Team', 'crm'],
    ],
  });
  await exchangeRaw(own.port, get('genesys-app: theirs', 'Connection: x-team', 'X-Kept: 1'));
  const lines = (own.requests[0] as string).split('\r\n').filter((line) => /^(genesys-app|x-team|x-kept)/i.test(line));
  t.strictSame(lines, ['X-Kept: 1', 'Genesys-App: ours', 'X-Team: crm']);
});
