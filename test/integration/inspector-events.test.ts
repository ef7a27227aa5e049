// The stream of events over real sockets: who gets it and for how long, what it tells, and that it costs callers
// nothing.

import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import type { ClientConfig } from '../../src/config/gateway-config.ts';
import type { FeedEvents } from '../../src/inspector/wire.ts';
import { change, statusOf } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { type ConfigOverrides, configAt, startGateway, type TestGateway } from '../helpers/gateway.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const ASKED = { 'X-Gateway-Request': '1' };
const as = (key: string) => ({ ...ASKED, 'X-Gateway-Key': key });

function start(t: Test, config: ConfigOverrides = {}): Promise<TestGateway> {
  return startGateway(t, { config: { ...config, server: { adminListen: LOCAL, ...config.server } } });
}

/** A stream that is read event by event. `until` resolves with the first event, past or future, of a name that fits. */
async function watch(t: Test, url: string, headers: Record<string, string>, query = '') {
  const leaving = new AbortController();
  const response = await fetch(`${url}/-/events${query}`, { headers, signal: leaving.signal });
  t.teardown(() => leaving.abort());
  const events: { name: string; id: string | null; data: unknown }[] = [];
  let wake: (() => void)[] = [];
  let isOver = false;
  const read = async () => {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null;
        if (field('event') !== null)
          events.push({ name: field('event') ?? '', id: field('id'), data: JSON.parse(field('data') ?? '') });
      }
      for (const each of wake.splice(0)) each();
    }
  };
  const over = (response.status === 200 ? read() : response.text().then(() => undefined))
    .catch(() => undefined)
    .finally(() => {
      isOver = true;
      for (const each of wake) each();
      wake = [];
    });
  return {
    response,
    events,
    over,
    leave: () => leaving.abort(),
    async until<N extends keyof FeedEvents>(name: N, fits: (data: FeedEvents[N]) => boolean = () => true) {
      for (;;) {
        const found = events.find((event) => event.name === name && fits(event.data as FeedEvents[N]));
        if (found !== undefined) return { ...found, data: found.data as FeedEvents[N] };
        if (isOver) throw new Error(`the stream ended without ${name}`);
        await new Promise<void>((resolve) => wake.push(resolve));
      }
    },
  };
}

const call = (url: string, path = '/api/v2/organizations/me', headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, { headers }).then((one) => one.text());

t.test(
  'calls are told as they end, with what they waited for while they ran; a stream is no call in flight',
  async (t) => {
    const { url, gateway, sandbox } = await start(t, { logging: { level: 'none' } });
    const key = as(gateway.pageKey);
    const stream = await watch(t, url, key);
    t.match(Object.fromEntries(stream.response.headers), {
      'content-type': 'text/event-stream',
      'cache-control': /no-store/,
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    });
    t.match((await stream.until('hello')).data, { rights: { sees: 'all', clear: true }, reset: false, newest: null });
    await call(url);
    const { data, id } = await stream.until('calls');
    t.match(data.calls, [{ seq: 1, path: '/api/v2/organizations/me', status: 200 }], 'also where the log writes none');
    t.match(id, /^[\w-]{8}-1$/);
    sandbox.set({ holdApi: { next: 1 } });
    const held = call(url, '/api/v2/users?pageSize=1&access_token=very-secret');
    const running = await stream.until('running', ({ count }) => count === 1);
    t.match(running.data.calls, [
      { method: 'GET', path: /access_token=\[redacted\]/, waitsFor: null, startedAt: /Z$/ },
    ]);
    t.equal(gateway.calls.running, 1, 'the held call alone');
    sandbox.release();
    await held;
    await stream.until('running', ({ count }) => count === 0);
    const metrics = await fetch(`${url}/metrics`).then((one) => one.text());
    t.match(metrics, /^gcg_inspector_watchers 1$/m);
    t.match((await statusOf(url)).inspector, {
      pages: [`${url}/-/ui/`],
      for: 'whoever runs it, by `gcg open`',
      newest: 2,
      watchers: [{ client: null, peer: '127.0.0.1', sees: 'all', since: /Z$/ }],
      keys: [],
    });
    const looking = await watch(t, url, key, '?f=who-i-look-for');
    await looking.until('hello');
    t.notMatch(
      await fetch(`${url}/-/status`).then((one) => one.text()),
      /who-i-look-for/,
      'the status is for all here',
    );
    looking.leave();
    stream.leave();
    const back = await watch(t, url, key, `?since=${id}`);
    t.match((await back.until('hello')).data, { reset: false });
    t.match((await back.until('calls')).data.calls, [{ seq: 2 }]);
    await change(`${url}/-/credentials/default/refresh`).then((one) => one.text());
    t.match((await back.until('token')).data, { credential: 'default' });
    await fetch(`${url}/-/calls`, { method: 'DELETE', headers: key }).then((one) => one.text());
    t.match((await back.until('hello', ({ reset }) => reset)).data, { newest: null });
  },
);

t.test('what is no stream to begin with', async (t) => {
  const { url, gateway } = await start(t);
  const key = as(gateway.pageKey);
  const rows: [string, Record<string, string>, number][] = [
    ['', ASKED, 401],
    ['', { 'X-Gateway-Key': gateway.pageKey }, 403],
    ['', { ...key, Origin: 'https://elsewhere.example' }, 403],
    ['?f=status:', key, 400],
    ['?since=nonsense', key, 400],
    [`?since=${'x'.repeat(5_000)}-1`, key, 400],
    ['', { ...key, 'Last-Event-ID': '%00' }, 400],
  ];
  for (const [query, headers, status] of rows) {
    const { response, over } = await watch(t, url, headers, query);
    t.equal(response.status, status, query);
    await over;
  }
  const head = await fetch(`${url}/-/events`, { method: 'HEAD', headers: key });
  t.equal(head.status, 405);
});

