// The finished calls that a gateway keeps: who may see which of them, what is in them, and how they are found.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { createGateway } from '../../src/gateway.ts';
import type { Call, CallsAnswer } from '../../src/inspector/wire.ts';
import { inlineSecret } from '../../src/secret.ts';
import { clientNamed } from '../helpers/clients.ts';
import { listenFor } from '../helpers/egress.ts';
import {
  type ConfigOverrides,
  configAt,
  createTestLog,
  credentialAt,
  hostsAt,
  startGateway,
  type TestGateway,
} from '../helpers/gateway.ts';
import { startInspected } from '../helpers/inspected.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const ASKED = { 'X-Gateway-Request': '1' };

function start(t: Test, config: ConfigOverrides = {}): Promise<TestGateway> {
  return startGateway(t, { config: { ...config, server: { adminListen: LOCAL, ...config.server } } });
}

/** The headers of whoever holds the key of this start. */
function asOperator({ gateway }: Pick<TestGateway, 'gateway'>): Record<string, string> {
  return { ...ASKED, 'X-Gateway-Key': gateway.pageKey };
}

async function list(url: string, headers: Record<string, string>, query = ''): Promise<CallsAnswer> {
  const response = await fetch(`${url}/-/calls${query}`, { headers });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()) as CallsAnswer;
}

t.test('a call is found in the list, by number and by request id, as its record has it', async (t) => {
  const started = await start(t);
  const { url } = started;
  const headers = asOperator(started);
  const answer = await fetch(`${url}/api/v2/users/me?access_token=very-secret-value`);
  await answer.text();
  await fetch(`${url}/api/v2/organizations/me`).then((one) => one.text());
  const { calls, ...about } = await list(url, headers);
  t.match(about, { instance: /^[\w-]{8}$/, oldest: 1, newest: 2, keptSince: null, more: false });
  t.match(calls, [
    { seq: 2, path: '/api/v2/organizations/me', status: 200, credential: 'default', source: 'upstream', attempts: 1 },
    { seq: 1, path: /^\/api\/v2\/users\/me\?access_token=\[redacted~\w{10}\]$/, method: 'GET', requestId: String },
  ]);
  t.equal(calls[1]?.requestId, answer.headers.get('x-gateway-request-id'));
  for (const id of ['1', calls[1]?.requestId]) {
    const one = await fetch(`${url}/-/calls/${id}`, { headers });
    t.match(await one.json(), { instance: about.instance, call: calls[1] as Call });
  }
  for (const id of ['3', '0', 'unknown', '99999999999999999999', '%22']) {
    const none = await fetch(`${url}/-/calls/${id}`, { headers });
    t.equal(none.status, 404, id);
    await none.text();
  }
  t.equal((await list(url, headers)).newest, 2, 'looking at calls is no call');
});

t.test('pages of the list: before, after, and the limit', async (t) => {
  const started = await start(t);
  const headers = asOperator(started);
  for (let at = 0; at < 5; at++) await fetch(`${started.url}/api/v2/users/me`).then((one) => one.text());
  const seqs = async (query: string) => {
    const { calls, more } = await list(started.url, headers, query);
    return [calls.map(({ seq }) => seq), more];
  };
  t.strictSame(await seqs('?limit=2'), [[5, 4], true]);
  t.strictSame(await seqs('?limit=2&before=4'), [[3, 2], true]);
  t.strictSame(await seqs('?limit=2&before=2'), [[1], false]);
  t.strictSame(await seqs('?after=3'), [[5, 4], false]);
  t.strictSame(await seqs('?limit=1&after=3'), [[5], true]);
  t.strictSame(await seqs('?limit=0'), [[], true]);
  t.strictSame(await seqs('?before=1'), [[], false]);
  for (const query of ['?limit=-1', '?limit=all', '?before=1e3', '?after=', '?limit=1&limit=x'.replace('1&limit=', '')])
    t.equal((await fetch(`${started.url}/-/calls${query}`, { headers })).status, 400, query);
});

