// What a client may be limited by besides its rules (an end, addresses), and what callers who are no client may do.

import t from 'tap';
import { good, problems, warnings, withCredential } from './load-text.ts';

const SECRET = 'a-secret-of-some-length';
const NOW = Date.parse('2027-01-10T12:00:00Z');
const client = (more: string, given: object = {}) =>
  withCredential(`[client.crm]\nsecret = ${SECRET}\n${more}`, { now: NOW, ...given });

t.test('expires is a date, to the end of that day, or a time', async (t) => {
  const cases: [written: string, at: string][] = [
    ['2027-06-30', '2027-07-01T00:00:00.000Z'],
    ['2028-02-29', '2028-03-01T00:00:00.000Z'],
    ['2027-06-30T18:00:00Z', '2027-06-30T18:00:00.000Z'],
    ['2027-06-30t18:00:00.25+02:00', '2027-06-30T16:00:00.250Z'],
    ['2027-06-30 18:00:00-00:30', '2027-06-30T18:30:00.000Z'],
  ];
  for (const [written, at] of cases)
    t.equal(good(client(`expires = ${written}`)).clients[0]?.expiresAt, Date.parse(at), written);
  t.equal(good(client('')).clients[0]?.expiresAt, null);
  for (const wrong of [
    'tomorrow',
    '2027-02-29',
    '2027-13-01',
    '2027-6-3',
    '31.12.2027',
    '2027-06-30T18:00:00',
    '1e9',
    '2027-06-30T24:00:00Z',
  ])
    t.match(
      problems(client(`expires = ${wrong}`)),
      [/client\.crm\.expires: .* is neither a date nor a time; write 2027-/],
      wrong,
    );
  t.match(problems(client('expires =')), [/is empty/]);
  t.match(problems(client('expires[] = 2027-06-30')), [/is not a list/]);
});

t.test('an end is warned of from 21 days before, and when it has passed', async (t) => {
  const warned = (expires: string) => warnings(client(`expires = ${expires}`));
  t.strictSame(warned('2027-01-31'), []);
  t.match(warned('2027-01-30'), [
    /client\.crm\.expires: is reached in 20 days, on 2027-01-30: calls of this client are refused from then on/,
  ]);
  t.match(warned('2027-01-10'), [/is reached within a day, on 2027-01-10/]);
  t.match(warned('2027-01-11'), [/is reached in 1 day, on 2027-01-11/]);
  t.match(warned('2027-01-09'), [
    /was reached on 2027-01-09: calls of this client are refused; move the date, or remove/,
  ]);
});

t.test('from takes addresses, blocks and unix, and nothing else', async (t) => {
  t.strictSame(good(client('from[] = 10.0.0.0/8\nfrom[] = 2001:db8::1\nfrom[] = unix')).clients[0]?.from, [
    '10.0.0.0/8',
    '2001:db8::1',
    'unix',
  ]);
  t.strictSame(good(client('from = 10.0.0.1, unix')).clients[0]?.from, ['10.0.0.1', 'unix']);
  t.strictSame(good(client('')).clients[0]?.from, []);
  for (const wrong of ['10.0.0.0/33', 'app.example.com', '*', '10.0.0.1:443', 'Unix', '10.0.0.1-10.0.0.9'])
    t.match(
      problems(client(`from = ${wrong}`)),
      [/client\.crm\.from: .* is neither an address nor a CIDR block; write /],
      wrong,
    );
  t.match(problems(client('from =')), [/is empty; name an address/]);
});

t.test('addresses of trusted proxies among those of a client are warned of: they can claim any', async (t) => {
  const warned = (from: string, proxies: string) =>
    warnings(client(`from = ${from}\n[server]\ntrusted_proxies = ${proxies}`));
  t.match(warned('10.1.0.0/16', '10.0.0.0/8'), [/client\.crm\.from: holds addresses of server\.trusted_proxies/]);
  t.match(warned('0.0.0.0/0', '10.0.0.1'), [/holds addresses/]);
  t.strictSame(warned('192.0.2.0/24, unix', '10.0.0.0/8'), []);
});

