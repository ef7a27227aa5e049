// Headers and bodies that are captured for a while, and the file that is made of calls: who may, what is in it, and
// that no secret is, in whatever disguise.

import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import type { CallAnswer, CallsAnswer, CaptureState } from '../../src/inspector/wire.ts';
import { createLiveSecrets } from '../../src/logging/redact/live-secrets.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createCanaries } from '../helpers/canary.ts';
import { openChromium, withoutBrowser } from '../helpers/chromium.ts';
import { clientNamed } from '../helpers/clients.ts';
import { listenFor } from '../helpers/egress.ts';
import {
  type ConfigOverrides,
  configAt,
  createTestLog,
  credentialAt,
  startGateway,
  type TestLog,
} from '../helpers/gateway.ts';
import { problemsOfHar } from '../helpers/har.ts';
import { startSecretUpstream } from '../helpers/secret-upstream.ts';

const MIB = Buffer.alloc(1024 * 1024, 'x');
const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const KINDS = ['json', 'gzip', 'text', 'form', 'string', 'error', 'redirect', 'channels', 'broken'];

interface Started {
  readonly url: string;
  readonly gateway: Gateway;
  readonly log: TestLog;
}

/** Asks the inspector as a client; the client `boss` is an administrator. */
function asker({ url }: Pick<Started, 'url'>, secret: string) {
  return async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'X-Gateway-Request': '1', 'X-Gateway-Key': secret },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
}

const marksIn = (text: string) => new Set(text.match(/\[redacted~\w+\]/g));

interface Entry {
  request: { url: string; headers: Pair[]; _received?: Pair[]; postData?: { text: string } };
  response: { status: number; headers: Pair[]; content: { text?: string }; redirectURL: string };
  timings: Record<string, number>;
  _attempts: object[];
  _gcg: Record<string, unknown>;
}
type Pair = { name: string; value: string };
const entriesOf = (text: string) => JSON.parse(text).log.entries as Entry[];
const headOf = (text: string) => JSON.parse(text).log as { comment: string; _gcg: Record<string, unknown> };

