// Spans of calls, as a collector receives them: the tree of a call, who decides which calls have one, what reloads do,
// collectors that fail, the way there, and that no secret is in them.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/clock.ts';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import { createLiveSecrets, type LiveSecrets } from '../../src/logging/redact/live-secrets.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createCanaries } from '../helpers/canary.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createFakeClock, type FakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, configAt, createTestLog, startGateway, type TestLog } from '../helpers/gateway.ts';
import { type ReceivedSpan, startOtlpReceiver, treeOf } from '../helpers/otlp-receiver.ts';
import { startConnectProxy } from '../helpers/proxies.ts';
import { makeChannel, openWebSocket } from '../helpers/sockets.ts';

const ADMIN = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

/** A platform that answers API calls by a script, and gives a token to whoever asks for one. */
interface Platform {
  readonly origin: string;
  /** Of API calls, in their order. */
  readonly traceparents: (string | undefined)[];
  readonly tracestates: (string | undefined)[];
  /** How the next calls are answered; then with 200. */
  readonly script: ((response: ServerResponse, request: IncomingMessage) => void)[];
}

async function startPlatform(t: Test): Promise<Platform> {
  const platform = { traceparents: [], tracestates: [], script: [] } as Omit<Platform, 'origin'>;
  let tokens = 0;
  const server = createServer(async (request, response) => {
    request.resume();
    if (request.url === '/oauth/token') {
      tokens += 1;
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ access_token: `token-number-${tokens}`, token_type: 'bearer', expires_in: 86_400 }),
      );
      return;
    }
    platform.traceparents.push(request.headers.traceparent as string | undefined);
    platform.tracestates.push(request.headers.tracestate as string | undefined);
    const answer = platform.script.shift();
    if (answer === undefined) response.end('{}');
    else answer(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { ...platform, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const status =
  (code: number, headers: Record<string, string> = {}, body = '{}') =>
  (response: ServerResponse) =>
    void response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(body);

interface Traced {
  readonly gateway: Gateway;
  readonly url: string;
  readonly log: TestLog;
  readonly platform: Platform;
  /** Loads other settings of [tracing], as a reload does. */
  reload(tracing: ConfigOverrides['tracing']): Promise<void>;
  state(): Promise<Record<string, number>>;
}

async function startTraced(
  t: Test,
  tracing: ConfigOverrides['tracing'],
  { clock, config = {}, liveSecrets }: { clock?: Clock; config?: ConfigOverrides; liveSecrets?: LiveSecrets } = {},
): Promise<Traced> {
  const platform = await startPlatform(t);
  const log = createTestLog();
  const configured = (settings: ConfigOverrides['tracing']) =>
    configAt(platform.origin, {
      ...config,
      server: { adminListen: ADMIN, ...config.server },
      ...(settings && { tracing: settings }),
    });
  const gateway = await createGateway(configured(tracing), {
    log,
    env: {},
    random: () => 0.5,
    ...(clock && { clock }),
    ...(liveSecrets && { liveSecrets }),
  });
  const [url] = (await gateway.listen()) as [string];
  t.teardown(() => gateway.drain());
  await gateway.runtime().credentials.default()?.source.token();
  return {
    gateway,
    url,
    log,
    platform,
    async reload(settings) {
      gateway.replace(configured(settings));
      // Loaded code is in use in the next turn.
      await new Promise((resolve) => setImmediate(resolve));
    },
    async state() {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      return Object.fromEntries(
        Array.from(metrics.matchAll(/^gcg_spans_(\S+) (\d+)$/gm), ([, name, value]) => [name, Number(value)]),
      );
    },
  };
}

/** Lets time pass for a call until it has ended, only where it waits for time and for nothing else. */
async function passTime<T>(clock: FakeClock, { gateway }: Traced, call: Promise<T>): Promise<T> {
  let isOver = false;
  call.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  while (!isOver) {
    const [waiting] = gateway.runtime().waits.list();
    if (waiting !== undefined && waiting.waitsFor !== 'a token') await clock.advance(100);
    else await new Promise((resolve) => setImmediate(resolve));
  }
  return call;
}

const times = (from: number) => (span: ReceivedSpan) => {
  const shown = [
    'http.response.status_code',
    'http.request.resend_count',
    'gcg.retry.reason',
    'gcg.wait.after',
    'gcg.limit',
  ];
  const facts = shown.flatMap((name) => (name in span.attributes ? [`${name}=${span.attributes[name]}`] : []));
  const kind = ['', 'INTERNAL', 'SERVER', 'CLIENT'][span.kind];
  const at = Math.round((span.startedAt - from) / 100) / 10;
  const seconds = Math.round((span.endedAt - span.startedAt) / 100) / 10;
  return `${kind} ${span.name} at ${at} s for ${seconds} s ${facts.join(' ')}`.trimEnd();
};

t.test('a call with a renewal, a 429 and a retry is one tree, in the trace of its caller', async (t) => {
  const receiver = await startOtlpReceiver(t);
  const clock = createFakeClock();
  const traced = await startTraced(t, { otlpEndpoint: receiver.endpoint }, { clock });
  const { platform, url, log } = traced;
  // A renewal keeps a distance to the one before.
  await clock.advance(60_000);
  platform.script.push(status(401, {}, '{"code":"bad.credentials"}'), status(429, { 'retry-after': '2' }), status(503));
  const headers = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'rojo=1,congo=2' };
  const response = await passTime(clock, traced, fetch(`${url}/api/v2/users/me?token=no`, { headers }));
  t.equal(response.status, 200);
  await response.text();
  const record = await log.nextExchange();
  await clock.advance(5_000);
  const server = await receiver.until(() => receiver.spans.find(({ kind }) => kind === 2));
  const spans = receiver.spans.filter(({ traceId }) => traceId === TRACE);
  t.equal(
    treeOf(spans, times(server.startedAt)),
    [
      'SERVER GET /api/v2/users/me at 0 s for 3.5 s http.response.status_code=200',
      '  CLIENT GET /api/v2/users/me at 0 s for 0 s http.response.status_code=401',
      '  INTERNAL wait for token at 0 s for 0 s gcg.wait.after=401',
      '  CLIENT GET /api/v2/users/me at 0 s for 0 s http.response.status_code=429 http.request.resend_count=1 gcg.retry.reason=401',
      "  INTERNAL wait for limit at 0 s for 2 s gcg.wait.after=429 gcg.limit=the platform's limit of GET /api/v2/users/me for credential default",
      '  CLIENT GET /api/v2/users/me at 2 s for 0 s http.response.status_code=503 http.request.resend_count=2 gcg.retry.reason=429',
      '  INTERNAL wait before retry at 2 s for 1.5 s gcg.wait.after=503',
      '  CLIENT GET /api/v2/users/me at 3.5 s for 0 s http.response.status_code=200 http.request.resend_count=3 gcg.retry.reason=503',
    ].join('\n'),
  );
  t.equal(server.parentId, PARENT);
  t.ok(server.hasRemoteParent);
  t.equal(record.traceId, TRACE, 'the record has the ids of the span');
  t.equal(record.spanId, server.spanId);

  t.comment('each attempt is the parent of what the platform does for it, and tracestate goes on');
  const attempts = spans.filter(({ kind }) => kind === 3);
  t.strictSame(
    platform.traceparents,
    attempts.toSorted((a, b) => a.startedAt - b.startedAt).map(({ spanId }) => `00-${TRACE}-${spanId}-01`),
  );
  t.strictSame(platform.tracestates, Array(4).fill('rojo=1,congo=2'));

  t.comment('the login is a trace of its own, and the wait for it says which');
  const wait = spans.find(({ name }) => name === 'wait for token');
  const logins = receiver.spans.filter(({ name }) => name === 'POST /oauth/token');
  const [login] = logins.filter(({ spanId }) => spanId === wait?.links[0]?.spanId);
  t.equal(wait?.links.length, 1);
  t.not(login?.traceId, TRACE);
  t.equal(login?.parentId, '');
  t.match(login?.attributes, {
    'gcg.credential': 'default',
    'gcg.grant': 'client_credentials',
    'gcg.result': 'success',
  });

  t.match(server.attributes, {
    'http.request.method': 'GET',
    'url.path': '/api/v2/users/me',
    'url.scheme': 'http',
    'http.route': '/api/v2/users/me',
    'gcg.credential': 'default',
    'gcg.operation': 'getUsersMe',
    'gcg.request_id': record.requestId,
    'gcg.source': 'upstream',
  });
  t.match(attempts[0]?.attributes, {
    'server.address': '127.0.0.1',
    'server.port': Number(new URL(platform.origin).port),
    'url.full': `${platform.origin}/api/v2/users/me`,
    'url.template': '/api/v2/users/me',
  });
  t.strictSame([attempts[0]?.status, server.status], [2, 0], 'an attempt failed, the call did not');
  t.match(server.resource, { 'service.name': 'genesys-cloud-gateway', 'service.instance.id': /^[0-9a-f-]{36}$/ });
  t.match(receiver.exports[0], { path: '/v1/traces', headers: { 'content-type': 'application/x-protobuf' } });
});

/** The spans of calls that have ended: what is left is sent when the gateway ends. */
const serverSpans = (spans: readonly ReceivedSpan[]) => spans.filter(({ kind }) => kind === 2);

t.test('who decides: the caller by its flag, else the ratio; what was refused at the door has no span', async (t) => {
  const receiver = await startOtlpReceiver(t);
  const { url, gateway, platform, reload, log } = await startTraced(t, { otlpEndpoint: receiver.endpoint });
  const rows: { ratio: number; flag: string | null; isFollowed?: boolean; via?: object; expected: boolean }[] = [
    { ratio: 1, flag: null, expected: true },
    { ratio: 0, flag: null, expected: false },
    { ratio: 1, flag: '00', expected: false },
    { ratio: 0, flag: '01', expected: true },
    { ratio: 1, flag: '00', isFollowed: false, expected: true },
    { ratio: 0, flag: '01', isFollowed: false, expected: false },
    { ratio: 1, flag: 'zz', expected: true },
    { ratio: 0, flag: 'zz', expected: false },
    // Passed on by a proxy on this machine: who sent it is anywhere.
    { ratio: 0, flag: '01', via: { 'x-forwarded-for': '192.0.2.1' }, expected: false },
    { ratio: 1, flag: '00', via: { via: '1.1 proxy' }, expected: true },
  ];
  for (const [at, { ratio, flag, isFollowed = true, via, expected }] of rows.entries()) {
    await reload({ otlpEndpoint: receiver.endpoint, sampleRatio: ratio, parentBased: isFollowed });
    const sent = flag === null ? null : `00-${TRACE}-${PARENT}-${flag}`;
    const before = platform.traceparents.length;
    const response = await fetch(`${url}/api/v2/users/row-${at}`, {
      headers: { ...(sent !== null && { traceparent: sent, tracestate: 'rojo=1' }), ...via },
    });
    await response.text();
    const record = await log.nextExchange(({ target }) => target.endsWith(`row-${at}`));
    const what = JSON.stringify(rows[at]);
    t.equal(record.trace !== null, expected, what);
    const isJoined = flag !== null && flag !== 'zz';
    const traceparent = platform.traceparents[before];
    if (expected) t.match(traceparent, isJoined ? new RegExp(`^00-${TRACE}-.*-01$`) : /^00-[0-9a-f]{32}-.*-01$/, what);
    else t.equal(traceparent, sent ?? undefined, `${what}: what is not sampled goes on as it is`);
    // Of a trace that begins here the state is nobody's.
    t.equal(platform.tracestates[before], sent === null || (expected && !isJoined) ? undefined : 'rojo=1', what);
  }
  for (const path of ['/healthz', '/readyz', '/-/status', '/metrics', '/nowhere'])
    await (await fetch(`${url}${path}`, { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } })).text();
  await gateway.drain();
  const expected = rows.filter((row) => row.expected).length;
  t.equal(serverSpans(receiver.spans).length, expected);
  t.equal(new Set(receiver.spans.map(({ spanId }) => spanId)).size, receiver.spans.length, 'no id comes twice');
});

