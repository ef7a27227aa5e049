// While a stranger sends what once stopped the process for seconds, others are answered as beside any request of that
// length. And a secret of the configuration is in no record of a running gateway, wherever a caller puts it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { startServe } from '../helpers/serve-process.ts';

const SECRETS = {
  upstream: 'up/str+eam s=cret',
  local: 'lo-cal.s3cret-of-16',
  filed: 'in-a-file',
  store: 'the store: "key"',
};

async function start(t: Test, logging: string) {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'gcg.ini');
  writeFileSync(join(folder, 'secret'), `${SECRETS.filed}\n`, { mode: 0o600 });
  writeFileSync(
    config,
    `[server]
listen = 127.0.0.1:0
[gateway]
host = 127.0.0.1
protocol = http
port = 9
[credential]
grant_type = client_credentials
client_id = an-id
client_secret_env = UPSTREAM_SECRET
[client.crm]
secret = ${SECRETS.local}
[client.other]
secret_file = ${join(folder, 'secret')}
[store]
encryption_key_env = STORE_KEY
[reauthentication]
refresh_token_wait_max = 1
[logging]
log_format = json
${logging}
`,
    { mode: 0o600 },
  );
  const gateway = await startServe(t, config, { UPSTREAM_SECRET: SECRETS.upstream, STORE_KEY: SECRETS.store });
  const port = Number(new URL(gateway.url).port);
  /** Resolves when the record of the last request is written. */
  const recorded = async (mark: string) => {
    await exchangeRaw(port, `GET /${mark} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    while (!gateway.output().includes(mark)) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  return { ...gateway, port, recorded };
}

const LENGTH = 60_000;
const filled = (unit: string) => unit.repeat(Math.floor(LENGTH / unit.length));
const get = (target: string, lines = '') =>
  `GET ${target} HTTP/1.1\r\nHost: localhost\r\n${lines}Connection: close\r\n\r\n`;

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
      const { port } = await start(t, `log_level = ${level}`);
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
  const { port } = await start(t, 'log_level = debug');
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

t.test(
  'a secret of the configuration that a caller puts anywhere is in no record, and the rest of the record is',
  async (t) => {
    for (const level of ['info', 'trace']) {
      const { port, recorded, output } = await start(t, `log_level = ${level}\nlog_request_body = yes`);
      const forms = Object.values(SECRETS).flatMap((secret) => [
        encodeURIComponent(secret),
        Buffer.from(secret).toString('hex').replace(/../g, '%$&'),
        encodeURIComponent(JSON.stringify({ note: secret })),
        ...['', 'a', 'ab'].map((before) =>
          encodeURIComponent(Buffer.from(`${before}${secret} and more`).toString('base64')),
        ),
      ]);
      const body = JSON.stringify({ note: SECRETS, text: `it is ${SECRETS.local}, they say` });
      for (const form of forms) {
        await exchangeRaw(
          port,
          get(`/api/v2/seen/${form}/end?note=${form}`, `X-Note: ${decodeURIComponent(form)}\r\n`),
        );
        await exchangeRaw(
          port,
          get(`/api/v2/long?q=${'a'.repeat(8192 - '/api/v2/long?q=/'.length - Math.ceil(form.length / 2))}/${form}`),
        );
      }
      const key =
        `X-Gateway-Key: ${SECRETS.local}\r\nContent-Type: application/json\r\nContent-Length: ` +
        `${Buffer.byteLength(body)}\r\n`;
      await exchangeRaw(
        port,
        `POST /api/v2/body HTTP/1.1\r\nHost: localhost\r\n${key}Connection: close\r\n\r\n${body}`,
      );
      await recorded(`the-end-${level}`);
      const written = output();
      for (const secret of Object.values(SECRETS)) {
        for (const piece of [
          secret,
          encodeURIComponent(secret),
          JSON.stringify(secret).slice(1, -1),
          Buffer.from(secret).toString('base64').slice(0, -4),
        ])
          t.notOk(written.includes(piece), `${level}: ${piece}`);
      }
      for (const shown of ['/api/v2/seen/[redacted]', '[cut at ', '/api/v2/body', `the-end-${level}`])
        t.ok(written.includes(shown), shown);
      if (level === 'trace')
        t.match(written, /"requestBody":\{"note":\{"upstream":"\[redacted\]","local":"\[redacted\]"/);
      for (const line of written.split('\n').filter((each) => each.startsWith('{'))) JSON.parse(line);
    }
  },
);
