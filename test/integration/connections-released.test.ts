// Every place at the gate is free again after its call, however that ended: a place that leaks is a connection less for
// good.

import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { GatewayError } from '../../src/errors.ts';
import { QueueCapacity, type UpstreamResponse } from '../../src/upstream/call.ts';
import { UpstreamDispatcher } from '../../src/upstream/dispatcher.ts';
import { NO_BODY, type RequestBody } from '../../src/upstream/request-body.ts';
import { startRawServer } from '../helpers/raw-http.ts';
import { createCall, type TestCall } from '../unit/upstream/layer-fixtures.ts';

const CONNECTIONS = 2;
const CALLS = 8;
const BIG = 4 * 1024 * 1024;

/** How the upstream behaves, by the last segment of the path. */
const ANSWERS: Record<string, (socket: Socket) => void> = {
  whole: (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'),
  bodiless: (socket) => socket.write('HTTP/1.1 204 No Content\r\n\r\n'),
  unchanged: (socket) => socket.write('HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n'),
  closing: (socket) => socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}'),
  never: () => {},
  reset: (socket) => socket.resetAndDestroy(),
  half: (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
  cut: (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
  big: (socket) =>
    socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${BIG}\r\n\r\n`), Buffer.alloc(BIG)])),
  garbage: (socket) => socket.write('not HTTP at all\r\n\r\n'),
};

const sink = (wantsMore: boolean) => {
  let settle = () => {};
  const over = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { write: () => wantsMore, end: () => settle(), fail: () => settle(), over };
};
const read = (answer: UpstreamResponse) => {
  const to = sink(true);
  answer.pipe(to);
  return to.over;
};

/** An upload of one piece, then either the rest, or nothing any more, or a failure. */
const upload = (rest: 'comes' | 'stalls' | 'breaks'): RequestBody => ({
  ...NO_BODY,
  canReplay: false,
  isStreaming: true,
  async *attempt() {
    yield Buffer.from('first');
    if (rest === 'stalls') await new Promise(() => {});
    if (rest === 'breaks') throw new GatewayError('gateway.request.invalid', 'the request broke off');
    yield Buffer.from('second');
  },
});

interface Row {
  readonly path?: string;
  readonly method?: string;
  readonly body?: () => RequestBody;
  readonly headersMs?: number;
  readonly bodyMs?: number;
  readonly waitMs?: number;
  readonly dials?: 'fail' | 'hang' | 'hang, then fail' | 'hang, then connect';
  readonly headers?: string[];
  /** Does something with each answer, or with a call that has none yet. */
  readonly uses?: (answer: UpstreamResponse) => unknown;
  readonly leave?: boolean;
  readonly destroy?: boolean;
}

const ROWS: Record<string, Row> = {
  'a whole answer': { path: 'whole', uses: read },
  'a whole answer to a POST': { path: 'whole', method: 'POST', uses: read },
  'an answer without a body': { path: 'bodiless', uses: read },
  'a 304 that names a length': { path: 'unchanged', uses: read },
  'an answer that ends its connection': { path: 'closing', uses: read },
  'an answer that is discarded': { path: 'whole', uses: (answer) => answer.discard() },
  'a big answer that is discarded': { path: 'big', uses: (answer) => answer.discard() },
  'an answer that is given up': {
    path: 'half',
    uses: (answer) => answer.abort(new GatewayError('gateway.internal', 'not wanted')),
  },
  'an answer that is peeked at and given up': {
    path: 'half',
    uses(answer) {
      answer.peek(1_000).catch(() => {});
      answer.abort(new GatewayError('gateway.internal', 'not wanted'));
    },
  },
  'an answer that is cut': { path: 'cut', uses: read },
  'an answer that stops coming': { path: 'half', bodyMs: 60, uses: read },
  'a reader that stalls': { path: 'big', bodyMs: 60, uses: (answer) => answer.pipe(sink(false)) },
  'a reader that stalls and leaves': {
    path: 'big',
    uses(answer) {
      answer.pipe(sink(false));
      answer.abort(new GatewayError('gateway.internal', 'left'));
    },
  },
  'a connection that is reset': { path: 'reset' },
  'an answer that is not HTTP': { path: 'garbage' },
  'no answer': { path: 'never', headersMs: 60 },
  'no answer, to callers that leave': { path: 'never', leave: true },
  'no connection within total_wait': { path: 'never', waitMs: 30, headersMs: 120 },
  'an upload': {
    path: 'whole',
    method: 'POST',
    body: () => upload('comes'),
    headers: ['Content-Length', '11'],
    uses: read,
  },
  'an upload that stalls, answered early': {
    path: 'whole',
    method: 'POST',
    body: () => upload('stalls'),
    headers: ['Content-Length', '11'],
    uses: read,
  },
  'an upload that stalls, by callers that leave': {
    path: 'never',
    method: 'POST',
    body: () => upload('stalls'),
    headers: ['Content-Length', '11'],
    leave: true,
  },
  'an upload that breaks off': {
    path: 'never',
    method: 'POST',
    body: () => upload('breaks'),
    headers: ['Content-Length', '11'],
  },
  'a dial that fails': { dials: 'fail' },
  'a dial that hangs and fails': { dials: 'hang, then fail' },
  'a dial that hangs, by callers that leave, and fails': { dials: 'hang, then fail', leave: true },
  'a dial that hangs, by callers that leave, and succeeds': { dials: 'hang, then connect', leave: true },
  'a request that undici refuses': { path: 'whole', headers: ['Transfer-Encoding', 'nonsense, \u0000'] },
  'a gateway that ends its connections': { path: 'never', destroy: true },
  'a gateway that ends while it dials': { dials: 'hang', destroy: true },
};

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** The port of an upstream that behaves as it is asked to. */
async function startUpstream(t: Test) {
  return startRawServer(t, (socket) => {
    let begun = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      begun += text;
      const path = /^[A-Z]+ \S*\/(\w+) HTTP/m.exec(begun)?.[1];
      if (path === undefined || !begun.includes('\r\n\r\n')) return;
      begun = '';
      ANSWERS[path]?.(socket);
    });
  });
}

async function run(t: Test, row: Row): Promise<void> {
  const upstream = await startUpstream(t);
  const hanging: (() => void)[] = [];
  let dials = row.dials ?? 'connect';
  const capacity = new QueueCapacity(1_000);
  const dispatcher = new UpstreamDispatcher({
    connect(_options, callback) {
      const fail = () => callback(new GatewayError('gateway.upstream.unreachable', 'refused by the test'), null);
      const dial = () => {
        const socket = connect(upstream.port, '127.0.0.1', () => {
          socket.off('error', fail);
          callback(null, socket);
        });
        socket.once('error', fail);
      };
      if (dials === 'fail') fail();
      else if (dials === 'hang') hanging.push(() => {});
      else if (dials === 'hang, then fail') hanging.push(fail);
      else if (dials === 'hang, then connect') hanging.push(dial);
      else dial();
    },
    clock: systemClock,
    random: () => 0.5,
    connections: CONNECTIONS,
    capacity,
    headersMs: row.headersMs ?? 60_000,
    bodyMs: row.bodyMs ?? 60_000,
  });
  t.teardown(() => dispatcher.destroy());
  const callTo = (path: string): TestCall => {
    const call = createCall({
      origin: upstream.origin,
      target: `/api/v2/${path}`,
      method: row.method ?? 'GET',
      ...(row.body && { body: row.body() }),
    });
    call.headers.unshift(...(row.headers ?? []));
    if (row.waitMs !== undefined) call.waitUntil = systemClock.monotonic() + row.waitMs;
    return call;
  };
  const calls = Array.from({ length: CALLS }, () => callTo(row.path ?? 'whole'));
  const ended = calls.map((call) => dispatcher.send(call).then(row.uses ?? ((answer) => answer.discard()), () => {}));
  t.ok(
    dispatcher.occupancy().waiting > 0 || row.dials === 'fail' || row.headers !== undefined,
    'more than there are connections',
  );
  await until(
    () => dispatcher.occupancy().waiting === 0 || row.leave === true || row.destroy === true || hanging.length > 0,
  );
  if (row.leave) for (const call of calls) call.leave();
  if (row.destroy) await dispatcher.destroy();
  while (dispatcher.occupancy().running > 0 || dispatcher.occupancy().waiting > 0) {
    for (const settle of hanging.splice(0)) settle();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await Promise.all(ended);
  t.same(dispatcher.occupancy(), { running: 0, waiting: 0 });
  t.equal(capacity.waiting, 0);
  if (row.destroy || row.dials) return;
  // As many at once as before, and held: none is missing.
  dials = 'connect';
  const again = Array.from({ length: CONNECTIONS + 1 }, () =>
    createCall({ origin: upstream.origin, target: '/api/v2/never' }),
  );
  for (const call of again) dispatcher.send(call).catch(() => {});
  await until(() => dispatcher.occupancy().running === CONNECTIONS);
  t.equal(dispatcher.occupancy().waiting, 1);
  for (const call of again) call.leave();
}

for (const [name, row] of Object.entries(ROWS)) t.test(`all places are free again after ${name}`, (t) => run(t, row));

t.test('a call that waited goes by the connection that came free, not by another new one', async (t) => {
  const upstream = await startUpstream(t);
  let dials = 0;
  const dispatcher = new UpstreamDispatcher({
    connect(_options, callback) {
      dials += 1;
      const socket = connect(upstream.port, '127.0.0.1', () => callback(null, socket));
    },
    clock: systemClock,
    random: () => 0.5,
    connections: 4,
    capacity: new QueueCapacity(1_000),
    headersMs: 60_000,
    bodyMs: 60_000,
  });
  t.teardown(() => dispatcher.destroy());
  const call = (nth: number) =>
    dispatcher
      .send(createCall({ origin: upstream.origin, target: '/api/v2/whole', client: `client-${nth % 3}` }))
      .then(read);
  await Promise.all(Array.from({ length: 300 }, (_, nth) => call(nth)));
  t.equal(dials, 4);
});