t.test('a call that rules refuse has a span that says why, and nothing under it', async (t) => {
  const receiver = await startOtlpReceiver(t);
  const { url, gateway } = await startTraced(
    t,
    { otlpEndpoint: receiver.endpoint },
    { config: { server: { readOnly: true } } },
  );
  const response = await fetch(`${url}/api/v2/users/me`, { method: 'PATCH', body: '{}' });
  t.equal(response.status, 403);
  await gateway.drain();
  const [server, ...others] = receiver.spans.filter(({ name }) => name.startsWith('PATCH'));
  t.strictSame(others, []);
  t.match(server, {
    status: 0,
    attributes: { 'error.type': 'gateway.client.forbidden', 'http.response.status_code': 403 },
  });
});

t.test('calls that wait for one login are linked to it, and it is exported for their sake', async (t) => {
  const receiver = await startOtlpReceiver(t);
  const clock = createFakeClock();
  const traced = await startTraced(t, { otlpEndpoint: receiver.endpoint, sampleRatio: 0 }, { clock });
  await clock.advance(60_000);
  const refused = status(401, {}, '{"code":"bad.credentials"}');
  traced.platform.script.push(refused, refused, refused);
  const traceOf = (at: number) => String(at).repeat(32);
  const calls = [1, 2, 3].map((at) =>
    fetch(`${traced.url}/api/v2/users/me`, { headers: { traceparent: `00-${traceOf(at)}-${PARENT}-01` } }),
  );
  await passTime(clock, traced, Promise.all(calls));
  await traced.gateway.drain();
  const logins = receiver.spans.filter(({ name }) => name === 'POST /oauth/token');
  t.equal(logins.length, 1, 'the login of the start, which nobody waited for, is not exported');
  const linked = receiver.spans.flatMap(({ links }) => links);
  t.ok(linked.length >= 1);
  for (const link of linked) t.strictSame(link, { traceId: logins[0]?.traceId, spanId: logins[0]?.spanId });
});

