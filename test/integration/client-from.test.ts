// `from` of a client on real listeners: TCP, a Unix socket, TLS with certificates, and behind a trusted proxy; for
// secrets, handles, sockets and their channel tokens, and across a reload.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { askAt } from '../helpers/ask.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { basic, clientNamed, postToken } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';
import { makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

const crm = { authorization: 'Bearer crm-secret' };
const ELSEWHERE = { status: 401, code: 'gateway.client.unauthenticated', body: /may not call from/ };

t.test('a Unix socket is unix, and no address; TCP is an address, and not unix', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-from-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const listen = [
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    { kind: 'unix', path: join(folder, 's') },
  ] as const;
  const clients = [clientNamed('crm', { from: ['127.0.0.0/8'] }), clientNamed('local', { from: ['unix'] })];
  const { gateway, config, url } = await startGateway(t, { config: { clients, server: { listen } } });
  const unix = `unix:${listen[1].path}`;
  const local = { authorization: 'Bearer local-secret' };
  t.equal((await askAt(url, { headers: crm })).status, 200);
  t.match(await askAt(unix, { headers: crm }), {
    ...ELSEWHERE,
    body: /may not call from unix:.*: client\.crm\.from does not list it/,
  });
  t.equal((await askAt(unix, { headers: local })).status, 200);
  t.match(await askAt(url, { headers: local }), ELSEWHERE);
  t.match(await askAt(unix, { headers: { ...crm, 'x-forwarded-for': '127.0.0.1' } }), ELSEWHERE);
  const { body: handle } = await postToken(
    url,
    { grant_type: 'client_credentials' },
    { authorization: basic('crm', 'crm-secret') },
  );
  const bearer = { authorization: `Bearer ${handle.access_token}` };
  t.equal((await askAt(url, { headers: bearer })).status, 200);
  t.match(await askAt(unix, { headers: bearer }), ELSEWHERE, 'a handle that was carried off');

  const { connectUri } = await makeChannel(url, crm);
  const socket = await openWebSocket(t, connectUri);
  const closed = once(socket, 'close');
  gateway.replace({
    ...config,
    clients: [clientNamed('crm', { from: ['192.0.2.0/24'] }), clients[1] as (typeof clients)[0]],
  });
  t.equal((await closed)[0], 1008, 'a reload that moves the client ends its socket');
  t.match(await askAt(url, { headers: bearer }), ELSEWHERE);
  t.match(await refusalOf(connectUri), { status: 401 }, 'and the token in the channel’s address opens none');
});

t.test('behind a trusted proxy the caller’s address counts; by certificates, too', async (t) => {
  const serverCa = await createTestCa('Server CA');
  const clientCa = await createTestCa('Client CA');
  t.teardown(() => {
    serverCa.close();
    clientCa.close();
  });
  const pair = serverCa.issue(['localhost', '127.0.0.1']);
  const certificate = clientCa.issue(['crm.internal'], { commonName: 'crm' });
  const { url } = await startGateway(t, {
    config: {
      clients: [clientNamed('crm', { certSubject: 'crm', from: ['10.1.0.0/16', '2001:db8::/32'] })],
      server: {
        trustedProxies: ['127.0.0.1'],
        tls: { certFile: pair.certFile, keyFile: pair.keyFile, clientCaFile: clientCa.caFile },
      },
    },
  });
  const cases: [forwarded: string | null, isLet: boolean][] = [
    ['10.1.2.3', true],
    ['2001:DB8::9', true],
    ['::ffff:10.1.2.3', true],
    ['10.2.0.1', false],
    ['10.1.2.3, 203.0.113.9', false],
    ['203.0.113.9, 10.1.2.3', true],
    ['10.1.2.3, nonsense', false],
    [null, false],
  ];
  for (const [forwarded, isLet] of cases) {
    const headers: Record<string, string> = forwarded === null ? {} : { 'x-forwarded-for': forwarded };
    const byCertificate = await askAt(url, { headers, certificate });
    const bySecret = await askAt(url, { headers: { ...headers, ...crm } });
    for (const answer of [byCertificate, bySecret])
      t.match(answer, isLet ? { status: 200 } : ELSEWHERE, String(forwarded));
  }
});
