// A handle that has ended, in each place where a key can be shown: 401 gateway.session.ended, and nobody else is served
// in its place.

import t, { type Test } from 'tap';
import { basic, clientNamed, postToken } from '../helpers/clients.ts';
import { type ConfigOverrides, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';
import { makeChannel, refusalOf } from '../helpers/sockets.ts';

const DEAD = 'gcgh_dead';

/** Header lines, each of which shows the handle. */
const places = (handle: string) => ({
  Bearer: [`Authorization: Bearer ${handle}`],
  'Basic, as the secret': [`Authorization: ${basic('crm', handle)}`],
  'Basic, as the name': [`Authorization: ${basic(handle, '')}`],
  'X-Gateway-Key': [`X-Gateway-Key: ${handle}`],
});

/** Where a handle cannot be read it is not passed over either. */
const ODD_PLACES = {
  'Basic without a colon': [`Authorization: Basic ${Buffer.from(DEAD).toString('base64')}`],
  'no scheme': [`Authorization: ${DEAD}`],
  'another scheme': [`Authorization: Token ${DEAD}`],
  'behind another Bearer': ['Authorization: Bearer x', `Authorization: Bearer ${DEAD}`],
  'behind another Bearer, in Basic': ['Authorization: Bearer x', `Authorization: ${basic('a', DEAD)}`],
  'behind another X-Gateway-Key': ['X-Gateway-Key: x', `X-Gateway-Key: ${DEAD}`],
  'beside an Authorization': [`X-Gateway-Key: ${DEAD}`, 'Authorization: Bearer x'],
};

async function call(port: number, lines: readonly string[], path = '/api/v2/users') {
  const head = [`GET ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...lines, '', ''];
  const answer = parseAnswer(await exchangeRaw(port, head.join('\r\n')));
  return { status: answer.status, code: headerOf(answer, 'X-Gateway-Error') };
}

const SETTINGS: Record<string, ConfigOverrides> = {
  'no clients': {},
  'clients, and anonymous use': { clients: [clientNamed('crm')], server: { anonymousCredentials: ['*'] } },
  'clients alone': { clients: [clientNamed('crm')] },
};

for (const [setting, config] of Object.entries(SETTINGS)) {
  t.test(`${setting}: a dead handle is 401 wherever it is shown`, async (t) => {
    const { port, sandbox } = await startGateway(t, { config });
    const before = sandbox.stats.apiCallsTotal;
    for (const [place, lines] of Object.entries({ ...places(DEAD), ...ODD_PLACES })) {
      for (const path of ['/api/v2/users', '/default/api/v2/tokens/me']) {
        t.match(await call(port, lines, path), { status: 401, code: 'gateway.session.ended' }, `${place} at ${path}`);
      }
    }
    t.equal(sandbox.stats.apiCallsTotal, before, 'nothing went upstream');
  });
}

t.test('a good handle is itself in each of these places, until it is ended there', async (t) => {
  const { url, port } = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
  for (const place of Object.keys(places(''))) {
    const handle = await handleOf(t, url);
    const lines = places(handle)[place as keyof ReturnType<typeof places>];
    t.match(await call(port, lines), { status: 200 }, place);
    const [name = '', value = ''] = (lines[0] as string).split(': ');
    t.equal(
      (await fetch(`${url}/api/v2/tokens/me`, { method: 'DELETE', headers: { [name]: value } })).status,
      200,
      place,
    );
    t.match(await call(port, lines), { status: 401, code: 'gateway.session.ended' }, place);
  }
});

t.test('two handles, or a handle and another proof that is not of its client, contradict each other', async (t) => {
  const { url, port } = await startGateway(t, { config: { clients: [clientNamed('crm'), clientNamed('erp')] } });
  const [one, other] = [await handleOf(t, url), await handleOf(t, url)];
  t.match(
    await call(port, [`X-Gateway-Key: ${one}`, `Authorization: Bearer ${one}`]),
    { status: 200 },
    'twice the same',
  );
  for (const authorization of [
    `Bearer ${other}`,
    'Bearer erp-secret',
    'Bearer crm-secret',
    basic('erp', 'erp-secret'),
  ]) {
    const answer = await call(port, [`X-Gateway-Key: ${one}`, `Authorization: ${authorization}`]);
    t.match(answer, { status: 403, code: 'gateway.client.forbidden' }, authorization);
  }
});

t.test('at the token endpoint a dead handle gets no live one, and a live one no other', async (t) => {
  const form = { grant_type: 'client_credentials' };
  for (const config of Object.values(SETTINGS)) {
    const { url } = await startGateway(t, { config });
    const own = config.clients === undefined ? basic('any', 'thing') : basic('crm', 'crm-secret');
    const good = (await postToken(url, form, { authorization: own })).body.access_token;
    const attempts = (handle: string): [Record<string, string>, Record<string, string>][] => [
      [form, { authorization: basic('crm', handle) }],
      [form, { authorization: basic(handle, '') }],
      [{ ...form, client_id: 'crm', client_secret: handle }, {}],
      [form, { authorization: own, 'x-gateway-key': handle }],
    ];
    for (const [fields, headers] of [
      ...attempts(DEAD),
      [{ ...form, client_id: 'a' }, { authorization: `Bearer ${DEAD}` }] as const,
    ]) {
      const answer = await postToken(url, fields, headers);
      t.match(answer, { status: 401, body: { error: 'invalid_grant' } }, JSON.stringify(headers));
      t.equal(answer.headers.get('x-gateway-error'), 'gateway.session.ended');
    }
    for (const [fields, headers] of attempts(good)) {
      t.match(await postToken(url, fields, headers), {
        status: 400,
        body: { error: 'invalid_client', description: /a handle is no proof/ },
      });
    }
    const refresh = await postToken(url, { grant_type: 'refresh_token', refresh_token: good }, { authorization: own });
    t.match(refresh, { status: 400, body: { error: 'invalid_grant', description: /unknown here/ } });
  }
});

t.test('a handle in the address of a socket is no proof, and its caller is nobody else', async (t) => {
  const { url } = await startGateway(t);
  const { connectUri } = await makeChannel(url);
  t.match(await refusalOf(`${connectUri}?token=${DEAD}`), { status: 401, code: 'gateway.session.ended' });
  t.match(await refusalOf(connectUri, { headers: { 'x-gateway-key': DEAD } }), {
    status: 401,
    code: 'gateway.session.ended',
  });
  t.match(await refusalOf(connectUri), { status: 101 }, 'the control');
});

async function handleOf(t: Test, url: string): Promise<string> {
  const { status, body } = await postToken(
    url,
    { grant_type: 'client_credentials' },
    { authorization: basic('crm', 'crm-secret') },
  );
  t.equal(status, 200);
  return body.access_token;
}
