// The time line of a call by every fault of the simulation: its stretches stand in their order, none overlaps another,
// together they are no more than the call, and a file of it is an archive.

import { get } from 'node:http';
import t from 'tap';
import type { Call, CallAnswer } from '../../src/inspector/wire.ts';
import { SWITCHES_OFF, type Switches } from '../../src/sandbox/switches.ts';
import { startGateway } from '../helpers/gateway.ts';
import { problemsOfHar } from '../helpers/har.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

interface Row {
  readonly set: Partial<Switches>;
  /** What the attempts end with, in their order. */
  readonly ends: readonly (number | string)[];
  /** What the call waits for between and before them. */
  readonly waits?: readonly string[];
  readonly method?: string;
  readonly leaves?: true;
}

/** Noted of two in a hundredth of a ms each, offsets may overlap by that. */
const ROUNDING = 0.05;

const ROWS: Readonly<Record<string, Row>> = {
  'all is well': { set: {}, ends: [200] },
  'a slow answer': { set: { latencyMs: 30 }, ends: [200] },
  'one 503': { set: { serverError: { status: 503, next: 1 } }, ends: [503, 200], waits: ['pause'] },
  'a 500': { set: { serverError: { status: 500, next: 1 } }, ends: [500] },
  'a 503 to a POST': { set: { serverError: { status: 503, next: 1 } }, ends: [503], method: 'POST' },
  '503 with Retry-After': {
    set: { serverError: { status: 503, next: 1, retryAfterS: 1 } },
    ends: [503, 200],
    waits: ['pause'],
  },
  'a token that was refused, and a slow one': {
    set: { unauthorized: { next: 1 }, tokenEndpoint: { fault: 'slow', delayMs: 40, next: 1 } },
    ends: [401, 200],
    waits: ['token'],
  },
  'another within a minute, which passes': { set: { unauthorized: { next: 1 } }, ends: [401] },
  'a kept connection that breaks, after which no pause is needed': {
    set: { closeBeforeAnswer: { next: 1 } },
    ends: ['UND_ERR_SOCKET', 200],
  },
  'a body that breaks off': { set: { cutBody: { next: 1 } }, ends: [200] },
  'a 503, a 401, a break': {
    set: {
      serverError: { status: 503, next: 1 },
      unauthorized: { next: 2 },
      closeBeforeAnswer: { next: 1 },
    },
    ends: [],
  },
  'a caller who leaves': { set: { holdApi: { next: 1 } }, ends: [], leaves: true },
};

t.test('the time line of each call', async (t) => {
  const started = await startGateway(t, {
    config: { server: { adminListen: LOCAL }, retry: { max: 3, waitMinMs: 5, waitMaxMs: 20 } },
  });
  const { url, sandbox, gateway } = started;
  const ask = async (path: string, body?: object) => {
    const response = await fetch(`${url}${path}`, {
      headers: { 'X-Gateway-Request': '1', 'X-Gateway-Key': gateway.pageKey },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  };
  await ask('/-/capture', { what: 'headers', seconds: 900, calls: 500 });
  const apiCalls = () => sandbox.events.recent.filter(({ kind }) => kind === 'api').length;
  let seq = 0;
  const ended = async (): Promise<Call> => {
    seq += 1;
    for (;;) {
      const { status, text } = await ask(`/-/calls/${seq}`);
      if (status === 200) return (JSON.parse(text) as CallAnswer).call;
    }
  };

  for (const [name, { set, ends, waits = [], method = 'GET', leaves }] of Object.entries(ROWS))
    await t.test(name, async (t) => {
      sandbox.set({ ...SWITCHES_OFF, ...set });
      const before = apiCalls();
      if (leaves) {
        const request = get(`${url}/api/v2/organizations/me`);
        request.on('error', () => {});
        while (apiCalls() === before) await new Promise((resolve) => setImmediate(resolve));
        request.destroy();
      } else
        await fetch(`${url}/api/v2/organizations/me`, { method })
          .then((one) => one.text())
          .catch(() => '');
      const call = await ended();
      const { trace } = call;
      if (trace === undefined) return t.fail('there is no time line');
      if (ends.length > 0)
        t.strictSame(
          trace.attempts.map(({ status, error }) => status ?? error),
          ends,
        );
      for (const kind of waits)
        t.ok(
          trace.waits.some((wait) => wait.for === kind),
          `it waited: ${kind}`,
        );
      if (waits.length === 0 && ends.length === 1) t.strictSame(trace.waits, []);
      t.equal(trace.attempts.length, call.attempts, 'as many attempts as the record counts');
      const stretches = [...trace.waits, ...trace.attempts].sort((a, b) => a.at - b.at);
      let from = trace.rules;
      for (const stretch of stretches) {
        t.ok(
          stretch.at >= from - ROUNDING,
          `${JSON.stringify(stretch)} begins when the one before is over, at ${from}`,
        );
        from = stretch.at + stretch.ms;
      }
      t.ok(from <= call.durationMs + ROUNDING, 'and the last ends with the call');
      for (const { at: _, ms, pool = 0, dial = {}, send = 0, wait = 0, body = 0 } of trace.attempts) {
        const { dns = 0, tcp = 0, proxy = 0, tls = 0 } = dial;
        const parts = pool + dns + tcp + proxy + tls + send + wait + body;
        t.ok(parts <= ms + 3 * ROUNDING, `the parts ${parts} of an attempt are no more than it, ${ms}`);
      }
      t.strictSame(problemsOfHar((await ask('/-/export', { ids: [seq] })).text), []);
    });
});
