// Refusals of the platform, explained beside its own answer: in the record, for callers who ask, and in the status.

import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { statusTable } from '../../src/cli/commands/status.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { startGateway } from '../helpers/gateway.ts';

const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
const QUERY = {
  method: 'POST',
  body: JSON.stringify({ interval: '2026-01-01T00:00:00Z/2026-01-02T00:00:00Z' }),
  headers: { 'content-type': 'application/json' },
};
const NEEDS =
  'postAnalyticsConversationsDetailsQuery needs one of analytics:conversationDetail:view, ' +
  'analytics:agentConversationDetail:view';

interface Told {
  readonly operation: string;
  readonly count: number;
  readonly explanation: string;
}

async function refusals(url: string): Promise<Told[]> {
  return ((await (await fetch(`${url}/-/status`)).json()) as { refusals: Told[] }).refusals;
}

t.test('a 403 is explained: what the operation needs, and once it is known what the roles lack', async (t) => {
  const { url, log } = await startGateway(t, {
    config: { server: { adminListen: [FREE] } },
    sandbox: { switches: { permissions: ['directory:*:*'] } },
  });
  const path = `${url}/api/v2/analytics/conversations/details/query`;
  const direct = { code: 'missing.any.permissions', status: 403 };
  const first = await fetch(path, QUERY);
  t.match(await first.json(), direct, "the platform's own answer");
  t.equal(first.headers.get('x-gateway-explain'), null, 'nobody asked');
  const record = await log.nextExchange();
  t.match(record, { operation: 'postAnalyticsConversationsDetailsQuery', errorCode: null });
  t.ok(record.explanation?.startsWith(NEEDS), record.explanation ?? 'none');

  let told = '';
  for (let i = 0; i < 200 && !told.includes('lack'); i += 1) {
    await delay(10);
    told = (await refusals(url))[0]?.explanation ?? '';
  }
  const lack =
    `${NEEDS}; the roles of credential default lack analytics:conversationDetail:view or ` +
    'analytics:agentConversationDetail:view';
  t.equal(told, lack);
  const second = await fetch(path, { ...QUERY, headers: { ...QUERY.headers, 'X-Gateway-Explain': '1' } });
  t.equal(second.headers.get('x-gateway-explain'), lack);
  await second.arrayBuffer();
  t.match(await refusals(url), [{ operation: 'postAnalyticsConversationsDetailsQuery', count: 2, client: null }]);
  const shown = statusTable((await (await fetch(`${url}/-/status`)).json()) as StatusDocument);
  t.match(shown, /refused by Genesys Cloud of late:\n {2}anonymous callers: 403, 2 times, last [^ ]+: postAnalytics/);
});

t.test('a granted permission and a 403 all the same point at what is not declared', async (t) => {
  const { url, log, sandbox } = await startGateway(t, { sandbox: { switches: { permissions: ['*:*:*'] } } });
  t.equal((await fetch(`${url}/api/v2/analytics/conversations/details/query`, QUERY)).status, 200);
  t.equal((await log.nextExchange()).explanation, null);
  sandbox.set({ permissions: [] });
  t.equal((await fetch(`${url}/api/v2/users`)).status, 200, 'what needs nothing');
});

t.test('an operation about a person is explained before client credentials meet the 400', async (t) => {
  const { url, log } = await startGateway(t, { config: { server: { adminListen: [FREE] } } });
  const answer = await fetch(`${url}/api/v2/users/me`);
  t.equal(answer.status, 400);
  t.match(await answer.json(), { message: /user context/ });
  t.match((await log.nextExchange()).explanation, /^getUsersMe is about the person who is logged in/);
  t.match(await refusals(url), [{ operation: 'getUsersMe', status: 400 }]);
  await (await fetch(`${url}/api/v2/organizations/me`)).arrayBuffer();
  const other = await log.nextExchange(({ operation }) => operation === 'getOrganizationsMe');
  t.equal(other.explanation, null, 'not every me is a person');
});

t.test('topics that are refused inside a 200 are noted', async (t) => {
  const { url, log } = await startGateway(t, { sandbox: { switches: { permissions: ['directory:*:*'] } } });
  const made = await fetch(`${url}/api/v2/notifications/channels`, { method: 'POST' });
  const channel = (await made.json()) as { id: string };
  const answer = await fetch(`${url}/api/v2/notifications/channels/${channel.id}/subscriptions`, {
    method: 'PUT',
    body: JSON.stringify([{ id: 'v2.routing.queues.1.users' }, { id: 'v2.users.1.presence' }]),
    headers: { 'content-type': 'application/json' },
  });
  t.equal(answer.status, 200);
  t.equal(((await answer.json()) as { entities: unknown[] }).entities.length, 2, 'whole');
  const { explanation } = await log.nextExchange(({ operation }) => operation?.endsWith('Subscriptions') === true);
  t.equal(explanation, 'the platform refused a topic: v2.routing.queues.1.users (needs routing:queue:view)');
});
