// A gateway that is led back to itself says so once, instead of calling itself until something gives way.

import t from 'tap';
import { givenTokenConfig, ok, startBefore } from '../helpers/direct.ts';
import { startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

const get = (line = '') => `GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n${line}\r\n`;

t.test('a gateway before itself answers 508', async (t) => {
  const free = await startRawServer(t, () => {});
  await new Promise((resolve) => free.server.close(resolve));
  const { port, log } = await startGatewayWith(
    t,
    givenTokenConfig(free.origin, { server: { listen: [{ kind: 'tcp', host: '127.0.0.1', port: free.port }] } }),
  );
  t.equal(port, free.port);
  const received = await exchangeRaw(port, get());
  t.match(received, /^HTTP\/1\.1 508 /);
  t.match(received, /"code":"gateway\.loop"/);
  await log.nextExchange(({ source }) => source === 'upstream');
  t.equal(log.exchanges.length, 2, 'one round, and no more');
});

t.test('a gateway before another one is no loop, and leaves its mark on the way', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
  t.match(await exchangeRaw(pair.port, get('X-Gateway-Instance: another, one-more\r\n')), /^HTTP\/1\.1 200 /);
  t.match(pair.requests[0], /\r\nX-Gateway-Instance: another, one-more, [0-9a-f-]{36}\r\n/);
});

t.test('a chain that is too long, or a mark of our own, is a loop', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
  isRefusal(
    t,
    await exchangeRaw(pair.port, get(`X-Gateway-Instance: ${Array(8).fill('x').join(', ')}\r\n`)),
    508,
    'gateway.loop',
  );
  await exchangeRaw(pair.port, get());
  const [, mark] = /x-gateway-instance: (\S+)/i.exec(pair.requests[0] as string) as RegExpExecArray;
  isRefusal(
    t,
    await exchangeRaw(pair.port, get(`x-gateway-instance: other\r\nX-Gateway-Instance: ${mark}\r\n`)),
    508,
    'gateway.loop',
  );
  t.equal(pair.requests.length, 1);
});