t.test('a file of calls that were full of secrets', async (t) => {
  const canaries = createCanaries();
  const upstream = await startSecretUpstream(t, canaries);
  const secret = (value: string) => inlineSecret(value, 'test');
  const config = configAt(upstream.origin, {
    credentials: [credentialAt(upstream.origin, { clientSecret: secret(canaries.clientSecret) })],
    clients: [clientNamed('boss', { secret: secret(canaries.localSecret), isAdmin: true })],
    retry: { max: 1, waitMinMs: 1, waitMaxMs: 2 },
    server: { adminListen: LOCAL },
  });
  const liveSecrets = createLiveSecrets();
  const log = createTestLog();
  const gateway = await createGateway(
    { ...config, server: { ...config.server, adminListen: config.server.listen } },
    { log, liveSecrets, env: {} },
  );
  const [url = ''] = await gateway.listen();
  t.teardown(() => gateway.drain());
  const ask = asker({ url }, canaries.localSecret);
  t.equal((await ask('POST', '/-/capture', { what: 'bodies' })).status, 200);

  const percent = encodeURIComponent;
  const query = `access_token=${percent(canaries.accessToken)}&code=${percent(canaries.code)}&page=1`;
  for (const kind of KINDS)
    await fetch(`${url}/api/v2/things/${kind}?${query}`, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        'X-Gateway-Key': canaries.localSecret,
        'Content-Type': 'application/json',
        Cookie: canaries.cookie,
        'X-Forwarded-Authorization': `Basic ${Buffer.from(`me:${canaries.password}`).toString('base64')}`,
        Referer: `https://page.example/?refresh_token=${percent(canaries.refreshToken)}`,
        'User-Agent': `app/1 Bearer ${canaries.accessToken}`,
      },
      body: JSON.stringify({
        marker: `sent-${kind}`,
        pin: 4711,
        saml: `<SAMLResponse>${canaries.assertion}</SAMLResponse>`,
        connectUri: `wss://streaming.example/channels/${canaries.channelId}`,
        auth: [{ name: 'Authorization', value: canaries.handle }, { code_verifier: canaries.verifier }],
        hex: Buffer.from(canaries.clientSecret).toString('hex'),
        base64: Buffer.from(`x:${canaries.accessToken}`).toString('base64'),
      }),
    })
      .then((answer) => answer.text())
      .catch(() => '');
  for (let found = 0; found < KINDS.length; ) found = JSON.parse((await ask('GET', '/-/calls')).text).calls.length;
  t.match(JSON.parse((await ask('GET', '/-/capture')).text), { what: 'bodies', kept: KINDS.length, missed: 0 });

  const full = { bodies: 'full', confirm: 'full' };
  const made = await ask('POST', '/-/export', full);
  t.equal(made.status, 200);
  t.match(made.headers.get('content-disposition'), /^attachment; filename="gcg-\d{8}T\d{6}\.har"$/);
  t.equal(made.headers.get('cache-control'), 'no-store, no-transform');

  await t.test('no secret is in it, nor in what a page is shown', async (t) => {
    t.strictSame(canaries.scan(made.text), []);
    for (const kind of ['json', 'form', 'text', 'error'])
      t.ok(made.text.includes(`sent-${kind}`), `the body of ${kind} is`);
    t.ok(made.text.includes('seen-in-gzip') && made.text.includes('seen-in-text'), 'answers are, unpacked');
    t.notOk(/\D4711\D/.test(made.text), 'a short secret is known by its name');
    const list = await ask('GET', '/-/calls');
    t.strictSame(canaries.scan(list.text), []);
    for (const { seq } of JSON.parse(list.text).calls) {
      const one = await ask('GET', `/-/calls/${seq}`);
      t.strictSame(canaries.scan(one.text), []);
      t.ok((JSON.parse(one.text) as CallAnswer).captured?.requestBody);
    }
    for (const record of log.lines) t.strictSame(canaries.scan(JSON.stringify(record)), []);
  });

  await t.test('it is an archive', async (t) => {
    t.strictSame(problemsOfHar(made.text), []);
    const broken = made.text.replace('"time":', '"tim":').replace(/"bodySize":\d+/, '"bodySize":"x"');
    t.match(problemsOfHar(broken), [/time is not there/, /bodySize is no integer/], 'and what is none is found out');
    t.match(headOf(made.text), {
      comment: /9 calls .* none is in it\. BODIES ARE IN IT/,
      _gcg: { calls: 9, filter: '', redaction: { scope: 'file', scanner: 'passed', bodies: 'full' } },
    });
  });

  await t.test('one secret has one mark in all places, another one another', async (t) => {
    const json = entriesOf(made.text).find(({ request }) => request.url.includes('/json'));
    const header = (pairs: Pair[] | undefined, name: string) =>
      pairs?.find((pair) => pair.name.toLowerCase() === name)?.value ?? '';
    const [token] = marksIn(header(json?.request.headers, 'authorization'));
    t.type(token, 'string');
    const { access_token: inBody, deep } = JSON.parse(json?.response.content.text ?? '{}');
    t.equal(inBody, token, 'in the body of the answer');
    t.equal(new URL(json?.request.url ?? '').searchParams.get('access_token'), token, 'in the query');
    t.equal(deep[0].note, `Bearer ${token}`, 'behind its scheme');
    const sent = JSON.parse(json?.request.postData?.text ?? '{}');
    t.ok(sent.base64.includes(token), 'in base64, with something before it');
    t.equal(sent.hex, deep[0].client_secret, 'in hex');
    t.ok(header(json?.request._received, 'user-agent').includes(String(token)), 'in another header, of the caller');
    const redirect = entriesOf(made.text).find(({ request }) => request.url.includes('/redirect'));
    t.ok(redirect?.response.redirectURL.includes(`access_token=${token}`), 'in a Location');
    t.not(header(json?.request._received, 'x-gateway-key'), token);
    t.not(deep[0].refresh_token, token);
    t.equal(header(json?.request.headers, 'x-gateway-key'), '', 'what was sent on is not what was received');
  });

  await t.test('two files cannot be compared, save where that is wished for', async (t) => {
    const other = await ask('POST', '/-/export', full);
    const common = (a: string, b: string) => [...marksIn(a)].filter((mark) => marksIn(b).has(mark)).length;
    t.ok(marksIn(made.text).size > 5);
    t.equal(common(made.text, other.text), 0);
    const run = [
      (await ask('POST', '/-/export', { ...full, scope: 'run' })).text,
      (await ask('POST', '/-/export', { ...full, scope: 'run', f: 'path:**/json' })).text,
    ] as const;
    t.ok(common(...run) > 3);
    t.equal(common(run[0], made.text), 0);
    t.equal(common(made.text, (await ask('GET', '/-/calls')).text), 0, 'nor with what the page shows');
  });

  await t.test('whose a mark is, of the secrets in use', async (t) => {
    const sent = entriesOf(made.text)[0]?.request.headers ?? [];
    const [mark = ''] = marksIn(sent.find(({ name }) => name === 'Authorization')?.value ?? '');
    const { found } = JSON.parse((await ask('POST', '/-/export/which', { mark })).text);
    t.match(found, /^the token of credential default, obtained 20/);
    const bare = mark.slice(-11, -1);
    t.match(JSON.parse((await ask('POST', '/-/export/which', { mark: `#${bare}` })).text), { mark: bare, found });
    t.match(JSON.parse((await ask('POST', '/-/export/which', { mark: 'BBBBBBBBBB' })).text), { found: null });
    for (const wrong of [7, '', 'x', '[redacted]', 'EE8R557DP'])
      t.equal((await ask('POST', '/-/export/which', { mark: wrong })).status, 400, String(wrong));
  });

  await t.test('without bodies, by their shape, and of one call', async (t) => {
    const none = (await ask('POST', '/-/export', {})).text;
    t.notOk(none.includes('sent-json') || none.includes('"postData"'));
    const shape = (await ask('POST', '/-/export', { bodies: 'shape', f: 'path:**/json' })).text;
    t.strictSame(canaries.scan(shape), []);
    t.match(JSON.parse(entriesOf(shape)[0]?.request.postData?.text ?? '{}'), {
      marker: 'string(9)',
      pin: /^\[redacted~/,
      auth: [{ name: 'string(13)' }, '× 2'],
    });
    const [{ requestId = '' } = {}] = JSON.parse((await ask('GET', '/-/calls')).text).calls;
    const one = (await ask('POST', '/-/export', { ids: [requestId] })).text;
    t.equal(entriesOf(one).length, 1);
    t.match(headOf(one)._gcg, { settings: { 'general.host': 'simulation.invalid', 'retry.retry_max': 1 } });
    t.strictSame(canaries.scan(one), []);
    for (const field of ['peer', 'secretFingerprint', 'sessionUser', 'claimedClient'])
      t.notOk(field in (entriesOf(one)[0]?._gcg ?? {}), field);
  });

  await t.test('what became a secret after the call is masked as well', async (t) => {
    const headers = { 'X-Gateway-Key': canaries.localSecret, 'X-Note': 'turned-secret-later' };
    await fetch(`${url}/api/v2/things/text?note=turned-secret-later`, { headers }).then((answer) => answer.text());
    liveSecrets.add('turned-secret-later');
    const { status, text } = await ask('POST', '/-/export', { f: 'path:**/text method:GET' });
    t.equal(status, 200);
    t.notOk(text.includes('turned-secret-later'));
    t.match(entriesOf(text)[0]?.request.url, /\?note=\[redacted~\w{10}\]$/);
    const { calls, instance } = JSON.parse((await ask('GET', '/-/calls?limit=1')).text) as CallsAnswer;
    const { seq = 0, requestId = '', path } = calls[0] ?? {};
    t.match(path, /\?note=\[redacted~\w{10}\]$/, 'in the list');
    for (const id of [seq, requestId])
      t.match(JSON.parse((await ask('GET', `/-/calls/${id}`)).text), {
        call: { seq, path },
        captured: { responseHeaders: Array },
      });
    for (const one of [`/-/calls/${seq}`, '/-/calls?f=turned-secret*', '/-/calls?f=path:*note=turned*'])
      t.notMatch((await ask('GET', one)).text, /turned-secret/, 'and no filter finds it out');
    t.strictSame(JSON.parse((await ask('GET', '/-/calls?f=path:*note=turned*')).text).calls, []);
    const leaving = new AbortController();
    const since = `${instance}-${seq - 1}`;
    const feed = await fetch(`${url}/-/events?since=${since}`, {
      headers: { ...headers, 'X-Gateway-Request': '1' },
      signal: leaving.signal,
    });
    let told = '';
    for await (const chunk of feed.body as unknown as AsyncIterable<Uint8Array>) {
      told += Buffer.from(chunk).toString();
      if (told.includes('event: calls')) break;
    }
    leaving.abort();
    t.match(told, /\?note=\[redacted~\w{10}\]/, 'and to who comes back');
    t.notMatch(told, /turned-secret/);
  });

  await t.test('a secret that got through anyway: no file, and a report without it', async (t) => {
    // Three parts that nobody masks, which the file brings together.
    liveSecrets.add('GET","url":"http');
    await fetch(`${url}/api/v2/things/text`, { headers: { 'X-Gateway-Key': canaries.localSecret } }).then((a) =>
      a.text(),
    );
    const refused = await ask('POST', '/-/export', { f: 'method:GET path:**/text' });
    t.equal(refused.status, 500);
    t.match(JSON.parse(refused.text), {
      code: 'gateway.internal',
      message: /^no file was made: a secret in use was found in it, at .*please report/,
    });
    t.notOk(refused.text.includes('url'));
    t.match(await log.nextLine('a secret was found in a file before it left: it was not made'), {
      what: 'a secret in use',
      place: 'more than one text of log.entries[0] together',
    });
    t.equal((await ask('POST', '/-/export', { f: '-method:GET' })).status, 200, 'the next file is made');
  });
});

