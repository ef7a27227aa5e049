// Whose a channel is: only who made it here may listen to it, by the proof of any other call or by what its connectUri
// carries.

import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { basic, clientNamed, credentialOf, postToken } from '../helpers/clients.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';
import { makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

const crm = { authorization: 'Bearer crm-secret' };
const erp = { authorization: 'Bearer erp-secret' };
const withoutToken = (uri: string) => uri.replace(/\?.*/, '');

t.test('an id that was not issued here is not carried, though the platform knows it', async (t) => {
  const { url, sandbox, config } = await startGateway(t);
  const token = sandbox.issueToken().value;
  const direct = await fetch(`${config.general.hosts.api.origin}/api/v2/notifications/channels`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
  const { id } = (await direct.json()) as { id: string };
  const before = sandbox.events.recent.length;
  for (const wanted of [id, 'streaming-0-unknown', '%2e%2e', `${id}%00`, `${id}/x`, `x/${id}`]) {
    const { status } = await refusalOf(`${url}/streaming/channels/${wanted}`);
    t.ok(status === 404 || status === 400, `${wanted}: ${status}`);
  }
  t.match(await refusalOf(`${url}/streaming/channels/${id}`), { status: 404, code: 'gateway.route.not.found' });
  t.equal(sandbox.events.recent.length, before, 'the platform was not asked');
});

t.test('where clients are configured, a channel is for the client that made it', async (t) => {
  const { url, log } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  const { id, connectUri } = await makeChannel(url, crm);
  t.match(connectUri, new RegExp(`^ws://127\\.0\\.0\\.1:\\d+/streaming/channels/${id}\\?token=[\\w-]{22}$`));
  const bare = withoutToken(connectUri);

  await openWebSocket(t, bare, { headers: crm });
  await openWebSocket(t, bare, { headers: { 'X-Gateway-Key': 'crm-secret' } });
  t.match(
    await refusalOf(bare, { headers: erp }),
    { status: 404, code: 'gateway.route.not.found' },
    "another client's",
  );
  t.match(await refusalOf(bare), { status: 401, code: 'gateway.client.unauthenticated' }, 'nobody');
  t.match(
    await refusalOf(`${url}/streaming/channels/never-issued`),
    { status: 401 },
    'nobody learns which ids there are',
  );
  t.match(await refusalOf(bare, { headers: { authorization: 'Bearer guessed' } }), { status: 401 }, 'a wrong secret');

  const socket = await openWebSocket(t, connectUri);
  t.ok(socket, 'its address stands for the proof, where a socket cannot carry one');
  t.match(
    await refusalOf(connectUri, { headers: erp }),
    { status: 404 },
    'a proof that is shown counts, and not the address',
  );
  t.match(await refusalOf(`${bare}?token=${'A'.repeat(22)}`), { status: 401 });
  socket.terminate();
  const record = await log.nextExchange(({ status, aborted }) => status === 101 && aborted);
  t.equal(record.client, 'crm');
});

t.test('the list shows the channels of everybody with the credential, and opens none of theirs', async (t) => {
  const { url } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  const { connectUri } = await makeChannel(url, crm);
  const answer = await fetch(`${url}/api/v2/notifications/channels`, { headers: erp });
  const { entities } = (await answer.json()) as { entities: { connectUri: string }[] };
  t.equal(entities[0]?.connectUri, withoutToken(connectUri));
  t.match(await refusalOf(entities[0]?.connectUri ?? '', { headers: erp }), { status: 404 });
  await openWebSocket(t, connectUri);
});

t.test('who may not make channels may not listen to one either', async (t) => {
  const reader = clientNamed('reader', { allow: ['GET /**'] });
  const { url, gateway } = await startGateway(t, { config: { clients: [clientNamed('crm'), reader] } });
  await makeChannel(url, crm);
  const made = await fetch(`${url}/api/v2/notifications/channels`, {
    headers: { authorization: 'Bearer reader-secret' },
  });
  const { entities } = (await made.json()) as { entities: { connectUri: string; id: string }[] };
  t.match(await refusalOf(entities[0]?.connectUri ?? '', { headers: { authorization: 'Bearer reader-secret' } }), {
    status: 403,
    code: 'gateway.client.forbidden',
  });
  t.equal(gateway.socketCount(), 0);
});

t.test('a channel is for the credential it was made with', async (t) => {
  const { url } = await startGateway(t, {
    config: (origin) => ({
      credentials: [credentialAt(origin), credentialOf(origin, 'other', DEMO_CLIENTS.clientCredentials)],
      clients: [clientNamed('crm', { credentials: ['default', 'other'] }), clientNamed('erp')],
    }),
  });
  const { id, connectUri } = await makeChannel(url, crm, '/other');
  t.match(connectUri, `/other/streaming/channels/${id}?token=`);
  await openWebSocket(t, connectUri);
  await openWebSocket(t, withoutToken(connectUri), { headers: crm });
  await openWebSocket(t, `${url}/streaming/channels/${id}`, { headers: { ...crm, 'X-Gateway-Credential': 'other' } });
  t.match(await refusalOf(connectUri.replace('/other/', '/')), { status: 404 }, 'the default one is another');
  t.match(await refusalOf(connectUri.replace('/other/', '/default/'), { headers: crm }), { status: 404 });
  t.match(
    await refusalOf(connectUri, { headers: erp }),
    { status: 403, code: 'gateway.client.forbidden' },
    'a credential that is not theirs',
  );
  t.match(await refusalOf(connectUri.replace('/other/', '/nosuch/'), { headers: crm }), {
    status: 404,
    code: 'gateway.credential.unknown',
  });
  const byHeader = await makeChannel(url, { ...crm, 'X-Gateway-Credential': 'other' });
  t.match(
    byHeader.connectUri,
    `/other/streaming/channels/${byHeader.id}?token=`,
    'a socket cannot name it in a header',
  );
});

t.test('a handle makes channels; their addresses end with the handle', async (t) => {
  const { url } = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
  const login = await postToken(
    url,
    { grant_type: 'client_credentials' },
    { authorization: basic('crm', 'crm-secret') },
  );
  const authorization = `Bearer ${login.body.access_token}`;
  const { connectUri } = await makeChannel(url, { authorization });
  await openWebSocket(t, connectUri);
  await openWebSocket(t, withoutToken(connectUri), { headers: { authorization } });
  await fetch(`${url}/api/v2/tokens/me`, { method: 'DELETE', headers: { authorization } });
  t.match(await refusalOf(connectUri), { status: 401, code: 'gateway.client.unauthenticated' });
  t.match(await refusalOf(connectUri, { headers: { authorization } }), { status: 401, code: 'gateway.session.ended' });
});

t.test('an application on an anonymous listener needs nothing but the address', async (t) => {
  const { url } = await startGateway(t);
  const login = await postToken(url, { grant_type: 'client_credentials' }, { authorization: basic('any', 'thing') });
  const { id, connectUri } = await makeChannel(url, { authorization: `Bearer ${login.body.access_token}` });
  t.equal(connectUri, `${url.replace('http', 'ws')}/streaming/channels/${id}`);
  await openWebSocket(t, connectUri);
});
