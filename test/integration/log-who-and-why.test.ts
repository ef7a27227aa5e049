// What the record of a call says of its caller and of its failure, through a real gateway: who called from where with
// which secret, whom a refused proof names, which rule refused.

import { hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { secretFingerprint } from '../../src/auth/callers/clients.ts';
import type { ExchangeRecord } from '../../src/logging/exchange-record.ts';
import { createLogger } from '../../src/logging/logger.ts';
import { basic, clientNamed, postToken } from '../helpers/clients.ts';
import { configAt, startGateway, type TestGateway } from '../helpers/gateway.ts';

const sha256 = (text: string) => hash('sha256', text);

/** The record of one call. */
async function recordOf(
  { url, log }: Pick<TestGateway, 'url' | 'log'>,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<ExchangeRecord> {
  const before = log.exchanges.length;
  await (await fetch(url + path, { method, headers })).arrayBuffer();
  await log.nextExchange(() => log.exchanges.length > before);
  return log.exchanges.at(-1) as ExchangeRecord;
}

t.test('the record of a served call names the peer, the program and the secret that was shown', async (t) => {
  const secrets = ['the-first-secret', 'the-second-secret'];
  const gateway = await startGateway(t, {
    config: { clients: [clientNamed('crm', { secret: null, secretSha256: secrets.map(sha256) })] },
  });
  for (const secret of secrets) {
    const headers = { authorization: `Bearer ${secret}`, 'user-agent': 'crm-batch/3' };
    const record = await recordOf(gateway, '/api/v2/users', headers);
    t.match(record, {
      client: 'crm',
      status: 200,
      peer: '127.0.0.1',
      userAgent: 'crm-batch/3',
      secretFingerprint: sha256(secret).slice(0, 8),
      claimedClient: null,
      error: null,
      rule: null,
    });
    t.equal(record.secretFingerprint, secretFingerprint(sha256(secret)), 'as the list of clients shows it');
  }
  const token = await postToken(
    gateway.url,
    { grant_type: 'client_credentials' },
    {
      authorization: basic('crm', 'the-first-secret'),
    },
  );
  t.match(gateway.log.exchanges.at(-1), { client: 'crm', secretFingerprint: sha256('the-first-secret').slice(0, 8) });
  const byHandle = await recordOf(gateway, '/api/v2/users', { authorization: `Bearer ${token.body.access_token}` });
  t.match(byHandle, { client: 'crm', secretFingerprint: sha256('the-first-secret').slice(0, 8) }, 'also by its handle');
});

/** X-Forwarded-For behind a proxy on 127.0.0.1 and 10.0.0.0/8, and the peer it makes. */
const CHAINS: readonly [what: string, forwarded: string | undefined, peer: string][] = [
  ['none', undefined, '127.0.0.1'],
  ['one', '203.0.113.9', '203.0.113.9'],
  ['through another proxy of ours', '203.0.113.9, 10.1.2.3', '203.0.113.9'],
  ['what the caller put before it', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
  ['with a port', '203.0.113.9:4711', '203.0.113.9'],
  ['no address', 'crm"\u0020}', '127.0.0.1'],
  ['an endless zone', `fe80::1%${'z'.repeat(1_000)}`, '127.0.0.1'],
  ['an endless chain', `203.0.113.9, ${'10.1.1.1,'.repeat(3_000)}10.1.1.1`, '127.0.0.1'],
];

t.test('the peer is the one behind trusted proxies, and the socket’s address for all others', async (t) => {
  const trusting = await startGateway(t, { config: { server: { trustedProxies: ['127.0.0.1', '10.0.0.0/8'] } } });
  const plain = await startGateway(t);
  for (const [what, forwarded, peer] of CHAINS) {
    const headers: Record<string, string> = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    t.equal((await recordOf(trusting, '/api/v2/users', headers)).peer, peer, what);
    t.equal((await recordOf(plain, '/api/v2/users', headers)).peer, '127.0.0.1', `${what}, believed by nobody`);
  }
});

t.test('the peer of a call by a Unix socket is that socket', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-log-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'gcg.sock');
  const { log } = await startGateway(t, {
    config: {
      server: {
        listen: [
          { kind: 'tcp', host: '127.0.0.1', port: 0 },
          { kind: 'unix', path },
        ],
      },
    },
  });
  await new Promise<void>((resolve, reject) => {
    httpRequest({ socketPath: path, path: '/api/v2/users', headers: { host: 'localhost' } }, (answer) => {
      answer.resume().on('end', resolve);
    })
      .on('error', reject)
      .end();
  });
  t.match(await log.nextExchange(), { status: 200, peer: `unix:${path}`, userAgent: null });
});

t.test('the record of a refused proof names whom it claims, in no case the secret', async (t) => {
  const gateway = await startGateway(t, {
    config: { clients: [clientNamed('crm'), clientNamed('erp')], server: { trustedProxies: ['127.0.0.1'] } },
  });
  const { url, log } = gateway;
  const secretLike = 'Zm9vYmFyYmF6cXV1eGZvb2JhcmJhenF1dXg';
  const CLAIMS: readonly [what: string, headers: Record<string, string>, claimed: string | null | RegExp][] = [
    ['Basic', { authorization: basic('crm', 'wrong') }, 'crm'],
    ['a client that is gone', { authorization: basic('old-batch-2', 'wrong') }, 'old-batch-2'],
    ['an OAuth client’s id', { authorization: basic('0e8b3a52-0f4c-4f6b-9d5c-1a2b3c4d5e6f', 'x') }, /^0e8b3a52-/],
    ['a secret in the place of the name', { authorization: basic(secretLike, '') }, /^~[0-9a-f]{12}$/],
    ['a name that drives a terminal', { authorization: basic('\u001b[2J"}', 'x') }, /^~[0-9a-f]{12}$/],
    ['a name without end', { authorization: basic('a'.repeat(5_000), 'x') }, /^~[0-9a-f]{12}$/],
    ['a wrong secret alone', { authorization: 'Bearer wrong' }, null],
    ['nothing', {}, null],
    ['a forged handle', { authorization: `Bearer gcgh_c${btoa('["a","crm",null,null,1]')}.AAAA` }, null],
  ];
  for (const [at, [what, headers, claimed]] of CLAIMS.entries()) {
    // Each from a peer of its own: one that shows wrong secrets waits longer for every answer.
    const peer = { 'x-forwarded-for': `203.0.113.${at}` };
    const record = await recordOf(gateway, '/api/v2/users', { ...headers, ...peer });
    t.match(record, { status: 401, client: null, claimedClient: claimed }, what);
    t.ok(record.error, `${what}: in words`);
  }
  await postToken(url, { grant_type: 'client_credentials', client_id: 'crm', client_secret: 'wrong' });
  t.match(await log.nextExchange(({ route }) => route === '/oauth/token'), {
    status: 400,
    client: null,
    claimedClient: 'crm',
    errorCode: 'gateway.client.unauthenticated',
    error: /not the secret of this client/,
  });
  const logged = await render(log.exchanges);
  t.match(logged, '"claimedClient":"crm"');
  t.notMatch(logged, secretLike);
});

t.test('a handle of a removed secret, and of a removed client, names whose it was', async (t) => {
  const gateway = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  const handleOf = async (name: string) => {
    const { body } = await postToken(
      gateway.url,
      { grant_type: 'client_credentials' },
      { authorization: basic(name, `${name}-secret`) },
    );
    return body.access_token;
  };
  const [crm, erp] = [await handleOf('crm'), await handleOf('erp')];
  const changed = clientNamed('crm', { secret: null, secretSha256: [sha256('the new secret')] });
  gateway.gateway.replace({ ...gateway.config, clients: [changed] });
  for (const [name, handle] of [
    ['crm', crm],
    ['erp', erp],
  ] as const) {
    for (const headers of [{ authorization: `Bearer ${handle}` }, { 'x-gateway-key': handle }] as Record<
      string,
      string
    >[])
      t.match(await recordOf(gateway, '/api/v2/users', headers), {
        status: 401,
        client: null,
        claimedClient: name,
        errorCode: 'gateway.session.ended',
        error: /log in again/,
      });
  }
});

t.test('the record of a call that rules refuse, or would refuse, has the rule', async (t) => {
  const RULES = { allow: ['GET /api/v2/**'], deny: ['* /api/v2/authorization/**'] };
  const gateway = await startGateway(t, {
    config: {
      clients: [clientNamed('crm', RULES), clientNamed('erp', { ...RULES, mode: 'report' })],
    },
  });
  const CALLS: readonly [method: string, path: string, rule: string | null][] = [
    ['GET', '/api/v2/users', null],
    ['GET', '/api/v2/authorization/roles', 'deny[] = * /api/v2/authorization/**'],
    ['DELETE', '/api/v2/users/x', 'allow[]: not listed'],
    ['GET', '/api/v2/users?_method=DELETE', 'allow[], deny[]: the call can be read in more than one way'],
  ];
  for (const [method, path, rule] of CALLS) {
    const refused = await recordOf(gateway, path, { authorization: 'Bearer crm-secret' }, method);
    t.match(refused, { rule, errorCode: rule === null ? null : 'gateway.client.forbidden' });
    const reported = await recordOf(gateway, path, { authorization: 'Bearer erp-secret' }, method);
    t.match(reported, { rule, errorCode: null, source: 'upstream' }, 'report mode');
  }
});

/** The lines of a real log. */
async function render(records: readonly ExchangeRecord[]): Promise<string> {
  let text = '';
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const log = createLogger(configAt('http://127.0.0.1:1', { logging: { toConsole: true } }).logging, { stdout });
  for (const record of records) log.exchange(record);
  await log.close();
  return text;
}
