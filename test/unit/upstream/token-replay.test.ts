// The token on a call: never one that has ended, and after a 401 that speaks of it, once another.

import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { createToken, type Token, type TokenSource } from '../../../src/auth/credentials/token-source.ts';
import { GatewayError } from '../../../src/errors.ts';
import { Secret } from '../../../src/secret.ts';
import { QueueCapacity, type UpstreamResponse } from '../../../src/upstream/call.ts';
import { UpstreamDispatcher } from '../../../src/upstream/dispatcher.ts';
import { NO_BODY, type RequestBody } from '../../../src/upstream/request-body.ts';
import { withToken } from '../../../src/upstream/token.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { startRawUpstream } from '../../helpers/raw-http.ts';
import { createCall, createResponse } from './layer-fixtures.ts';

const tokenOf = (clock: FakeClock, value: string, lifeMs: number) =>
  createToken({ accessToken: new Secret(value), obtainedAt: clock.now(), expiresAt: clock.now() + lifeMs });

const routeOf = (_method: string, target: string) => target;

/** Hands out `tokens` one after the other: the first that is not over. */
function sourceOf(clock: FakeClock, tokens: Token[], invalidated: string[] = []): TokenSource {
  const current = () => tokens.find(({ expiresAt }) => clock.now() < expiresAt) ?? null;
  return {
    current,
    token: async () => current() as Token,
    successor: async () => current() as Token,
    invalidate(token: Token) {
      invalidated.push(token.accessToken.reveal());
      tokens.shift();
      return true;
    },
  } as unknown as TokenSource;
}

/** One connection to an upstream that answers when it is told to. */
async function narrow(t: Test, clock: FakeClock) {
  const seen: string[] = [];
  const bodies: string[] = [];
  const arrivals: (() => void)[] = [];
  const upstream = await startRawUpstream(t, (socket, request) => {
    seen.push(/^authorization: (.*)$/im.exec(request)?.[1] ?? 'none');
    bodies.push(request.slice(request.indexOf('\r\n\r\n') + 4));
    const answer = () => socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    if (seen.length > 1 || request.startsWith('POST')) answer();
    else arrivals.push(answer);
    arrived();
  });
  let arrived = () => {};
  const first = new Promise<void>((resolve) => (arrived = resolve));
  const dispatcher = new UpstreamDispatcher({
    connect: (_options, callback) => {
      const socket = connect(upstream.port, '127.0.0.1', () => callback(null, socket));
    },
    ...{ clock, random: () => 0, connections: 1, capacity: new QueueCapacity(1000) },
    headersMs: 60_000,
    bodyMs: 60_000,
  });
  t.teardown(() => dispatcher.destroy());
  return {
    seen,
    bodies,
    first,
    answerFirst: () => arrivals[0]?.(),
    send: withToken(dispatcher.send, { clock, routeOf }),
    origin: upstream.origin,
  };
}

t.test(
  'a token that ended while its call waited for a connection, or the machine slept, is not sent: the present one is',
  async (t) => {
    const clock = createFakeClock();
    const { seen, first, answerFirst, send, origin } = await narrow(t, clock);
    const call = (tokens: Token[]) => ({ ...createCall({ origin }), source: sourceOf(clock, tokens) });
    const holding = send(call([tokenOf(clock, 'long', 3_600_000)]));
    await first;
    const waits = call([tokenOf(clock, 'short', 1_000), tokenOf(clock, 'next', 3_600_000)]);
    const waiting = send(waits);
    clock.stepWall(60_000);
    answerFirst();
    t.equal((await holding).statusCode, 204);
    t.equal((await waiting).statusCode, 204);
    t.same(seen, ['Bearer long', 'Bearer next']);
    t.equal(waits.record.tokenFingerprint, tokenOf(clock, 'next', 1).fingerprint, 'the record tells which');
  },
);

t.test('nothing of an upload is lost when its token ends while its connection is opened', async (t) => {
  const clock = createFakeClock();
  const { bodies, seen, send, origin } = await narrow(t, clock);
  let attempts = 0;
  const body: RequestBody = {
    ...NO_BODY,
    isStreaming: true,
    async *attempt() {
      attempts += 1;
      yield Buffer.from('first,');
      yield Buffer.from('second');
    },
  };
  const source = sourceOf(clock, [tokenOf(clock, 'short', 1_000), tokenOf(clock, 'next', 3_600_000)]);
  const sent = send({
    ...createCall({ origin, method: 'POST', body }),
    source,
    headers: ['Content-Length', '12', 'Authorization', ''],
  });
  clock.stepWall(60_000);
  t.equal((await sent).statusCode, 204);
  t.same(seen, ['Bearer next']);
  t.same(bodies, ['first,second']);
  t.equal(attempts, 1, 'the first was not begun');
});

t.test('a 401 whose body breaks off has no readable code, so it speaks of the token', async (t) => {
  const clock = createFakeClock();
  const invalidated: string[] = [];
  const broken: UpstreamResponse = {
    ...createResponse(401),
    peek: () => Promise.reject(new GatewayError('gateway.upstream.unreachable', 'broke off')),
  };
  const answers = [broken, createResponse(200)];
  const send = withToken(async () => answers.shift() as UpstreamResponse, { clock, routeOf });
  const source = sourceOf(clock, [tokenOf(clock, 'one', 1_000), tokenOf(clock, 'two', 1_000)], invalidated);
  t.equal((await send({ ...createCall(), source })).statusCode, 200);
  t.same(invalidated, ['one']);
});

t.test('a wait that ends names the credential, not what its limits are counted by', async (t) => {
  const clock = createFakeClock();
  const source = { current: () => null, token: () => new Promise(() => {}) } as unknown as TokenSource;
  const call = { ...createCall({ credential: 'crm/5e551041d' }), source, waitUntil: 1_000 };
  call.record.credential = 'crm';
  const sent = withToken(async () => createResponse(200), { clock, routeOf })(call);
  const [error] = await Promise.all([sent.catch((thrown) => thrown), clock.advance(1_000)]);
  t.match(error, { code: 'gateway.credential.timeout', message: /credential crm came/ });
  t.notMatch(error.message, /5e551041d/);
});

t.test('a call whose token has ended before it was sent goes on with another of the same credential', async (t) => {
  const clock = createFakeClock();
  const ended = sourceOf(clock, []);
  const other = sourceOf(clock, [tokenOf(clock, 'other', 60_000)]);
  const sent: string[] = [];
  const send = withToken(
    async (request) => {
      sent.push(request.headers.at(-1) ?? '');
      return createResponse(200);
    },
    { clock, routeOf },
  );
  const choices = [other, ended];
  const request = {
    ...createCall(),
    source: ended,
    choice: {
      moveOn(call: { source: TokenSource }) {
        call.source = choices.shift() as TokenSource;
        return true;
      },
    },
  };
  t.equal((await send(request)).statusCode, 200);
  t.strictSame(sent, ['Bearer other']);
  t.equal(choices.length, 1, 'asked for once');
});