t.test('a filter chooses from the list, and one that cannot be read is refused with the place', async (t) => {
  const started = await start(t);
  const { url } = started;
  const headers = asOperator(started);
  for (const path of ['organizations/me', 'nowhere', 'organizations/me'])
    await fetch(`${url}/api/v2/${path}`).then((one) => one.text());
  const found = await list(url, headers, `?f=${encodeURIComponent('status:404')}`);
  t.strictSame([found.calls.map(({ path }) => path), found.more], [['/api/v2/nowhere'], false]);
  const more = await list(url, headers, `?limit=1&f=${encodeURIComponent('-status:404')}`);
  t.strictSame([more.calls.map(({ seq }) => seq), more.more], [[3], true]);
  for (const wrong of ['status:', '(', 'x'.repeat(1_100)]) {
    const refused = await fetch(`${url}/-/calls?f=${encodeURIComponent(wrong)}`, { headers });
    t.equal(refused.status, 400, wrong);
    t.match(await refused.json(), { code: 'gateway.request.invalid', message: /^f, at \d+: / });
  }
});

t.test('who may see which calls', async (t) => {
  const clients = [
    clientNamed('boss', { isAdmin: true }),
    clientNamed('crm', { inspect: 'own' }),
    clientNamed('etl', { inspect: 'own' }),
    clientNamed('blind'),
  ];
  const audit = join(t.testdir(), 'audit.jsonl');
  const { url, gateway } = await start(t, {
    clients,
    audit: { file: audit, methods: ['DELETE'] },
  });
  const as = (name: string) => ({ ...ASKED, 'X-Gateway-Key': `${name}-secret` });
  for (const name of ['crm', 'etl', 'crm', 'blind'])
    await fetch(`${url}/api/v2/users/me`, { headers: as(name) }).then((one) => one.text());
  const seen = async (name: string) => (await list(url, as(name))).calls.map(({ client }) => client);
  t.strictSame(await seen('boss'), ['blind', 'crm', 'etl', 'crm']);
  t.strictSame(await seen('crm'), ['crm', 'crm']);
  t.strictSame(await seen('etl'), ['etl']);
  const numbers = (await list(url, as('boss'))).calls.map(({ seq }) => seq);
  t.strictSame(
    numbers,
    numbers.toSorted((a, b) => b - a),
  );
  t.ok(
    numbers.every((seq, at) => seq - (numbers[at + 1] ?? 0) > 10),
    'they are times, and count nothing',
  );
  for (const f of ['client:etl', '-client:crm', 'client:etl OR status:200', 'id:*', 'status:200'])
    for (const call of (await list(url, as('crm'), `?f=${encodeURIComponent(f)}`)).calls)
      t.equal(call.client, 'crm', f);
  t.strictSame((await list(url, as('crm'), '?f=client:etl')).calls, [], 'a filter is asked after the rights');
  t.equal((await list(url, as('boss'), '?f=client:crm')).calls.length, 2);
  t.match(await list(url, as('etl')), { oldest: numbers[2], newest: numbers[2] }, 'how many others call is not told');
  const refusals: [Record<string, string>, number][] = [
    [as('blind'), 403],
    [ASKED, 401],
    [{ 'X-Gateway-Key': 'boss-secret' }, 403],
    [{ ...as('boss'), Origin: 'https://elsewhere.example' }, 403],
    [{ ...ASKED, 'X-Gateway-Key': 'gcgp_AAAAAAAAAAAAAAAAAAAAAA' }, 401],
  ];
  for (const [headers, status] of refusals) {
    const response = await fetch(`${url}/-/calls`, { headers });
    t.equal(response.status, status);
    t.notMatch(response.headers.get('www-authenticate') ?? '', /basic/i);
    await response.text();
  }
  const [foreign, unknown] = await Promise.all(
    [numbers[2], 4711].map((id) => fetch(`${url}/-/calls/${id}`, { headers: as('crm') })),
  );
  const told = async (response: Response | undefined) =>
    (await response?.text())?.replaceAll(/"contextId":"[^"]*"/g, '');
  t.equal(await told(foreign), await told(unknown), 'the call of another is as one that is not there');
  t.equal((await fetch(`${url}/-/calls`, { method: 'DELETE', headers: as('crm') })).status, 403);
  t.equal((await fetch(`${url}/-/calls`, { method: 'DELETE', headers: as('boss') })).status, 200);
  t.strictSame((await list(url, as('boss'))).calls, []);
  await gateway.drain();
  t.match(readFileSync(audit, 'utf8'), /"client":"boss".*"method":"DELETE","path":"\/-\/calls","status":200/);
});