t.test('reloads: on, elsewhere, off; what was collected goes to where it was collected for', async (t) => {
  const first = await startOtlpReceiver(t);
  const second = await startOtlpReceiver(t);
  const { url, gateway, platform, reload, log, state } = await startTraced(t, { otlpEndpoint: null });
  const call = async (path: string) => (await fetch(`${url}/api/v2/${path}`)).text();
  await call('users/me');
  t.equal(log.exchanges[0]?.trace, null);
  t.strictSame(await state(), {}, 'no metrics of what there is not');

  await reload({ otlpEndpoint: first.endpoint });
  await call('users/me');
  let answer: (() => void) | undefined;
  platform.script.push((response) => {
    answer = () => response.end('{}');
  });
  const long = call('groups');
  while (answer === undefined) await new Promise((resolve) => setImmediate(resolve));

  await reload({ otlpEndpoint: second.endpoint });
  await first.until(() => serverSpans(first.spans).length === 1);
  answer();
  await long;
  await call('users');

  await reload({ otlpEndpoint: null });
  await second.until(() => serverSpans(second.spans).length === 2);
  await call('users/me');
  t.equal(log.exchanges.at(-1)?.trace, null);
  await gateway.drain();
  t.strictSame(
    [first, second].map(({ spans }) => serverSpans(spans).map(({ name }) => name)),
    [['GET /api/v2/users/me'], ['GET /api/v2/groups', 'GET /api/v2/users']],
    'a call that runs across a reload ends in the new place, with the ids it had',
  );
});