t.test('who may capture and export, and what is refused', async (t) => {
  const audit = join(t.testdir(), 'audit.jsonl');
  const started = await startGateway(t, {
    config: {
      audit: { file: audit, methods: ['POST', 'DELETE'] },
      server: { adminListen: LOCAL },
      clients: [
        clientNamed('boss', { isAdmin: true }),
        clientNamed('crm', { inspect: 'own' }),
        clientNamed('etl', { inspect: 'own' }),
        clientNamed('blind'),
      ],
    },
  });
  const as = (name: string) => asker(started, `${name}-secret`);
  const call = (name: string) =>
    fetch(`${started.url}/api/v2/organizations/me`, { headers: { 'X-Gateway-Key': `${name}-secret` } }).then((a) =>
      a.text(),
    );
  const order = { what: 'headers', calls: 2, seconds: 900 };
  t.equal((await as('crm')('POST', '/-/capture', order)).status, 403);
  t.equal((await as('blind')('GET', '/-/capture')).status, 403);
  const begun = JSON.parse((await as('boss')('POST', '/-/capture', order)).text) as CaptureState;
  t.match(begun, { what: 'headers', by: 'boss', left: 2, kept: 0, until: /^20/ });
  t.match(JSON.parse((await as('crm')('GET', '/-/capture')).text), { what: 'headers', by: null, left: 0 });
  t.match(
    await (await fetch(`${started.url}/metrics`, { headers: { 'X-Gateway-Key': 'boss-secret' } })).text(),
    /^gcg_inspector_capture 1$/m,
  );
  for (const name of ['crm', 'etl', 'crm']) await call(name);
  t.match(JSON.parse((await as('boss')('GET', '/-/capture')).text), { what: null, kept: 2 }, 'it ends by itself');
  t.match(
    await (await fetch(`${started.url}/metrics`, { headers: { 'X-Gateway-Key': 'boss-secret' } })).text(),
    /^gcg_inspector_capture 0$/m,
  );

  const listed = JSON.parse((await as('boss')('GET', '/-/calls')).text) as CallsAnswer;
  const numbers = listed.calls.map(({ seq }) => seq).reverse();
  const one = async (name: string, at: number) =>
    JSON.parse((await as(name)('GET', `/-/calls/${numbers[at - 1]}`)).text);
  const { captured } = (await one('boss', 1)) as CallAnswer;
  t.match(captured?.requestHeaders?.find(([name]) => name === 'X-Gateway-Key')?.[1], /^\[redacted~/);
  t.match(
    captured?.sentHeaders?.map(([name]) => name.toLowerCase()),
    ['host', 'connection', 'accept'],
    'as it went out, with what the client library adds',
  );
  t.notOk(captured && 'requestBody' in captured);
  t.notOk('captured' in (await one('crm', 1)), 'what others captured is for administrators');
  t.notOk('captured' in (await one('boss', 3)), 'the third found it ended');

  const own = await as('crm')('POST', '/-/export', {});
  t.same(
    entriesOf(own.text).map(({ _gcg, request }) => [_gcg.client, request.headers.length]),
    [
      ['crm', 0],
      ['crm', 0],
    ],
  );
  t.equal((await as('crm')('POST', '/-/export', { ids: [numbers[1]] })).status, 404, "another client's is not there");
  t.equal((await as('crm')('POST', '/-/export', { ids: [99] })).status, 404);
  t.equal((await as('crm')('POST', '/-/export', { bodies: 'shape' })).status, 403);
  t.equal((await as('crm')('POST', '/-/export/which', { mark: 'BBBBBBBBBB' })).status, 403);
  t.equal((await as('blind')('POST', '/-/export', {})).status, 403);
  const everything = entriesOf((await as('boss')('POST', '/-/export', { f: '' })).text);
  t.equal(everything.length, 3);
  t.match(everything[0]?._attempts, [{ wait: Number, status: 200 }]);
  await fetch(`${started.url}/api/v2/nowhere`, { headers: { 'X-Gateway-Key': 'crm-secret' } }).then((a) => a.text());
  const failed = (await as('crm')('POST', '/-/export', { f: 'status:404' })).text;
  t.match(entriesOf(failed)[0]?._gcg.why, { who: 'caller', title: String, todo: Array }, 'a failure is explained');

  const boss = as('boss');
  for (const body of [
    ...['', '[]', 'null', '7', '{', '"x"'],
    ...[{ f: 7 }, { f: 'status:' }, { bodies: 'all' }, { bodies: 'full' }, { scope: 'ever' }],
    ...[{ ids: [] }, { ids: 'x' }, { ids: [{}] }, { ids: Array.from({ length: 1001 }, () => 1) }],
  ])
    t.equal((await boss('POST', '/-/export', body)).status, 400, JSON.stringify(body).slice(0, 60));
  for (const body of [
    ...['', '[]', {}, { what: 'all' }, { what: 'bodies', f: 'status:' }, { what: 'bodies', f: [] }],
    ...[
      { what: 'bodies', calls: 0 },
      { what: 'bodies', calls: 501 },
      { what: 'bodies', calls: 1.5 },
    ],
    ...[
      { what: 'bodies', seconds: 901 },
      { what: 'bodies', seconds: -1 },
      { what: 'bodies', seconds: '9' },
    ],
  ])
    t.equal((await boss('POST', '/-/capture', body)).status, 400, JSON.stringify(body).slice(0, 60));
  t.equal((await boss('POST', '/-/export', `{"f":"${'x'.repeat(70_000)}"}`)).status, 413);
  const withoutHeader = await fetch(`${started.url}/-/export`, {
    method: 'POST',
    headers: { 'X-Gateway-Key': 'boss-secret' },
    body: '{}',
  });
  t.equal(withoutHeader.status, 403, 'no form and no link can make one');
  t.equal((await boss('GET', '/-/export')).status, 405);

  t.match(JSON.parse((await boss('POST', '/-/capture', { ...order, f: 'client:etl' })).text), { left: 2, kept: 2 });
  for (const name of ['crm', 'etl']) await call(name);
  t.match(JSON.parse((await boss('DELETE', '/-/capture')).text), { what: null, until: null, kept: 3 });
  t.match(JSON.parse((await boss('DELETE', '/-/capture')).text), { kept: 0 }, 'a second time it forgets');
  await started.gateway.drain();
  const trail = readFileSync(audit, 'utf8');
  for (const [name, method, path] of [
    ['boss', 'POST', '/-/capture'],
    ['boss', 'DELETE', '/-/capture'],
    ['crm', 'POST', '/-/export'],
  ])
    t.ok(
      trail
        .split('\n')
        .some((line) => line.includes(`"client":"${name}"`) && line.includes(`"${method}","path":"${path}"`)),
      `${name} ${method} ${path} is in the audit trail`,
    );
});

t.test('where nothing may be captured, and many files at a time', async (t) => {
  const started = await startGateway(t, {
    config: {
      server: { adminListen: LOCAL },
      inspector: { enabled: null, memory: 4, capture: 'none', replay: 'off' },
    },
  });
  const ask = asker(started, started.gateway.pageKey);
  const refused = await ask('POST', '/-/capture', { what: 'headers' });
  t.match(JSON.parse(refused.text), { status: 403, message: 'nothing is captured here: inspector.capture is none' });
  t.equal((await ask('DELETE', '/-/capture')).status, 403);
  t.equal((await asker(started, 'wrong-key')('POST', '/-/export', {})).status, 401);
  const { config, gateway, url } = started;
  const next = (changed: ConfigOverrides) =>
    gateway.replace(configAt(config.general.hosts.api.origin, { ...config, ...changed } as ConfigOverrides));
  const state = async (proof = ask) => JSON.parse((await proof('GET', '/-/capture')).text) as CaptureState;
  next({ inspector: { ...config.inspector, capture: 'errors' } });
  await ask('POST', '/-/capture', { what: 'bodies' });
  await fetch(`${url}/api/v2/users/me`).then((a) => a.text());
  t.ok('captured' in JSON.parse((await ask('GET', '/-/calls/1')).text));
  next({});
  t.match(await state(), { what: null, kept: 0 }, 'what runs ends, and is forgotten, when it is forbidden');
  t.notOk('captured' in JSON.parse((await ask('GET', '/-/calls/1')).text));
  const inspector = { ...config.inspector, capture: 'errors' } as const;
  const boss = clientNamed('boss', { isAdmin: true });
  const other = clientNamed('other', { isAdmin: true });
  next({ inspector });
  await ask('POST', '/-/capture', { what: 'bodies' });
  next({ inspector, clients: [boss, other] });
  const asOther = asker(started, 'other-secret');
  t.match(await state(asOther), { what: null }, 'it ends with the right of who began it: the key of the start');
  await asker(started, 'boss-secret')('POST', '/-/capture', { what: 'bodies' });
  next({ inspector, clients: [boss, other], rateLimit: { ...config.rateLimit, queueMax: 7 } });
  t.match(await state(asOther), { what: 'bodies', by: 'boss' }, 'another change ends nothing');
  next({ inspector, clients: [clientNamed('boss', { inspect: 'own' }), other] });
  t.match(await state(asOther), { what: null }, 'a client');
  next({});
  await ask('DELETE', '/-/calls');
  for (let calls = 0; calls < 50; calls += 1)
    await fetch(`${started.url}/api/v2/organizations/me`).then((a) => a.text());
  const many = await Promise.all(Array.from({ length: 20 }, () => ask('POST', '/-/export', {})));
  const made = many.filter(({ status }) => status === 200);
  t.ok(made.length >= 1);
  t.same(new Set(many.map(({ status }) => status)), new Set([200, ...(made.length < 20 ? [429] : [])]));
  for (const { text } of made) t.equal(entriesOf(text).length, 50, 'none is half a file');
  t.equal((await ask('POST', '/-/export', {})).status, 200);
});

t.test('a browser answers by the file as the gateway did', { skip: withoutBrowser }, async (t) => {
  const started = await startGateway(t, { config: { server: { adminListen: LOCAL } } });
  const ask = asker(started, started.gateway.pageKey);
  await ask('POST', '/-/capture', { what: 'bodies' });
  const answer = await fetch(`${started.url}/api/v2/organizations/me?page=1`).then((one) => one.json());
  const file = join(t.testdir(), 'calls.har');
  const { text } = await ask('POST', '/-/export', { bodies: 'full', confirm: 'full' });
  writeFileSync(file, text);
  const browser = await openChromium(t);
  const page = await browser.newPage();
  await page.routeFromHAR(file, { notFound: 'abort' });
  const called = new URL(entriesOf(text)[0]?.request.url ?? '');
  t.equal(called.pathname + called.search, '/api/v2/organizations/me?page=1');
  const shown = await page.goto(called.href);
  t.equal(shown?.status(), 200);
  t.same(await shown?.json(), answer);
  await t.rejects(page.goto(`${called.origin}/api/v2/other`), 'and nothing else');
});

t.test('a body is kept up to its bound, and what is cut is marked', async (t: Test) => {
  const server = createServer((request, response) => {
    if (request.url === '/oauth/token') {
      response.setHeader('content-type', 'application/json');
      return response.end(
        JSON.stringify({ access_token: 'a-token-of-the-test', token_type: 'bearer', expires_in: 86_400 }),
      );
    }
    response.setHeader('content-type', 'text/plain');
    // More than all buffers on the way hold.
    if (request.url === '/api/v2/big') Readable.from(Array.from({ length: 64 }, () => MIB)).pipe(response);
    else request.pipe(response);
  });
  const origin = `http://127.0.0.1:${await listenFor(t, server)}`;
  const log = createTestLog();
  const config = configAt(origin);
  const gateway = await createGateway(
    { ...config, server: { ...config.server, adminListen: config.server.listen } },
    { log, env: {} },
  );
  const [url = ''] = await gateway.listen();
  t.teardown(() => gateway.drain());
  const ask = asker({ url }, gateway.pageKey);
  await ask('POST', '/-/capture', { what: 'bodies', f: 'bytes:>100' });
  const big = 'word '.repeat(40_000);
  const headers = { 'content-type': 'text/plain' };
  await fetch(`${url}/api/v2/echo`, { method: 'POST', headers, body: big }).then((answer) => answer.text());
  await fetch(`${url}/api/v2/echo`, { method: 'POST', headers, body: 'small' }).then((answer) => answer.text());
  const { captured } = JSON.parse((await ask('GET', '/-/calls/1')).text) as CallAnswer;
  for (const body of [captured?.requestBody, captured?.responseBody]) {
    t.ok(body?.startsWith('word word'));
    t.match(body?.slice(-60), / \[cut at 65536 bytes of 200000\]$/);
  }
  t.notOk('captured' in JSON.parse((await ask('GET', '/-/calls/2')).text), 'what the filter leaves out is not kept');
  t.equal(log.exchanges[0]?.requestBody, null, 'the log captures nothing');

  const [answer] = (await once(get(`${url}/api/v2/big`), 'response')) as [IncomingMessage];
  for (let asked = 0; asked < 3; asked += 1) await ask('GET', '/-/calls');
  answer.resume();
  await once(answer, 'end');
  for (let trace = null; trace === null; ) {
    const one = await ask('GET', '/-/calls/3');
    if (one.status !== 200) continue;
    trace = (JSON.parse(one.text) as CallAnswer).call.trace ?? null;
    t.ok((trace?.stalled ?? 0) > 0, 'the time in which the caller did not read');
    t.match(trace?.attempts, [{ send: Number, wait: Number, body: Number, status: 200 }]);
  }
});
