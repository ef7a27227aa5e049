// What the logger writes, read back as parsed lines.

import { Writable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { createExchangeRecord, type ExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { createLogger, type LoggerDeps, type LoggingConfig } from '../../../src/logging/logger.ts';
import { shownMs } from '../../../src/logging/milliseconds.ts';
import { createLiveSecrets } from '../../../src/logging/redact/live-secrets.ts';
import { createCanaries } from '../../helpers/canary.ts';

const CONFIG: LoggingConfig = {
  level: 'info',
  format: 'json',
  toConsole: true,
  filePath: null,
  requestBody: false,
  responseBody: false,
  bodyMaxBytes: 65536,
};
const AT = Date.UTC(2026, 10, 24, 12, 0, 1, 123);

function start(config: Partial<LoggingConfig> = {}, deps: LoggerDeps = {}) {
  let text = '';
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const log = createLogger({ ...CONFIG, ...config }, { stdout, now: () => AT, ...deps });
  return {
    log,
    async text() {
      await log.flush();
      return text;
    },
    async lines(): Promise<Record<string, unknown>[]> {
      await log.flush();
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line));
    },
  };
}

function exchange(fields: Partial<ExchangeRecord> = {}): ExchangeRecord {
  return Object.assign(createExchangeRecord(5), {
    requestId: 'r-1',
    client: 'crm',
    credential: 'default',
    method: 'GET',
    target: '/api/v2/users?pageSize=25',
    route: '/api/v2/users',
    status: 200,
    durationMs: 43.21987,
    upstreamMs: 41,
    attempts: 1,
    responseBytes: 512,
    correlationId: 'c-1',
    tokenFingerprint: '0123456789ab',
    peer: '192.0.2.7',
    userAgent: 'sdk/1',
    source: 'upstream' as const,
    ...fields,
  });
}

t.test('an exchange is one line with the documented fields in the documented order', async (t) => {
  const { log, lines } = start();
  log.exchange(exchange());
  const [line] = await lines();
  t.strictSame(line, {
    level: 'info',
    time: '2026-11-24T12:00:01.123Z',
    msg: 'exchange',
    requestId: 'r-1',
    client: 'crm',
    credential: 'default',
    method: 'GET',
    path: '/api/v2/users?pageSize=25',
    route: '/api/v2/users',
    status: 200,
    durationMs: 43.22,
    upstreamMs: 41,
    tokenWaitMs: 0,
    queueMs: 0,
    attempts: 1,
    requestBytes: 0,
    responseBytes: 512,
    correlationId: 'c-1',
    tokenFingerprint: '0123456789ab',
    peer: '192.0.2.7',
    userAgent: 'sdk/1',
    source: 'upstream',
  });
  t.strictSame(Object.keys(line ?? {}).slice(3, 11), [
    'requestId',
    'client',
    'credential',
    'method',
    'path',
    'route',
    'status',
    'durationMs',
  ]);
  await log.close();
});

/** What happened, and how much it matters. */
const LEVELS: readonly [what: string, fields: Partial<ExchangeRecord>, level: string][] = [
  ['served', { status: 200 }, 'info'],
  ['the caller left', { status: 0, aborted: true }, 'info'],
  ['a poll of a command of ours', { status: 200, source: 'gateway', isPoll: true }, 'debug'],
  [
    'a poll that was refused',
    { status: 401, source: 'gateway', isPoll: true, errorCode: 'gateway.client.unauthenticated' },
    'warn',
  ],
  ['404 of the platform', { status: 404 }, 'info'],
  ['429 of the platform', { status: 429 }, 'info'],
  ['500 of the platform', { status: 500 }, 'error'],
  ['a refusal of ours', { status: 403, source: 'gateway', errorCode: 'gateway.client.forbidden' }, 'warn'],
  ['a status of ours without a code', { status: 404, source: 'gateway' }, 'warn'],
  ['token trouble', { status: 424, source: 'gateway', errorCode: 'gateway.credential.rejected' }, 'warn'],
  ['no token in time', { status: 504, source: 'gateway', errorCode: 'gateway.credential.timeout' }, 'error'],
  ['not reached', { status: 502, source: 'gateway', errorCode: 'gateway.upstream.unreachable' }, 'error'],
  ['broken off behind its status', { status: 200, errorCode: 'gateway.upstream.unreachable' }, 'error'],
  ['a socket whose client was revoked', { status: 101, errorCode: 'gateway.client.unauthenticated' }, 'warn'],
  ['cut at the end', { status: 0, aborted: true, errorCode: 'gateway.draining' }, 'error'],
  ['a fault of ours', { status: 500, source: 'gateway', errorCode: 'gateway.internal' }, 'error'],
];