t.test('a client is not told since when calls of others are kept', async (t) => {
  const clients = [clientNamed('boss', { isAdmin: true }), clientNamed('crm', { inspect: 'own' })];
  const { url, add } = await startInspected(t, { clients, inspector: { memory: 1 } });
  const as = (name: string) => ({ ...ASKED, 'X-Gateway-Key': `${name}-secret` });
  const at = (second: number) => new Date(second * 1_000).toISOString();
  const path = `/api/v2/users/${'x'.repeat(9_000)}`;
  for (let second = 0; second < 150; second++) add({ client: 'etl', time: at(second), path });
  t.equal((await list(url, as('crm'))).keptSince, null);
  add({ client: 'crm', time: at(200), path }, { client: 'crm', time: at(300), path });
  t.equal((await list(url, as('crm'))).keptSince, at(200), 'of the oldest of its own');
  t.equal((await list(url, as('crm'), '?limit=1')).keptSince, null);
  const { keptSince } = await list(url, as('boss'));
  t.ok(keptSince !== null && keptSince > at(0) && keptSince < at(150), keptSince ?? 'null');
});

t.test('without clients it takes the key of this start, and on a Unix socket of ours nothing', async (t) => {
  const path = join(tmpdir(), `gcg-inspector-${process.pid}.sock`);
  const started = await start(t, {
    server: { adminListen: [...LOCAL, { kind: 'unix', path }], listen: LOCAL },
  });
  const { url } = started;
  const refused = await fetch(`${url}/-/calls`, { headers: ASKED });
  t.equal(refused.status, 401);
  t.match(await refused.json(), { code: 'gateway.client.unauthenticated', message: /gcg open/ });
  t.match(await list(url, asOperator(started)), { calls: [] });
  const asked = request({ socketPath: path, path: '/-/calls', headers: { ...ASKED, host: 'localhost' } }).end();
  const [response] = await once(asked, 'response');
  t.equal(response.statusCode, 200);
  response.resume();
});

