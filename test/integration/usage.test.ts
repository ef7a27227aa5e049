// Usage and budgets of a gateway: what is counted, what a restart keeps, what the admin route and the metrics say.

import t, { type Test } from 'tap';
import type { ClientConfig } from '../../src/config/gateway-config.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import type { UsageDocument } from '../../src/server/routes/usage.ts';
import { clientNamed } from '../helpers/clients.ts';
import { configAt, startGatewayWith, stateFolder } from '../helpers/gateway.ts';

async function startCounted(t: Test, overrides: Partial<ClientConfig> = {}) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const config = configAt(origin, {
    clients: [clientNamed('crm', overrides), clientNamed('ops', { isAdmin: true })],
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    store: { type: 'file', path: stateFolder(t) },
    retry: { waitMinMs: 1, waitMaxMs: 1 },
  });
  const start = async () => {
    const started = await startGatewayWith(t, config);
    const as = (name: string) => ({ headers: { 'X-Gateway-Key': `${name}-secret` } });
    return {
      ...started,
      call: (path = '/api/v2/sandbox/echo') => fetch(`${started.url}${path}`, as('crm')),
      usage: async (query = '') =>
        (await (await fetch(`${started.url}/-/usage${query}`, as('ops'))).json()) as UsageDocument,
      metrics: async () => (await fetch(`${started.url}/metrics`, as('ops'))).text(),
    };
  };
  return { sandbox, start };
}

t.test('requests that were sent are counted, further attempts included, over a restart', async (t) => {
  const { sandbox, start } = await startCounted(t, { deny: ['GET /api/v2/groups'] });
  const first = await start();
  t.equal((await first.call()).status, 200);
  t.equal((await first.call('/api/v2/groups')).status, 403, 'refused here: not sent');
  sandbox.set({ serverError: { next: 1, status: 503 } });
  await (await first.call()).text();
  const sent = sandbox.events.recent.filter(({ kind }) => kind === 'api').length;
  const { calls, rows, months, isKept, month } = await first.usage();
  t.equal(calls, sent);
  t.match(rows, [{ client: 'crm', credential: 'default', operation: 'unlisted', calls: sent }]);
  t.strictSame([months, isKept, month], [[new Date().toISOString().slice(0, 7)], true, months[0]]);
  await first.gateway.drain();
  const second = await start();
  await (await second.call()).text();
  t.equal((await second.usage()).calls, sent + 1);
  t.match(await second.metrics(), `gcg_month_requests{client="crm",credential="default"} ${sent + 1}`);
  t.equal((await second.usage('?month=2020-01')).calls, 0);
  t.match(await second.usage('?month=x'), { code: 'gateway.request.invalid' });
});

t.test('a budget that refuses', async (t) => {
  const { sandbox, start } = await startCounted(t, { requestsPerMonth: 5, overBudget: 'refuse' });
  const gateway = await start();
  const statuses = await Promise.all(Array.from({ length: 12 }, async () => (await gateway.call()).status));
  t.strictSame(statuses.toSorted(), [...Array(5).fill(200), ...Array(7).fill(403)]);
  t.equal(sandbox.events.recent.filter(({ kind }) => kind === 'api').length, 5);
  const refused = await gateway.call();
  t.equal(refused.headers.get('x-gateway-error'), 'gateway.budget.exceeded');
  t.match(await gateway.usage(), { budgets: [{ client: 'crm', used: 5, limit: 5, level: 'over' }] });
  t.match(await gateway.metrics(), 'gcg_month_budget_requests{client="crm"} 5');
  await gateway.log.nextLine('client has used 80 % of its budget of requests for this month');
  await gateway.log.nextLine('client has used its budget of requests for this month');
  await gateway.gateway.drain();
  t.equal((await (await start()).call()).status, 403, 'also after a restart');
});

t.test('a budget that warns', async (t) => {
  const { start } = await startCounted(t, { requestsPerMonth: 2 });
  const gateway = await start();
  for (let at = 0; at < 5; at++) t.equal((await gateway.call()).status, 200);
  await gateway.log.nextLine('client has used its budget of requests for this month');
});