t.test('faults are errors, our refusals warnings, the platform’s refusals the caller’s business', async (t) => {
  const { log, lines } = start({ level: 'debug' });
  for (const [, fields] of LEVELS) log.exchange(exchange(fields));
  const written = await lines();
  LEVELS.forEach(([what, , level], at) => {
    t.equal(written[at]?.level, level, what);
  });
  await log.close();
});

t.test('a failed call is written at every level but none, with its own level', async (t) => {
  const isFailed = ({ status = 0, errorCode = null }: Partial<ExchangeRecord>) => status >= 400 || errorCode !== null;
  for (const level of ['error', 'warn', 'info'] as const) {
    const { log, lines } = start({ level });
    for (const [, fields] of LEVELS) log.exchange(exchange(fields));
    const expected = LEVELS.filter(([, fields, own]) => isFailed(fields) || (level === 'info' && own !== 'debug'));
    t.strictSame(
      (await lines()).map((line) => line.level),
      expected.map(([, , own]) => own),
      level,
    );
    await log.close();
  }
});

t.test('a record says who and why, where there is something to say', async (t) => {
  const liveSecrets = createLiveSecrets();
  const canaries = createCanaries();
  liveSecrets.add(canaries.clientSecret);
  const { log, lines, text } = start({}, { liveSecrets });
  log.exchange(
    exchange({
      status: 403,
      source: 'gateway',
      errorCode: 'gateway.client.forbidden',
      error: `my-secret.ini:6: the rules deny this call, send it as Bearer or Basic; ${canaries.clientSecret}`,
      rule: 'deny[] = DELETE /api/v2/users/**',
      claimedClient: canaries.clientSecret,
      secretFingerprint: '0a1b2c3d',
      sessionUser: 'u-1',
      userAgent: `${'long '.repeat(200)}`,
    }),
  );
  log.exchange(exchange({ userAgent: `app Bearer ${canaries.accessToken}`, client: null, credential: null }));
  const [refused, other] = await lines();
  t.match(refused, {
    rule: 'deny[] = DELETE /api/v2/users/**',
    secretFingerprint: '0a1b2c3d',
    sessionUser: 'u-1',
    error: /^my-secret\.ini:6: the rules deny this call, send it as Bearer or Basic; \[redacted\]$/,
    userAgent: /^(long )+ ?\[cut at \d+ characters of 1000\]$/,
  });
  t.ok(String(refused?.userAgent).length < 300);
  t.equal(other?.userAgent, 'app Bearer [redacted]');
  for (const name of ['client', 'credential', 'error', 'errorCode', 'rule', 'claimedClient', 'secretFingerprint'])
    t.notOk(name in (other ?? {}), name);
  t.strictSame(canaries.scan(await text()), []);
  await log.close();
});

t.test('each level lets through itself and what is more severe', async (t) => {
  const levels = ['trace', 'debug', 'info', 'warn', 'error'] as const;
  for (const [at, level] of [...levels, 'none' as const].entries()) {
    const { log, lines } = start({ level });
    for (const each of levels) log[each]({ credential: 'crm' }, 'something happened');
    const written = (await lines()).map((line) => line.level);
    t.strictSame(written, levels.slice(at), level);
    t.strictSame(
      levels.filter((each) => log.isLevelEnabled(each)),
      levels.slice(at),
      `${level} enabled`,
    );
    await log.close();
  }
});