t.test('rules that can match no call are warned of, with what to write', async (t) => {
  const warned = (lines: string) => warnings(client(lines));
  t.match(warned('allow[] = GET /users/**'), [
    /client\.crm\.allow: "GET \/users\/\*\*" matches nothing, since calls go to \/api\/v2\/…; write GET \/api\/v2\/users\/\*\*$/,
  ]);
  t.match(warned('deny[] = DELETE,PUT /crm/api/v2/users'), [/write DELETE,PUT \/api\/v2\/users$/]);
  t.match(warned('allow[] = GET /api/v1/users'), [/matches nothing/]);
  t.match(warned('allow[] = GET /'), [/matches nothing/]);
  for (const rule of [
    'GET /api/v2/users',
    'GET /API/V2/users',
    'GET /%61pi/v2/**',
    '* /**',
    'GET /api/**',
    'GET /*/v2/x',
    'GET /*/*/x',
    '@read-only',
  ])
    t.strictSame(warned(`allow[] = ${rule}`), [], rule);
  t.match(warnings(withCredential('[server]\nanonymous_allow[] = GET /users\nanonymous_deny[] = DELETE /users')), [
    /server\.anonymous_allow: .*matches nothing/,
    /server\.anonymous_deny: .*matches nothing/,
  ]);
});

t.test('rules of callers who are no client are written as those of one', async (t) => {
  const { server } = good(
    withCredential('[server]\nanonymous_allow[] = @read-only\nanonymous_deny[] = GET   /api/v2/x\nread_only = yes'),
  );
  t.match(server, { anonymousAllow: ['@read-only'], anonymousDeny: ['GET /api/v2/x'], readOnly: true });
  t.match(good(withCredential('')).server, { anonymousAllow: [], anonymousDeny: [], readOnly: false });
  t.match(problems(withCredential('[server]\nanonymous_allow[] = users')), [
    /server\.anonymous_allow: "users" names no operation/,
  ]);
  t.match(problems(withCredential('[server]\nanonymous_deny[] = @read-only')), [/belongs into allow/]);
  t.match(problems(withCredential('[server]\nread_only = maybe')), [/neither true nor false/]);
});

t.test('an admin without an admin listener is warned of, with the line to add', async (t) => {
  t.match(warnings(client('admin = true\n[server]\nlisten = 0.0.0.0:8080\npublic_url = https://gcg.example.com')), [
    /client\.crm\.admin: has no effect, since there is no admin listener; add server\.admin_listen = 127\.0\.0\.1:8081 \(it counts after a restart\)/,
  ]);
  t.strictSame(warnings(client('admin = true')), []);
  t.strictSame(warnings(client('[server]\nlisten = 0.0.0.0:8080\npublic_url = https://gcg.example.com')), []);
});

t.test(
  'secrets over plain http beyond this machine are warned of, unless something before it speaks TLS',
  async (t) => {
    const warned = (lines: string) => warnings(client(`[server]\n${lines}`));
    t.match(warned('listen = 0.0.0.0:8080'), [
      /server\.listen: 0\.0\.0\.0:8080 can be reached by other machines without TLS, and secrets of clients are sent there in clear: set server\.tls/,
    ]);
    t.strictSame(warned('listen = 127.0.0.1:8080'), []);
    t.strictSame(warned('listen = 0.0.0.0:8080\npublic_url = https://gcg.example.com'), [], 'an ingress');
    t.strictSame(warned('listen = 0.0.0.0:8080\ntrusted_proxies = 10.0.0.1'), [], 'a proxy');
    t.match(warned('listen = 0.0.0.0:8080\npublic_url = http://gcg.example.com'), [/without TLS/]);
  },
);

t.test('rules for callers that are nowhere served without proof are warned of', async (t) => {
  t.match(warnings(client('[server]\nanonymous_allow[] = @read-only')), [
    /server\.anonymous_allow: has no effect: with clients configured, all callers must prove who they are/,
  ]);
  t.strictSame(warnings(client('[server]\nanonymous_allow[] = @read-only\nanonymous_credentials = default')), []);
});