t.test('a collector that hangs holds up neither calls nor the end', async (t) => {
  const receiver = await startOtlpReceiver(t);
  receiver.answer = () => {};
  const { url, gateway, state } = await startTraced(
    t,
    { otlpEndpoint: receiver.endpoint, timeoutMs: 60_000 },
    { config: { server: { drainTimeoutMs: 100 } } },
  );
  let served = 0;
  for (let i = 0; i < 150; i += 1) served += Number((await fetch(`${url}/api/v2/users/me`)).ok);
  t.equal(served, 150);
  await receiver.until(() => receiver.exports.length === 1);
  t.match(await state(), { sent_total: 0, waiting: Number });
  await gateway.drain();
  t.equal(receiver.exports.length, 1);
});

t.test('the way there: trust and proxy of calls, without their certificate, with a header of its own', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const own = ca.issue(['gateway.test']);
  const receiver = await startOtlpReceiver(t, {
    ...ca.issue(['collector.test']),
    requestCert: true,
    rejectUnauthorized: false,
  });
  const proxy = await startConnectProxy();
  t.teardown(() => proxy.close());
  const otlpEndpoint = receiver.endpoint.replace('127.0.0.1', 'collector.test');
  const tracing = { otlpEndpoint, headerName: 'x-key', headerValue: inlineSecret('the-key-of-the-collector', 'test') };
  const through = { url: `http://127.0.0.1:${proxy.port}`, off: false, noProxy: ['127.0.0.1'] };
  const run = async (tls: ConfigOverrides['tls']) => {
    const started = await startTraced(t, tracing, { config: { proxy: through, ...(tls && { tls }) } });
    await (await fetch(`${started.url}/api/v2/users/me`)).text();
    await started.gateway.drain();
    return started;
  };
  await run({ caFile: ca.caFile, certFile: own.certFile, keyFile: own.keyFile });
  t.match(receiver.exports, [{ headers: { 'x-key': 'the-key-of-the-collector' }, showedCertificate: false }]);
  t.match(proxy.asked.at(-1), /^collector\.test:\d+$/);
  const { log } = await run(undefined);
  t.equal(receiver.exports.length, 1, 'without trust nothing is sent');
  t.match(await log.nextLine('spans are not delivered'), { reason: 'gateway.upstream.tls' });
  t.notMatch(JSON.stringify(log.lines), /the-key-of-the-collector/);
});