t.test('request headers show at debug, response headers at trace, credentials in neither', async (t) => {
  const canaries = createCanaries();
  const record = exchange({
    requestHeaders: [
      'Accept',
      'application/json',
      'Authorization',
      `Bearer ${canaries.accessToken}`,
      'Cookie',
      canaries.cookie,
    ],
    responseHeaders: { 'content-type': 'application/json', 'set-cookie': [canaries.cookie], 'x-many': ['1', '2'] },
  });
  for (const [level, hasRequest, hasResponse] of [
    ['info', false, false],
    ['debug', true, false],
    ['trace', true, true],
  ] as const) {
    const { log, lines, text } = start({ level });
    log.exchange(record);
    const [line] = await lines();
    t.equal('requestHeaders' in (line ?? {}), hasRequest, level);
    t.equal('responseHeaders' in (line ?? {}), hasResponse, level);
    if (hasRequest) t.match(line, { requestHeaders: { Accept: 'application/json', Authorization: '[redacted]' } });
    if (hasResponse) t.match(line, { responseHeaders: { 'x-many': ['1', '2'], 'set-cookie': '[redacted]' } });
    t.strictSame(canaries.scan(await text()), []);
    await log.close();
  }
});

t.test('bodies, retries, trace ids and a caller that left are shown when there are any', async (t) => {
  const { log, lines } = start();
  const body = { write() {}, whole: () => null, render: () => ({ name: 'x' }) };
  log.exchange(
    exchange({
      requestBody: body,
      responseBody: { ...body, whole: () => null, render: () => 'text' },
      retryReasons: ['429', '503'],
      heldBy: 'a limit',
      limit: 'directory:user.rate.per.minute',
      traceId: 't1',
      spanId: 's1',
      aborted: true,
    }),
  );
  t.match(await lines(), [
    {
      requestBody: { name: 'x' },
      responseBody: 'text',
      retries: ['429', '503'],
      heldBy: 'a limit',
      limit: 'directory:user.rate.per.minute',
      traceId: 't1',
      spanId: 's1',
      aborted: true,
    },
  ]);
  await log.close();
});

t.test('other records carry redacted fields, errors without stacks included', async (t) => {
  const canaries = createCanaries();
  const { log, lines, text } = start();
  const cause = new Error(`body was {"access_token":"${canaries.accessToken}"}`);
  log.warn(
    {
      err: new TypeError(`https://user:${canaries.proxyPassword}@proxy refused`, { cause }),
      credential: 'crm',
      token: 'expired',
      url: `/cb?code=${canaries.code}`,
    },
    'renewal failed',
  );
  t.match(await lines(), [
    {
      level: 'warn',
      msg: 'renewal failed',
      credential: 'crm',
      token: 'expired',
      url: '/cb?code=[redacted]',
      err: { type: 'TypeError', message: /proxy refused/, cause: { type: 'Error' } },
    },
  ]);
  t.strictSame(canaries.scan(await text()), []);
  t.notMatch(await text(), /\.test\.ts/);
  await log.close();
});

t.test('a live secret is masked where no name and no shape gives it away', async (t) => {
  const liveSecrets = createLiveSecrets();
  const secret = 'QWxhZGRpbjpvcGVuIHNlc2FtZQ-and_more';
  liveSecrets.add(secret);
  const { log, text } = start({}, { liveSecrets });
  log.exchange(
    exchange({
      responseBody: { write() {}, whole: () => null, render: () => ({ note: `the value\n${secret} was refused` }) },
    }),
  );
  log.info({ note: secret }, 'something');
  t.notMatch(await text(), secret);
  t.match(await text(), /was refused/);
  await log.close();
});

