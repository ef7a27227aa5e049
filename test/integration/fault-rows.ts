// The fault matrix as data: what goes wrong, and what a GET and a POST come to. fault-matrix.test.ts runs it,
// docs/faults.md shows it.

import type { Socket } from 'node:net';
import type { Test } from 'tap';
import type { ErrorCode } from '../../src/errors.ts';
import type { Switches } from '../../src/sandbox/switches.ts';
import { createTestCa } from '../helpers/certificates.ts';
import type { ConfigOverrides } from '../helpers/gateway.ts';
import { flood, type HostileOptions, type Misbehaviour, startHostileUpstream } from '../helpers/hostile-upstream.ts';
import { startConnectProxy } from '../helpers/proxies.ts';

/**
 * By when the caller has its answer, or the connection is torn: `retries` are up to `retry_max` waits between
 * `retry_wait_min` and `retry_wait_max`.
 */
export type Bound =
  | 'at once'
  | 'retries'
  | 'timeouts.connect'
  | 'timeouts.connect, retries'
  | 'timeouts.headers'
  | 'timeouts.body'
  | 'Retry-After'
  | 'one renewal';

/**
 * What one call comes to. `code`: the gateway answers; without it the upstream's own status arrives. `torn`: the body
 * breaks off visibly.
 */
export interface Outcome {
  readonly status: number;
  readonly code?: ErrorCode;
  readonly retryAfter?: true;
  readonly torn?: true;
  /** Requests that the upstream saw. */
  readonly seen: number;
}

export interface Faulty {
  readonly origin: string;
  seen(): number;
  readonly config?: ConfigOverrides;
}

export interface FaultRow {
  readonly name: string;
  readonly start: (t: Test) => Promise<Faulty>;
  readonly get: Outcome;
  readonly post: Outcome;
  readonly within: Bound;
  /** For the table, where something has to be said. */
  readonly note?: string;
}

export interface FaultGroup {
  readonly title: string;
  readonly rows: readonly FaultRow[];
}

/** Of the matrix' own gateway: small, so that the rows take no time. */
export const MATRIX_TIMES = {
  connectMs: 250,
  headersMs: 400,
  bodyMs: 300,
  totalWaitMs: 380,
  waitMinMs: 5,
  waitMaxMs: 20,
  retryMax: 2,
};
const TRIES = MATRIX_TIMES.retryMax + 1;

const does =
  (misbehaviour: Misbehaviour, options?: HostileOptions): FaultRow['start'] =>
  async (t) => {
    const upstream = await startHostileUpstream(t, misbehaviour, options);
    return { origin: upstream.origin, seen: () => upstream.seen.length };
  };
const answers = (text: string, then: (socket: Socket) => void = () => {}) =>
  does({
    onRequest(socket) {
      socket.write(text, 'latin1');
      then(socket);
    },
  });
