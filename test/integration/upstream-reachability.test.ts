// The log says when calls to a host are no longer tried, because it cannot be reached.

import { once } from 'node:events';
import { createServer } from 'node:net';
import t from 'tap';
import { credentialAt, hostsAt, startGateway } from '../helpers/gateway.ts';

t.test('a host that cannot be reached is told of once, when calls to it begin to be shed', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  const closed = `http://127.0.0.1:${port}`;
  const { url, log } = await startGateway(t, {
    config: (origin) => ({
      retry: { max: 0 },
      credentials: [credentialAt(origin, { hosts: { ...hostsAt(origin), api: { origin: closed, pathPrefix: '' } } })],
    }),
  });
  const codes: (string | null)[] = [];
  for (let calls = 0; calls < 7; calls++)
    codes.push((await fetch(`${url}/api/v2/users`)).headers.get('x-gateway-error'));
  t.same(codes, [...Array(5).fill('gateway.upstream.unreachable'), ...Array(2).fill('gateway.upstream.unavailable')]);
  const told = log.lines.filter(({ msg }) => msg === 'upstream reachability');
  t.match(told, [{ level: 'warn', fields: { origin: closed, state: 'open' } }]);
  t.equal(told.length, 1);
});