t.test('input cannot forge a line in json', async (t) => {
  const { log, lines } = start();
  log.exchange(
    exchange({ target: '/api/v2/x"\n{"level":"info"}\u2028', correlationId: '"}\n{"forged":true', method: 'GET\r\n' }),
  );
  const read = await lines();
  t.equal(read.length, 1);
  t.equal(read[0]?.correlationId, '"}\n{"forged":true');
  await log.close();
});

t.test('text is one readable line per exchange, with what explains a failure', async (t) => {
  const { log, text } = start({ format: 'text' });
  log.exchange(exchange());
  log.exchange(
    exchange({
      client: null,
      status: 429,
      source: 'gateway' as const,
      errorCode: 'gateway.rate.limited',
      error: 'the limit x is used up: try again',
      queueMs: 900,
      retryReasons: ['429'],
      limit: 'directory:user.rate.per.minute',
      attempts: 2,
    }),
  );
  log.warn({ credential: 'crm', reason: 'two words', attempt: 2, none: null }, 'renewal failed');
  t.equal(
    await text(),
    [
      '2026-11-24T12:00:01.123Z INFO  GET /api/v2/users?pageSize=25 200 43ms crm as default',
      '2026-11-24T12:00:01.123Z WARN  GET /api/v2/users?pageSize=25 429 43ms as default gateway.rate.limited: the ' +
        'limit x is used up: try again (sent again: 429) (limited by directory:user.rate.per.minute) (queued 900ms) ' +
        'from=192.0.2.7 request=r-1 correlation=c-1',
      '2026-11-24T12:00:01.123Z WARN  renewal failed credential=crm reason="two words" attempt=2',
      '',
    ].join('\n'),
  );
  await log.close();
});

t.test('text neutralises control characters and terminal escapes wherever they come from', async (t) => {
  const { log, text } = start({ format: 'text', level: 'trace' });
  const evil = 'a\n2026 INFO forged\r\x1b[2J\u009b31m\u202e\u2028b';
  const body = { write() {}, whole: () => null, render: () => `line one\n${evil}` };
  log.exchange(
    exchange({
      target: `/api/v2/${evil}`,
      method: evil,
      correlationId: evil,
      errorCode: evil,
      error: evil,
      rule: evil,
      claimedClient: evil,
      peer: evil,
      userAgent: evil,
      requestHeaders: ['X', evil],
      responseHeaders: { y: evil },
      requestBody: body,
      responseBody: body,
    }),
  );
  log.info({ [evil]: evil, nested: { evil } }, 'noted');
  const written = await text();
  t.notMatch(written, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e]/);
  for (const line of written.split('\n').slice(0, -1)) t.match(line, /^(?:2026-11-24T| {4})/);
  t.match(written, /\\x1b\[2J/);
  await log.close();
});