t.test('the headers of data, and of refusals', async (t) => {
  const started = await start(t);
  for (const headers of [asOperator(started), ASKED]) {
    const response = await fetch(`${started.url}/-/calls`, { headers });
    t.match(Object.fromEntries(response.headers), {
      'cache-control': /no-store/,
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    });
    t.equal(response.headers.get('set-cookie'), null);
    t.match(await response.text(), /^\{/);
  }
});

/** A gateway before an API that answers as `serve` says. */
async function startBefore(
  t: Test,
  serve: RequestListener,
  config: ConfigOverrides = {},
): Promise<TestGateway & { key: Record<string, string> }> {
  const api = createServer(serve);
  const port = await listenFor(t, api);
  const started = await startGateway(t, {
    config: (origin) => ({
      ...config,
      server: { adminListen: LOCAL },
      credentials: [
        credentialAt(origin, {
          hosts: { ...hostsAt(origin), api: { origin: `http://127.0.0.1:${port}`, pathPrefix: '' } },
        }),
      ],
    }),
  });
  return { ...started, key: asOperator(started) };
}

const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl';

t.test(
  'the words of the platform for a failure are kept, redacted and short; its answer stays as it was',
  async (t) => {
    const long = `no token ${JWT} here ${'x'.repeat(600)}`;
    const refused = { code: 'bad.request', message: long, status: 400 };
    const rows: Record<string, { type?: string; body: Buffer | string; encoding?: string; words: unknown }> = {
      plain: {
        body: JSON.stringify(refused),
        words: { code: 'bad.request', message: /^no token \[redacted~\w{10}\] here x+…$/ },
      },
      packed: { body: gzipSync(JSON.stringify(refused)), encoding: 'gzip', words: { code: 'bad.request' } },
      large: { body: JSON.stringify({ ...refused, more: 'y'.repeat(5_000) }), words: undefined },
      html: { type: 'text/html', body: '<p>{"code":"no"}</p>', words: undefined },
      list: { body: '[{"code":"no"}]', words: undefined },
      odd: { body: '{"code":7,"message":{"a":1}}', words: undefined },
      broken: { body: '{"code":"no', words: undefined },
    };
    const serve: RequestListener = ({ url = '' }, response) => {
      const { type = 'application/json', body = '', encoding } = rows[url.split('/').at(-1) ?? ''] ?? {};
      response.writeHead(400, { 'Content-Type': type, ...(encoding && { 'Content-Encoding': encoding }) }).end(body);
    };
    const { url, key } = await startBefore(t, serve);
    for (const [name, { body, words, encoding }] of Object.entries(rows)) {
      const answer = await fetch(`${url}/api/v2/${name}`);
      const text = await answer.text();
      t.equal(text, encoding ? JSON.stringify(refused) : body, name);
      const [call] = (await list(url, key)).calls;
      t.match(call, { path: `/api/v2/${name}`, status: 400 });
      if (words === undefined) t.equal(call?.platform, undefined, name);
      else t.match(call?.platform, words, name);
      t.ok((call?.platform?.message?.length ?? 0) <= 512);
      t.notMatch(JSON.stringify(call), /eyJ/);
    }
  },
);

t.test('with capture = none no word of the platform is kept', async (t) => {
  const serve: RequestListener = (_request, response) => {
    response.writeHead(400, { 'Content-Type': 'application/json' }).end('{"code":"bad.request","message":"no"}');
  };
  const { url, key } = await startBefore(t, serve, { inspector: { capture: 'none' } });
  await fetch(`${url}/api/v2/x`).then((answer) => answer.text());
  const [call] = (await list(url, key)).calls;
  t.match(call, { status: 400, platform: undefined });
});

t.test('what the log does not write is kept where it failed; headers and bodies never are', async (t) => {
  for (const logging of [{ level: 'none' }, { level: 'trace', requestBody: true, responseBody: true }] as const) {
    const { url, gateway, sandbox } = await start(t, { logging, retry: { max: 0 } });
    await fetch(`${url}/api/v2/organizations/me`, { headers: { 'X-Marked': 'a-mark' } }).then((answer) =>
      answer.text(),
    );
    sandbox.set({ serverError: { status: 500, next: 1 } });
    await fetch(`${url}/api/v2/organizations/me`).then((answer) => answer.text());
    const { calls } = await list(url, asOperator({ gateway }));
    t.strictSame(
      calls.map(({ status }) => status),
      logging.level === 'none' ? [500] : [500, 200],
    );
    t.notMatch(JSON.stringify(calls), /a-mark|requestHeaders|responseHeaders|requestBody|responseBody/);
  }
});

t.test('where other machines reach the admin listener, nothing is kept unless it is asked for', async (t) => {
  const wide = [{ kind: 'tcp', host: '0.0.0.0', port: 0 }] as const;
  const clients = [clientNamed('boss', { isAdmin: true, secret: inlineSecret('boss-secret-0123456789', 'test') })];
  const headers = { ...ASKED, 'X-Gateway-Key': 'boss-secret-0123456789' };
  for (const enabled of [null, false, true]) {
    const { url } = await start(t, {
      clients,
      inspector: { enabled },
      server: { listen: wide, adminListen: wide },
    });
    const response = await fetch(`${url.replace('0.0.0.0', '127.0.0.1')}/-/calls`, { headers });
    t.equal(response.status, enabled === true ? 200 : 404, String(enabled));
    await response.text();
  }
});

t.test('of several admin listeners only those serve it that no other machine reaches', async (t) => {
  const wide = { kind: 'tcp', host: '0.0.0.0', port: 0 } as const;
  const clients = [clientNamed('boss', { isAdmin: true, secret: inlineSecret('boss-secret-0123456789', 'test') })];
  const log = createTestLog();
  const config = configAt('http://127.0.0.1:1', {
    clients,
    server: { listen: [LOCAL[0]], adminListen: [wide, LOCAL[0]] },
  });
  const gateway = await createGateway(config, { log, env: {} });
  t.teardown(() => gateway.drain());
  const addresses = await gateway.listen();
  const headers = { ...ASKED, 'X-Gateway-Key': 'boss-secret-0123456789' };
  const statuses = [];
  for (const address of addresses) {
    const url = address.replace('0.0.0.0', '127.0.0.1');
    const asked = ['calls', 'status'].map((path) => fetch(`${url}/-/${path}`, { headers }));
    statuses.push((await Promise.all(asked)).map(({ status }) => status));
  }
  t.strictSame(statuses.sort(), [
    [200, 200],
    [404, 200],
  ]);
  t.equal(gateway.pages.length, 1);
});