t.test('ten may watch, three as one client; the next is told so, and one that leaves makes room', async (t) => {
  const clients = [...'abc'].map((name) => clientNamed(name, { inspect: 'own' }));
  clients.push(clientNamed('d', { isAdmin: true }));
  const { url } = await start(t, { clients });
  const streams = [];
  for (const name of ['a', 'a', 'a', 'b', 'b', 'b', 'c', 'c', 'd', 'd']) {
    const stream = await watch(t, url, as(`${name}-secret`));
    t.equal(stream.response.status, 200);
    await stream.until('hello');
    streams.push(stream);
  }
  const refused = await fetch(`${url}/-/events`, { headers: as('d-secret') });
  t.equal(refused.status, 429);
  t.equal(refused.headers.get('retry-after'), '10');
  t.match(await refused.json(), { code: 'gateway.inspector.busy', message: /10 are watching already/ });
  streams[0]?.leave();
  await streams[9]?.until('stats', ({ watchers }) => watchers === 9);
  const next = await watch(t, url, as('a-secret'));
  t.equal(next.response.status, 200);
});

t.test(
  'a client sees its own calls and loses the stream at once when it is blocked, changed or taken out',
  async (t) => {
    const clients = [
      clientNamed('boss', { isAdmin: true }),
      clientNamed('crm', { inspect: 'own' }),
      clientNamed('etl', { inspect: 'own' }),
      clientNamed('ivr', { inspect: 'own' }),
    ];
    const { url, gateway, config } = await start(t, { clients });
    const session = await fetch(`${url}/-/ui/session`, { method: 'POST', headers: as('ivr-secret') });
    const { key: ivrKey } = (await session.json()) as { key: string };
    const [boss, crm, etl, ivr] = await Promise.all(
      ['boss-secret', 'crm-secret', 'etl-secret', ivrKey].map((key) => watch(t, url, as(key))),
    );
    await Promise.all([boss, crm, etl, ivr].map((one) => one?.until('hello')));
    for (const name of ['etl', 'crm']) await call(url, '/api/v2/organizations/me', as(`${name}-secret`));
    t.match((await crm?.until('calls'))?.data.calls, [{ client: 'crm' }]);
    t.match((await boss?.until('calls', ({ calls }) => calls.some(({ client }) => client === 'crm')))?.name, 'calls');
    t.notMatch(JSON.stringify(crm?.events), /etl|"seq":1\b/);
    const id = (await crm?.until('stats'))?.id;
    const later = await crm?.until('stats', (stats) => crm.events.find(({ name }) => name === 'stats')?.data !== stats);
    t.not(later?.id, id, 'ids go on with the time, and tell of no call');
    await change(`${url}/-/clients/crm/block`, undefined, as('boss-secret')).then((one) => one.text());
    t.match((await crm?.until('bye'))?.data, { reason: /may not look/ });
    await crm?.over;
    const next = (changed: ClientConfig[]) =>
      gateway.replace(configAt('http://127.0.0.1:1', { ...config, clients: changed } as ConfigOverrides));
    next([clients[0] as ClientConfig, clientNamed('etl', { isAdmin: true }), clients[3] as ClientConfig]);
    t.match((await etl?.until('bye'))?.data, { reason: /has changed/ });
    t.match((await boss?.until('reload'))?.data, { applied: true });
    next([clients[0] as ClientConfig]);
    await ivr?.over;
    t.match(ivr?.events.at(-1), { name: 'bye', data: { reason: /may not look/ } });
    t.notOk(boss?.events.some(({ name }) => name === 'bye'));
  },
);

t.test('the key of the start counts for nothing while clients are configured', async (t) => {
  const { url, gateway, config } = await start(t);
  const key = as(gateway.pageKey);
  const stream = await watch(t, url, key);
  await stream.until('hello');
  const code = await fetch(`${url}/-/ui/link`, { method: 'POST', headers: key }).then((one) => one.text());
  gateway.replace({ ...config, clients: [clientNamed('boss', { isAdmin: true })] });
  t.match((await stream.until('bye')).data, { reason: /may not look/ });
  const trade = { method: 'POST', headers: ASKED, body: code };
  for (const answer of [fetch(`${url}/-/calls`, { headers: key }), fetch(`${url}/-/ui/session`, trade)])
    t.equal((await answer).status, 401);
  gateway.replace(config);
  t.equal((await fetch(`${url}/-/calls`, { headers: key })).status, 200);
});

t.test('a drain ends streams at once and waits for none', async (t) => {
  const { url, gateway } = await start(t);
  const stream = await watch(t, url, as(gateway.pageKey));
  await stream.until('hello');
  const stalled = connect(Number(new URL(url).port), '127.0.0.1');
  stalled.on('error', () => {});
  stalled.write(
    `GET /-/events HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Request: 1\r\nX-Gateway-Key: ${gateway.pageKey}\r\n\r\n`,
  );
  await once(stalled, 'readable');
  await gateway.drain();
  t.match((await stream.until('bye')).data, { reason: 'the gateway ends' });
  await stream.over;
  stalled.destroy();
});
