// The status of a gateway with very many sessions, each of which has a limit of its own.

import t from 'tap';
import { sessionLimitKey } from '../../src/upstream/call.ts';
import { statusOf } from '../helpers/admin.ts';
import { startGateway } from '../helpers/gateway.ts';

t.test('shows the limits of credentials and those that hold calls back, and counts the rest', async (t) => {
  const { url, gateway } = await startGateway(t, {
    config: { server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] } },
  });
  const { limits } = gateway.runtime().upstream.parts;
  for (let n = 0; n < 1_000; n += 1) limits.ofCredential(sessionLimitKey('default', `s${n}`));
  limits.ofCredential(sessionLimitKey('default', 's700')).pauseUntil(performance.now() + 60_000);
  await (await fetch(`${url}/api/v2/users?pageSize=1`)).text();
  const status = await statusOf(url);
  const shown = status.limits;
  t.equal(shown.length, 200);
  t.equal(status.limitsInAll, 1_001);
  t.same(
    shown.slice(0, 2).map(({ credential }) => credential),
    ['default', 'default/s700'],
  );
  t.match(await (await fetch(`${url}/`)).text(), '200 of 1001 are shown');
});
