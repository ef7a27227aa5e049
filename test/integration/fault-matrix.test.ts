// Every row of the fault matrix: what the caller gets, within what time, and how often the upstream saw it.

import { request as httpRequest } from 'node:http';
import t, { type Test } from 'tap';
import { givenTokenConfig } from '../helpers/direct.ts';
import { type ConfigOverrides, startGatewayWith } from '../helpers/gateway.ts';
import { type Bound, FAULTS, type FaultRow, MATRIX_TIMES, type Outcome } from './fault-rows.ts';

const { connectMs, headersMs, bodyMs, totalWaitMs, waitMinMs, waitMaxMs, retryMax } = MATRIX_TIMES;

/** Longest time by bound, and what a loaded machine may add. */
const BOUNDS: Record<Bound, number> = {
  'at once': 0,
  retries: retryMax * waitMaxMs,
  'timeouts.connect': connectMs,
  'timeouts.connect, retries': (retryMax + 1) * connectMs + retryMax * waitMaxMs,
  'timeouts.headers': headersMs,
  'timeouts.body': bodyMs + 10 * 50,
  'Retry-After': 1_000,
  // Never sooner than a second after the one before.
  'one renewal': 1_000,
};
/** A call that no bound ends goes on for longer than this. */
const SLACK_MS = 10_000;
/** `timeouts.connect` of the rows that it does not end: a busy machine opens a connection in less. */
const PATIENT_CONNECT_MS = 30_000;

interface Received {
  status: number | null;
  code: string | undefined;
  retryAfter: string | undefined;
  id: string | undefined;
  body: string;
  isWhole: boolean;
  tookMs: number;
}

function call(port: number, method: string): Promise<Received> {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const received: Received = {
      status: null,
      code: undefined,
      retryAfter: undefined,
      id: undefined,
      body: '',
      isWhole: false,
      tookMs: 0,
    };
    const finish = () => resolve({ ...received, tookMs: performance.now() - startedAt });
    const headers = method === 'POST' ? { 'content-type': 'application/json', 'content-length': '13' } : {};
    const message = httpRequest(
      { port, host: '127.0.0.1', method, path: '/api/v2/users', headers, agent: false },
      (answer) => {
        received.status = answer.statusCode ?? null;
        received.code = answer.headers['x-gateway-error'] as string | undefined;
        received.retryAfter = answer.headers['retry-after'];
        received.id = answer.headers['x-gateway-request-id'] as string | undefined;
        answer.on('data', (chunk: Buffer) => {
          received.body += chunk.toString('latin1');
        });
        answer.on('error', () => {});
        answer.on('close', () => {
          received.isWhole = answer.complete;
          finish();
        });
      },
    );
    message.on('error', finish);
    message.end(method === 'POST' ? '{"name":"new"}'.slice(0, 13) : undefined);
  });
}

async function startRow(t: Test, row: FaultRow) {
  const { origin, seen, config = {} } = await row.start(t);
  const isConnectTimed = row.within === 'timeouts.connect' || row.within === 'timeouts.connect, retries';
  const overrides: ConfigOverrides = {
    ...config,
    timeouts: {
      connectMs: isConnectTimed ? connectMs : PATIENT_CONNECT_MS,
      headersMs,
      bodyMs,
      totalWaitMs,
      ...config.timeouts,
    },
    retry: { max: retryMax, waitMinMs, waitMaxMs },
  };
  const { port, log } = await startGatewayWith(t, givenTokenConfig(origin, overrides));
  return { port, log, seen };
}

function check(t: Test, received: Received, expected: Outcome, within: Bound): void {
  t.equal(received.status, expected.status, 'status');
  t.equal(received.code, expected.code, 'X-Gateway-Error');
  t.equal(
    received.isWhole,
    expected.torn !== true,
    expected.torn ? 'the answer is visibly cut' : 'the answer is whole',
  );
  if (expected.retryAfter) t.match(received.retryAfter, /^[1-9]\d*$/);
  t.ok(received.tookMs <= BOUNDS[within] + SLACK_MS, `took ${Math.round(received.tookMs)} ms, bound ${BOUNDS[within]}`);
}

for (const { title, rows } of FAULTS) {
  t.test(title, { jobs: 4 }, async (t) => {
    for (const row of rows) {
      for (const [method, expected] of [
        ['GET', row.get],
        ['POST', row.post],
      ] as const) {
        t.test(`${method}: ${row.name}`, async (t) => {
          const { port, log, seen } = await startRow(t, row);
          const received = await call(port, method);
          check(t, received, expected, row.within);
          t.equal(seen(), expected.seen, 'how often the upstream saw it');
          // A call meant for whoever had this port before has a record too.
          const { id } = received;
          const record = await log.nextExchange(({ requestId }) => id === undefined || requestId === id);
          t.equal(record.status, expected.status);
          t.ok(record.attempts >= expected.seen, 'the record counts the attempts');
          if (row.within === 'at once') t.strictSame(record.retryReasons ?? [], [], 'nothing is tried again');
          t.equal(record.retryReasons?.length ?? 0, record.attempts - 1, `the record says why: ${record.retryReasons}`);
          t.notOk(received.body.includes('given-token'), 'no token in the answer');
        });
      }
    }
  });
}

t.test(
  'a POST whose octets were sent reaches the upstream once, unless the platform itself refused it unexecuted',
  async (t) => {
    const rows = FAULTS.flatMap(({ rows }) => rows);
    t.ok(rows.length >= 30, `${rows.length} rows`);
    t.same(
      rows.filter(({ post }) => post.seen > 1).map(({ name }) => name),
      ['401 that speaks of the token', '429 of a token-wide limit, Retry-After within `total_wait`'],
    );
  },
);
