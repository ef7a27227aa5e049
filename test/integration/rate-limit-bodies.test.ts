// Callers that wait with a body in hand: what is kept for them is bounded over all of them, and given back when they
// go.

import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { createExchangeRecord } from '../../src/logging/exchange-record.ts';
import type { UpstreamRequest } from '../../src/upstream/call.ts';
import { RateLimits } from '../../src/upstream/rate-limit/rate-limit.ts';
import { createReplayBudget, readRequestBody } from '../../src/upstream/request-body.ts';

const CALLERS = 60;
const BODY = Buffer.alloc(200_000, 'x');

/** Sixty callers with 200 kB each, of whom one is served and never answered, and all others wait. */
async function startWaiting(t: Test, limitBytes: number) {
  const budget = createReplayBudget(limitBytes);
  const quiet = () => {};
  const rateLimits = new RateLimits({
    clock: systemClock,
    random: () => 0,
    log: { error: quiet, warn: quiet, info: quiet, debug: quiet },
    settings: { mode: 'enforce', requestsPerMinute: 1, queueMax: 1_000 },
    retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 },
    clients: [],
    routeOf: (method, target) => `${method} ${target}`,
  });
  let arrived = 0;
  let peakBytes = 0;
  let gone = 0;
  let tell = () => {};
  // The first call takes the only slot of the minute; all others wait for theirs.
  const send = rateLimits.wrap(() => new Promise(() => {}));
  const server = createServer(async (message, response) => {
    const connection: UpstreamRequest['connection'] & { disconnected: boolean } = {
      disconnected: false,
      onDisconnect: null,
      rejectWait: null,
    };
    response.once('close', () => {
      connection.disconnected = true;
      connection.onDisconnect?.();
    });
    const body = await readRequestBody(message, Number(message.headers['content-length']), {
      maxBytes: 0,
      idleMs: 60_000,
      budget,
      observe: null,
    });
    arrived += 1;
    peakBytes = Math.max(peakBytes, budget.usedBytes);
    tell();
    const call = {
      method: 'POST',
      target: '/',
      limitKey: 'crm',
      body,
      connection,
      record: createExchangeRecord(),
      headers: [],
    };
    await send(call as unknown as UpstreamRequest).catch(() => {});
    body.release();
    gone += 1;
    tell();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const until = async (isSo: () => boolean) => {
    while (!isSo()) {
      await new Promise<void>((resolve) => {
        tell = resolve;
      });
    }
  };
  const { port } = server.address() as AddressInfo;
  const callers = Array.from({ length: CALLERS }, () => {
    const message = httpRequest({
      port,
      host: '127.0.0.1',
      method: 'POST',
      headers: { 'content-length': BODY.length },
    });
    message.on('error', () => {});
    message.end(BODY);
    return message;
  });
  t.teardown(() => server.closeAllConnections());
  await until(() => arrived === CALLERS);
  return { budget, rateLimits, callers, until, gone: () => gone, peakBytes: () => peakBytes };
}

t.test('what is kept of the bodies of waiting callers stays within the budget', async (t) => {
  const { budget, rateLimits, peakBytes } = await startWaiting(t, 1024 * 1024);
  t.match(rateLimits.limits.states(), [{ waiting: CALLERS - 1 }]);
  t.ok(peakBytes() > 0 && peakBytes() <= 1024 * 1024, `${peakBytes()} bytes at most`);
  t.ok(budget.usedBytes <= 1024 * 1024);
});

t.test(
  'a caller that leaves gives both back, its place and its octets, with a body that was not whole yet',
  async (t) => {
    const { budget, rateLimits, callers, until, gone } = await startWaiting(t, 64 * 1024 * 1024);
    for (const message of callers) message.destroy();
    await until(() => gone() === CALLERS - 1);
    t.match(rateLimits.limits.states(), [{ waiting: 0 }]);
    t.ok(budget.usedBytes <= BODY.length, 'the one that was sent still has its body');
  },
);