const end = (socket: Socket) => void socket.end();
const resetSoon = (socket: Socket) => void setTimeout(() => socket.resetAndDestroy(), 20);
const status = (line: string, headers: readonly string[] = [], body = '{}') =>
  `HTTP/1.1 ${line}\r\n${headers.map((header) => `${header}\r\n`).join('')}Content-Type: ` +
  `application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const limited = (limit: object | null, retryAfter: string) =>
  status(
    '429 Too Many Requests',
    [`Retry-After: ${retryAfter}`],
    JSON.stringify({ code: 'too.many.requests.retry.after', status: 429, ...(limit && { limit }) }),
  );

/** The same for both methods. */
const both = (outcome: Outcome) => ({ get: outcome, post: outcome });
/** The gateway's answer after all tries of a GET; a POST is sent once. */
const failsAfterRetries = (code: ErrorCode, httpStatus: number) => ({
  get: { status: httpStatus, code, seen: TRIES },
  post: { status: httpStatus, code, seen: 1 },
});
const passes = (httpStatus: number): Pick<FaultRow, 'get' | 'post' | 'within'> => ({
  ...both({ status: httpStatus, seen: 1 }),
  within: 'at once',
});

const TOKEN_LIMIT = { key: 'client.credentials.token.rate.per.minute', namespace: 'platform.api', value: 300 };
const SERVICE_LIMIT = { key: 'user.rate.per.minute', namespace: 'directory', value: 180 };
const ORGANIZATION_LIMIT = { key: 'org.rate.per.minute', namespace: 'routing', value: 600 };

export const FAULTS: readonly FaultGroup[] = [
  {
    title: 'No connection',
    rows: [
      {
        name: 'the name does not resolve',
        start: async () => ({ origin: `http://${'x'.repeat(64)}.invalid`, seen: () => 0 }),
        ...both({ status: 502, code: 'gateway.upstream.unreachable', seen: 0 }),
        within: 'retries',
      },
      {
        name: 'the connection is refused',
        start: async (t) => {
          const upstream = await startHostileUpstream(t, {});
          await upstream.stopListening();
          return { origin: upstream.origin, seen: () => 0 };
        },
        ...both({ status: 502, code: 'gateway.upstream.unreachable', seen: 0 }),
        within: 'retries',
      },
      {
        name: 'the dial hangs (here: in the TLS handshake)',
        start: async (t) => {
          const upstream = await startHostileUpstream(t, {});
          return { origin: upstream.origin.replace('http:', 'https:'), seen: () => upstream.seen.length };
        },
        ...both({ status: 504, code: 'gateway.upstream.timeout', seen: 0 }),
        within: 'timeouts.connect, retries',
      },
      {
        name: 'the connection is reset as soon as it stands',
        start: does({ onConnection: (socket) => void socket.resetAndDestroy() }),
        ...both({ status: 502, code: 'gateway.upstream.unreachable', seen: 0 }),
        within: 'retries',
      },
      {
        name: 'the certificate is not trusted',
        start: async (t) => {
          const ca = await createTestCa('Nobody knows this authority');
          t.teardown(() => ca.close());
          const upstream = await startHostileUpstream(t, {}, { tls: ca.issue(['127.0.0.1']) });
          return { origin: upstream.origin, seen: () => upstream.seen.length };
        },
        ...both({ status: 502, code: 'gateway.upstream.tls', seen: 0 }),
        within: 'at once',
      },
      {
        name: 'the corporate proxy answers 407',
        start: async (t) => {
          const proxy = await startConnectProxy({ login: 'somebody:else' });
          t.teardown(() => proxy.close());
          return {
            origin: 'http://api.region.invalid',
            seen: () => 0,
            config: { proxy: { url: `http://127.0.0.1:${proxy.port}`, off: false } },
          };
        },
        ...both({ status: 502, code: 'gateway.proxy.auth', seen: 0 }),
        within: 'at once',
      },
      {
        name: 'the corporate proxy refuses the tunnel (403)',
        start: async (t) => {
          const proxy = await startConnectProxy({ answer: 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n' });
          t.teardown(() => proxy.close());
          return {
            origin: 'http://api.region.invalid',
            seen: () => 0,
            config: { proxy: { url: `http://127.0.0.1:${proxy.port}`, off: false } },
          };
        },
        ...both({ status: 502, code: 'gateway.proxy.refused', seen: 0 }),
        within: 'at once',
      },
      {
        name: 'the corporate proxy is not there',
        start: async (t) => {
          const gone = await startHostileUpstream(t, {});
          await gone.stopListening();
          return {
            origin: 'http://api.region.invalid',
            seen: () => 0,
            config: { proxy: { url: gone.origin, off: false } },
          };
        },
        ...both({ status: 502, code: 'gateway.proxy.refused', seen: 0 }),
        within: 'retries',
      },
    ],
  },
  {
    title: 'No answer, or none that can be understood',
    rows: [
      {
        name: 'the connection is reset after the head of the request',
        start: does({ onHead: (socket) => void socket.resetAndDestroy() }),
        ...failsAfterRetries('gateway.upstream.unreachable', 502),
        within: 'retries',
      },
      {
        name: 'the connection is closed without an answer',
        start: does({ onRequest: end }),
        ...failsAfterRetries('gateway.upstream.unreachable', 502),
        within: 'retries',
      },
      {
        name: 'half-close: the upstream ends its side and goes on reading',
        start: does({ onRequest: end }, { allowHalfOpen: true }),
        ...failsAfterRetries('gateway.upstream.unreachable', 502),
        within: 'retries',
      },
      {
        name: 'nothing comes',
        start: does({}),
        ...both({ status: 504, code: 'gateway.upstream.timeout', seen: 1 }),
        within: 'timeouts.headers',
        note: 'by default that is longer than `total_wait`, so nothing is tried again',
      },
      {
        name: 'the head of the answer drips, one octet at a time',
        start: does({
          onRequest(socket) {
            socket.write('HTTP/1.1 200 OK\r\nX-Slow: ');
            flood(socket, 'x', 20);
          },
        }),
        ...both({ status: 504, code: 'gateway.upstream.timeout', seen: 1 }),
        within: 'timeouts.headers',
      },
      {
        name: 'cut in the status line',
        start: answers('HTTP/1.1 20', end),
        ...failsAfterRetries('gateway.upstream.unreachable', 502),
        within: 'retries',
      },
      {
        name: 'cut in the headers',
        start: answers('HTTP/1.1 200 OK\r\nContent-Le', end),
        ...failsAfterRetries('gateway.upstream.unreachable', 502),
        within: 'retries',
      },
      {
        name: 'a status line that is not HTTP',
        start: answers('SSH-2.0-OpenSSH_9.9\r\n\r\n'),
        ...both({ status: 502, code: 'gateway.upstream.invalid', seen: 1 }),
        within: 'at once',
      },
      {
        name: 'a header line that is not one',
        start: answers('HTTP/1.1 200 OK\r\nno colon here\r\n\r\n'),
        ...both({ status: 502, code: 'gateway.upstream.invalid', seen: 1 }),
        within: 'at once',
      },
      {
        name: 'two lengths that contradict each other',
        start: answers('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'),
        ...both({ status: 502, code: 'gateway.upstream.invalid', seen: 1 }),
        within: 'at once',
      },
      {
        name: 'a length together with chunks',
        start: answers(
          'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
        ),
        ...both({ status: 502, code: 'gateway.upstream.invalid', seen: 1 }),
        within: 'at once',
      },
      {
        name: 'headers without end',
        start: does({
          onRequest(socket) {
            socket.write('HTTP/1.1 200 OK\r\n');
            flood(socket, `X-More: ${'x'.repeat(8_000)}\r\n`);
          },
        }),
        ...both({ status: 502, code: 'gateway.upstream.invalid', seen: 1 }),
        within: 'at once',
        note: 'at 64 KiB',
      },
      {
        name: 'a flood of 1xx answers',
        start: does({ onRequest: (socket) => flood(socket, 'HTTP/1.1 102 Processing\r\n\r\n', 2) }),
        ...both({ status: 504, code: 'gateway.upstream.timeout', seen: 1 }),
        within: 'timeouts.headers',
      },
      {
        name: 'a 101 that nobody asked for',
        start: answers('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'),
        ...both({ status: 502, code: 'gateway.upstream.invalid', seen: 1 }),
        within: 'at once',
      },
    ],
  },
  {
    title: 'An answer that breaks off: never tried again, and never made to look complete',
    rows: [
      {
        name: 'closed before the length that was announced',
        start: answers('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":', end),
        ...both({ status: 200, torn: true, seen: 1 }),
        within: 'at once',
      },
      {
        name: 'reset before the length that was announced',
        start: answers('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":', resetSoon),
        ...both({ status: 200, torn: true, seen: 1 }),
        within: 'at once',
      },
      {
        name: 'closed between two chunks',
        start: answers('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n', end),
        ...both({ status: 200, torn: true, seen: 1 }),
        within: 'at once',
      },
      {
        name: 'a chunk whose size is no number',
        start: answers('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nxyz\r\n'),
        ...both({ status: 200, torn: true, seen: 1 }),
        within: 'at once',
      },
      {
        name: 'a body without length that ends by a reset',
        start: answers('HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\na,b,c', resetSoon),
        ...both({ status: 200, torn: true, seen: 1 }),
        within: 'at once',
      },
      {
        name: 'the body stops coming',
        start: answers('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":'),
        ...both({ status: 200, torn: true, seen: 1 }),
        within: 'timeouts.body',
      },
    ],
  },
  {
    title: 'Odd, but whole',
    rows: [
      {
        name: 'a body without length that ends by a close',
        start: answers('HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\na,b,c', end),
        ...passes(200),
      },
      {
        name: 'octets after a complete answer',
        start: answers(`${status('200 OK')}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`),
        ...passes(200),
        note: 'the connection is dropped: they never become the next answer',
      },
      {
        name: 'the body drips, but keeps coming',
        start: does({
          onRequest(socket) {
            socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n');
            let left = 10;
            const timer = setInterval(() => {
              socket.write('x');
              left -= 1;
              if (left === 0) clearInterval(timer);
            }, 50);
          },
        }),
        ...both({ status: 200, seen: 1 }),
        within: 'timeouts.body',
        note: 'between two octets, not over all of them',
      },
    ],
  },
  {
    title: 'Answers of the platform',
    rows: [
      {
        name: '401 that speaks of the token',
        start: async (t) => {
          const upstream = await startHostileUpstream(t, {
            onRequest: (socket) =>
              void socket.write(status('401 Unauthorized', [], '{"code":"bad.credentials","status":401}')),
          });
          return {
            origin: upstream.origin,
            seen: () => upstream.seen.length,
            config: { timeouts: { totalWaitMs: 5_000 } },
          };
        },
        ...both({ status: 401, seen: 2 }),
        within: 'one renewal',
        note: 'one renewal, one replay; refused calls were not executed. Then a minute without another',
      },
      {
        name: '401 with another code',
        start: answers(status('401 Unauthorized', [], '{"code":"not.authorized","status":401}')),
        ...passes(401),
      },
      { name: '403', start: answers(status('403 Forbidden')), ...passes(403) },
      { name: '408', start: answers(status('408 Request Timeout')), ...passes(408) },
      {
        name: '429 of a token-wide limit, Retry-After within `total_wait`',
        start: async (t) => {
          const upstream = await startHostileUpstream(t, {
            onRequest: (socket, nth) => void socket.write(nth === 1 ? limited(TOKEN_LIMIT, '1') : status('200 OK')),
          });
          return {
            origin: upstream.origin,
            seen: () => upstream.seen.length,
            config: { timeouts: { totalWaitMs: 5_000 } },
          };
        },
        ...both({ status: 200, seen: 2 }),
        within: 'Retry-After',
        note: 'every call of the credential waits; refused calls were not executed',
      },
      {
        name: '429 of a token-wide limit, Retry-After beyond `total_wait`',
        start: answers(limited(TOKEN_LIMIT, '60')),
        ...passes(429),
        note: 'further calls of the credential get 429 `gateway.rate.limited` at once, with what is left of it',
      },
      {
        name: '429 of a service’s limit, Retry-After beyond `total_wait`',
        start: answers(limited(SERVICE_LIMIT, '60')),
        ...passes(429),
        note: 'as above, for the routes that were refused for it: [limits.md](limits.md)',
      },
      {
        name: '429 of an organisation’s limit, Retry-After beyond `total_wait`',
        start: answers(limited(ORGANIZATION_LIMIT, '60')),
        ...passes(429),
        note: 'as above, for all credentials of that organisation',
      },
      {
        name: '429 that names no limit, Retry-After beyond `total_wait`',
        start: answers(limited(null, '60')),
        ...passes(429),
        note: 'as above, for the same method and route alone',
      },
      { name: '500', start: answers(status('500 Internal Server Error')), ...passes(500) },
      {
        name: '502',
        start: answers(status('502 Bad Gateway')),
        get: { status: 502, seen: TRIES },
        post: { status: 502, seen: 1 },
        within: 'retries',
      },
      {
        name: '503 without Retry-After',
        start: answers(status('503 Service Unavailable')),
        get: { status: 503, seen: TRIES },
        post: { status: 503, seen: 1 },
        within: 'retries',
      },
      {
        name: '503 with a Retry-After within `total_wait`',
        start: async (t) => {
          const upstream = await startHostileUpstream(t, {
            onRequest: (socket, nth) =>
              void socket.write(nth === 1 ? status('503 Service Unavailable', ['Retry-After: 1']) : status('200 OK')),
          });
          return {
            origin: upstream.origin,
            seen: () => upstream.seen.length,
            config: { timeouts: { totalWaitMs: 5_000 } },
          };
        },
        get: { status: 200, seen: 2 },
        post: { status: 503, seen: 1 },
        within: 'Retry-After',
      },
      {
        name: '503 with a Retry-After beyond `total_wait`',
        start: answers(status('503 Service Unavailable', ['Retry-After: 60'])),
        ...passes(503),
      },
      {
        name: '504',
        start: answers(status('504 Gateway Timeout')),
        get: { status: 504, seen: TRIES },
        post: { status: 504, seen: 1 },
        within: 'retries',
      },
    ],
  },
];