t.test('colours are for terminals only', async (t) => {
  const onTerminal = start({ format: 'text' }, { isTTY: true });
  onTerminal.log.exchange(exchange());
  t.match(await onTerminal.text(), /^\d\d:\d\d:\d\d\.123 \x1b\[32mINFO \x1b\[0m GET \S+ \x1b\[32m200\x1b\[0m 43ms/);
  await onTerminal.log.close();
});

t.test('status and slowness have a colour of their own, and none where colours are not wanted', async (t) => {
  for (const [fields, shown] of [
    [{ status: 404 }, '\x1b[33m404\x1b[0m 43ms'],
    [{ status: 503 }, '\x1b[31m503\x1b[0m 43ms'],
    [{ status: 302 }, '\x1b[36m302\x1b[0m 43ms'],
    [{ status: 0 }, '\x1b[90m---\x1b[0m 43ms'],
    [{ status: 200, durationMs: 1500 }, '\x1b[32m200\x1b[0m \x1b[33m1500ms\x1b[0m'],
    [{ status: 200, durationMs: 9000 }, '\x1b[32m200\x1b[0m \x1b[31m9000ms\x1b[0m'],
    [{ status: 101, durationMs: 90000, closeCode: 1000 }, '\x1b[32m101\x1b[0m 90000ms'],
  ] as const) {
    const { log, text } = start({ format: 'text' }, { isTTY: true });
    log.exchange(exchange(fields));
    t.ok((await text()).includes(shown), JSON.stringify(fields));
    await log.close();
    const plain = start({ format: 'text' }, { isTTY: true, hasColour: false });
    plain.log.exchange(exchange(fields));
    t.notMatch(await plain.text(), '\x1b');
    await plain.log.close();
  }
});

t.test('records of the gateway’s life are sentences for a person, and fields for a machine', async (t) => {
  const TOLD: readonly [msg: string, fields: Record<string, unknown>, text: string][] = [
    [
      'ready',
      {
        addresses: ['http://127.0.0.1:8080'],
        region: 'mypurecloud.de',
        credentials: [
          { name: 'default', grant: 'client_credentials', organization: 'Acme (prod)' },
          { name: 'me', grant: 'pkce', loginNeeded: true },
        ],
        afterMs: 400,
        try: "curl -H 'X-Gateway-Key: SECRET' http://127.0.0.1:8080/api/v2/tokens/me",
      },
      'READY http://127.0.0.1:8080 -> mypurecloud.de as default ("Acme (prod)", client_credentials), me (nobody is ' +
        "logged in: gcg login me). Try: curl -H 'X-Gateway-Key: SECRET' http://127.0.0.1:8080/api/v2/tokens/me",
    ],
    [
      'waiting',
      { requestId: 'r', method: 'GET', path: '/api/v2/users', heldBy: 'the limit x', waitedMs: 2000, atMostMs: 13000 },
      'waiting up to 13 s for the limit x: GET /api/v2/users',
    ],
    [
      'draining',
      { reason: 'SIGINT', calls: 1, sockets: 0, atMostMs: 10_000 },
      'finishing 1 call, at most 10 s; Ctrl-C again ends it now',
    ],
    [
      'draining',
      { reason: 'SIGTERM', calls: 3, sockets: 2, atMostMs: 500 },
      'finishing 3 calls, 2 of them open sockets, at most 0.5 s; a second signal ends it now',
    ],
    ['draining', { reason: 'SIGTERM' }, 'ending (SIGTERM)'],
    [
      'anonymous callers are served',
      { addresses: ['http://127.0.0.1:8080', 'http://127.0.0.1:8081'], advice: 'every local user can' },
      'anonymous callers are served on http://127.0.0.1:8080, http://127.0.0.1:8081: every local user can',
    ],
    [
      'a caller spoke TLS to a plain http listener',
      { peer: '10.0.0.7', listener: '127.0.0.1 port 8080', advice: 'write http:// there', leftOut: 3 },
      'a caller spoke TLS to a plain http listener (10.0.0.7, to 127.0.0.1 port 8080; 3 others): write http:// there',
    ],
    ['stopped', { finished: 1, cut: 2 }, 'stopped: 1 call finished, 2 cut'],
    [
      'token state',
      {
        credential: 'crm',
        toToken: 'none',
        toRenewal: 'rejected',
        fingerprint: null,
        error: 'wrong client secret',
        nextAttemptInMs: 60_000,
      },
      'credential crm: wrong client secret (next try in 60 s)',
    ],
    [
      'token state',
      { credential: 'crm', toToken: 'fresh', toRenewal: 'idle' },
      'credential crm: token fresh, renewal idle',
    ],
    [
      'configuration warning',
      { warning: 'my-secret.ini:6: there is no key' },
      'configuration warning: my-secret.ini:6: there is no key',
    ],
  ];
  for (const [msg, fields, shown] of TOLD) {
    const forPerson = start({ format: 'text' });
    forPerson.log.info(fields, msg);
    t.equal(await forPerson.text(), `2026-11-24T12:00:01.123Z INFO  ${shown}\n`, msg);
    await forPerson.log.close();
    const forMachine = start();
    forMachine.log.info(fields, msg);
    t.match(await forMachine.lines(), [{ msg, ...fields }], msg);
    await forMachine.log.close();
  }
});

t.test('a reload changes level and format from the next record on', async (t) => {
  const { log, text } = start();
  log.debug({}, 'not yet');
  log.configure({ ...CONFIG, level: 'debug' });
  log.debug({}, 'now');
  log.configure({ ...CONFIG, format: 'text', level: 'none' });
  log.error({}, 'never');
  log.configure({ ...CONFIG, format: 'text' });
  log.error({}, 'again');
  t.match(await text(), /"msg":"now"}\n2026[^\n]+ERROR again\n$/);
  t.notMatch(await text(), /not yet|never/);
  await log.close();
});

t.test('after close nothing is written and nothing throws', async (t) => {
  const { log, text } = start();
  log.info({}, 'last');
  await log.close();
  log.info({}, 'late');
  log.exchange(exchange());
  log.reopen();
  await log.close();
  t.match(await text(), /last/);
  t.notMatch(await text(), /late|exchange/);
});

t.test(
  'the path of an exchange shows its query without secrets and channels only as fingerprints, in both formats',
  async (t) => {
    const canaries = createCanaries();
    for (const format of ['json', 'text'] as const) {
      const { log, text } = start({ format });
      log.exchange(
        exchange({ target: `/api/v2/users?pageSize=25&access_token=${encodeURIComponent(canaries.accessToken)}` }),
      );
      log.exchange(exchange({ target: `/api/v2/notifications/channels/${canaries.channelId}/subscriptions` }));
      const written = await text();
      t.match(written, /\/api\/v2\/users\?pageSize=25&access_token=\[redacted\]/, format);
      t.match(written, /\/api\/v2\/notifications\/channels\/~[0-9a-f]{12}\/subscriptions/, format);
      t.strictSame(canaries.scan(written), [], format);
      await log.close();
    }
  },
);

t.test('at level none a record is not even looked at', async (t) => {
  const { log, text } = start({ level: 'none' });
  const untouchable = new Proxy(exchange(), {
    get() {
      throw new Error('read');
    },
  });
  log.exchange(untouchable);
  t.equal(await text(), '');
  await log.close();
});

t.test('of a path and of a header’s value a record shows at most 8 KiB, and marks the cut', async (t) => {
  const { log, lines } = start({ level: 'debug' });
  const long = 'word '.repeat(4_000);
  const target = `/api/v2/users?q=${'a,'.repeat(10_000)}`;
  log.exchange(exchange({ target, requestHeaders: ['X-Long', long, 'X-Short', 'short'] }));
  const [line] = (await lines()) as { path: string; requestHeaders: Record<string, string> }[];
  for (const [shown = '', whole] of [
    [line?.path, target],
    [line?.requestHeaders['X-Long'], long],
  ] as const) {
    const [, kept = '', length] = /^([\s\S]*) ?\[cut at \d+ characters of (\d+)\]$/.exec(shown) ?? [];
    t.equal(Number(length), whole.length);
    t.ok(kept.length > 7_500 && kept.length <= 8_193 && whole.startsWith(kept.trimEnd()), `${kept.length} characters`);
  }
  t.equal(line?.requestHeaders['X-Short'], 'short');
});

t.test(
  'whatever a duration is, it is shown as JSON would show it to hundredths, and as 0 where JSON could not',
  (t) => {
    const numbers = fc.oneof(
      fc.double(),
      fc.double({ min: -100, max: 20_000 }),
      fc.integer().map((at) => at / 100),
    );
    fc.assert(
      fc.property(numbers, (ms) => {
        const hundredths = Math.round(ms * 100);
        return shownMs(ms) === (Number.isFinite(hundredths) ? JSON.stringify(hundredths / 100) : '0');
      }),
    );
    t.strictSame([0, 0.004, 0.01, 0.1, 1, 43.21987, 1.995, -2.5].map(shownMs), [
      '0',
      '0',
      '0.01',
      '0.1',
      '1',
      '43.22',
      '2',
      '-2.5',
    ]);
    t.end();
  },
);
