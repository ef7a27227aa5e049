// The times of the end: shutdown_delay, which goes by the gateway's clock.

import { connect } from 'node:net';
import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { givenTokenConfig, ok } from '../helpers/direct.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { createTestLog, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, startRawUpstream } from '../helpers/raw-http.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const HOUR_MS = 3_600_000;

t.test('shutdown_delay goes by the clock of the gateway', async (t) => {
  const clock = createFakeClock();
  const upstream = await startRawUpstream(t, (socket) => socket.write(ok('{}')));
  const config = givenTokenConfig(upstream.origin, { server: { shutdownDelayMs: HOUR_MS } });
  const { port, gateway } = await startGatewayWith(t, config, clock);
  const drained = gateway.drain();
  await clock.advance(HOUR_MS - 1);
  t.match(await exchangeRaw(port, GET), /^HTTP\/1\.1 200 /);
  await clock.advance(1);
  const outcome = await new Promise((resolve) => {
    connect(port, '127.0.0.1')
      .once('connect', () => resolve('connected'))
      .once('error', ({ code }: NodeJS.ErrnoException) => resolve(code));
  });
  t.equal(outcome, 'ECONNREFUSED');
  await drained;
});

t.test('a gateway that does not listen has no traffic to be moved away, and ends without shutdown_delay', async (t) => {
  const upstream = await startRawUpstream(t, () => {});
  const config = givenTokenConfig(upstream.origin, { server: { shutdownDelayMs: HOUR_MS } });
  const gateway = await createGateway(config, { log: createTestLog(), env: {}, clock: createFakeClock() });
  await gateway.drain();
  t.pass('it ended');
});
