// Spans of calls, as a collector receives them: the tree of a call, who decides which calls have one, what reloads do,
// collectors that fail, the way there, and that no secret is in them.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/clock.ts';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import { createFakeClock, type FakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, configAt, createTestLog, type TestLog } from '../helpers/gateway.ts';
import { type ReceivedSpan, startOtlpReceiver, treeOf } from '../helpers/otlp-receiver.ts';

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
  { clock, config = {} }: { clock?: Clock; config?: ConfigOverrides } = {},
): Promise<Traced> {
  const platform = await startPlatform(t);
  const log = createTestLog();
  const configured = (settings: ConfigOverrides['tracing']) =>
    configAt(platform.origin, { ...config, ...(settings && { tracing: settings }) });
  const gateway = await createGateway(configured(tracing), {
    log,
    env: {},
    random: () => 0.5,
    ...(clock && { clock }),
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
