// While a stranger sends what once stopped the process for seconds, others are answered as beside any request of that
// length.

import t, { type Test } from 'tap';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { get, SECRETS, startWithSecrets } from '../helpers/serve-with-secrets.ts';

const LENGTH = 60_000;
const filled = (unit: string) => unit.repeat(Math.floor(LENGTH / unit.length));

/** Every one is refused before any proof: by its Origin, its route, or for want of a secret. */
const HOSTILE: readonly string[] = [
  ...[
    'xstate=',
    'xstate=/',
    '\\',
    '\\u',
    'a\\',
    'tokenstate=',
    '%5c',
    '%',
    '://a:',
    '<password>',
    'state=eyJaaaaaaaa.',
  ].flatMap((unit) => [
    get(`/api/v2/x?${filled(unit)}`),
    get(`/?${filled(unit)}=1`),
    get(`/api/v2/${filled(unit)}`),
    get('/api/v2/users', `Referer: https://a.example/?${filled(unit)}\r\n`),
  ]),
  get(`/?${filled('\\')}=1`, 'Origin: https://evil.example\r\n'),
  get('/api/v2/users', `Origin: ${filled('/')}\r\n`),
  get('/api/v2/users', filled('a: b\r\n')),
  get('/api/v2/users', `Cookie: ${filled('a=b; ')}\r\nAuthorization: Basic ${filled('====')}\r\n`),
];

/** The longest that /livez takes while these requests come one after the other, ms. */
async function worstBeside(t: Test, port: number, requests: readonly string[]): Promise<number> {
  let worstMs = 0;
  for (const request of requests) {
    const sent = exchangeRaw(port, request);
    let isOver = false;
    sent.then(() => (isOver = true));
    do {
      const asked = performance.now();
      const answer = await exchangeRaw(port, get('/livez'));
      if (!answer.startsWith('HTTP/1.1 200')) t.fail(answer);
      worstMs = Math.max(worstMs, performance.now() - asked);
    } while (!isOver);
    // The record is written when the answer is out: the next question meets it.
    const asked = performance.now();
    await exchangeRaw(port, get('/livez'));
    worstMs = Math.max(worstMs, performance.now() - asked);
  }
  return worstMs;
}

t.test(
  'one who asks whether the gateway lives is answered while hostile requests come, at the default level and at debug',
  async (t) => {
    for (const level of ['info', 'debug']) {
      const { port } = await startWithSecrets(t, `log_level = ${level}`);
      await worstBeside(t, port, [get('/api/v2/users')]);
      const plainMs = await worstBeside(
        t,
        port,
        Array.from({ length: 12 }, () => get(`/api/v2/${'a'.repeat(LENGTH)}`)),
      );
      const hostileMs = await worstBeside(t, port, HOSTILE);
      t.comment(
        `${level}: worst /livez ${plainMs.toFixed(0)} ms beside long requests, ${hostileMs.toFixed(0)} ms beside ` +
          'hostile ones',
      );
      t.ok(hostileMs < 20 * Math.max(plainMs, 25), level);
    }
  },
);

t.test('what a caller shows in a grant makes no later request dear, however it repeats itself', async (t) => {
  const { port } = await startWithSecrets(t, 'log_level = debug');
  const likeIt = [get(`/?${filled('a')}`)];
  const before = await worstBeside(t, port, likeIt);
  const form =
    'grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&client_id=own' +
    `&client_secret=${'a'.repeat(900)}&assertion=${'a'.repeat(200_000)}`;
  const lines =
    `X-Gateway-Key: ${SECRETS.local}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ` +
    `${form.length}\r\n`;
  const refused = await exchangeRaw(
    port,
    `POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n${lines}Connection: close\r\n\r\n${form}`,
  );
  t.match(refused, /^HTTP\/1\.1 50\d/, 'the grant went as far as to the platform, which is not there');
  const after = await worstBeside(t, port, likeIt);
  t.comment(`worst /livez ${before.toFixed(0)} ms before, ${after.toFixed(0)} ms after`);
  t.ok(after < 20 * Math.max(before, 25));
});