t.test('a notification socket has a span until it ends', async (t) => {
  const receiver = await startOtlpReceiver(t);
  const { url, gateway, log } = await startGateway(t, { config: { tracing: { otlpEndpoint: receiver.endpoint } } });
  const { connectUri } = await makeChannel(url);
  const socket = await openWebSocket(t, connectUri, { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } });
  socket.close(1000);
  await log.nextExchange(({ status }) => status === 101);
  await gateway.drain();
  const spans = receiver.spans.filter(({ traceId }) => traceId === TRACE);
  t.equal(
    treeOf(spans, ({ kind, name, attributes }) => `${kind} ${name} ${attributes['http.response.status_code']}`),
    '2 GET /streaming/channels/{id} 101\n  3 GET /streaming/channels/{id} 101',
  );
  t.match(spans[0]?.attributes, { 'gcg.close_code': 1000 });
});

t.test('no secret is in a span, whoever puts it where', async (t) => {
  const canaries = createCanaries();
  const receiver = await startOtlpReceiver(t);
  const liveSecrets = createLiveSecrets();
  for (const kind of ['accessToken', 'clientSecret', 'proxyPassword'] as const) liveSecrets.add(canaries[kind]);
  const { url, gateway, platform } = await startTraced(t, { otlpEndpoint: receiver.endpoint }, { liveSecrets });
  platform.script.push(
    status(
      401,
      { 'inin-correlation-id': canaries.accessToken },
      `{"code":"bad.credentials","message":"${canaries.accessToken}"}`,
    ),
    status(
      429,
      { 'inin-correlation-id': canaries.clientSecret, 'retry-after': '0' },
      `{"message":"${canaries.clientSecret}"}`,
    ),
    status(200, { 'inin-correlation-id': canaries.proxyPassword, 'x-other': canaries.password }),
  );
  const escaped = encodeURIComponent(canaries.password);
  await fetch(`${url}/api/v2/users/${escaped}?access_token=${encodeURIComponent(canaries.accessToken)}`, {
    method: 'POST',
    body: JSON.stringify({ secret: canaries.localSecret }),
    headers: {
      traceparent: `00-${TRACE}-${PARENT}-01`,
      tracestate: `rojo=${canaries.code.replaceAll(/[^a-z0-9]/gi, '')}`,
      cookie: canaries.cookie,
      'user-agent': canaries.assertion,
      'x-any': canaries.verifier,
    },
  });
  const { connectUri } = {
    connectUri: `${url}/streaming/channels/${canaries.channelId}?token=${canaries.refreshToken}`,
  };
  await fetch(connectUri);
  await gateway.drain();
  t.ok(receiver.spans.length >= 3);
  const seen = receiver.exports
    .map(({ body, headers }) => body.toString('latin1') + JSON.stringify(headers))
    .join('\n');
  t.strictSame(canaries.scan(seen), []);
});