/** A way for the token endpoint to fail while there is no token yet. Nothing is ever sent to the API then. */
export interface TokenFaultRow {
  readonly name: string;
  readonly switches?: Partial<Switches>;
  /** Overrides of the credential. */
  readonly secret?: string;
  readonly code: 'gateway.credential.unavailable' | 'gateway.credential.rejected';
  readonly within: 'at once' | 'timeouts.token';
}

const fault = (
  name: string,
  tokenEndpoint: NonNullable<Switches['tokenEndpoint']>,
  within: TokenFaultRow['within'] = 'at once',
): TokenFaultRow => ({
  name,
  switches: { tokenEndpoint },
  code: 'gateway.credential.unavailable',
  within,
});

export const TOKEN_FAULTS: readonly TokenFaultRow[] = [
  fault('closes the connection', { fault: 'down' }),
  fault('never answers', { fault: 'hang' }, 'timeouts.token'),
  fault('drips its answer', { fault: 'drip', delayMs: 50 }, 'timeouts.token'),
  fault('answers 500', { fault: 'status', status: 500 }),
  fault('answers 503 with Retry-After', { fault: 'status', status: 503, retryAfterS: 7 }),
  fault('answers 429 with Retry-After', { fault: 'status', status: 429, retryAfterS: 7 }),
  {
    name: 'throttles logins: 400 invalid_request, "rate limit exceeded"',
    switches: { throttleLogin: {} },
    code: 'gateway.credential.unavailable',
    within: 'at once',
  },
  fault('answers 200 without a body', { fault: 'empty' }),
  fault('answers 200 with a web page', { fault: 'html' }),
  fault('answers 200 with half a document', { fault: 'malformed' }),
  fault('answers 200 without a token', { fault: 'no-token' }),
  fault('answers 200 with a line break in the token', { fault: 'line-break' }),
  fault('answers 200 compressed, unasked', { fault: 'gzip' }),
  fault('answers 200 with 20 MiB', { fault: 'huge' }),
  fault('breaks off in the middle of its answer', { fault: 'cut' }),
  fault('grants the token and loses the answer', { fault: 'lost' }),
  {
    name: 'refuses the client secret',
    secret: 'not-the-secret',
    code: 'gateway.credential.rejected',
    within: 'at once',
  },
];
