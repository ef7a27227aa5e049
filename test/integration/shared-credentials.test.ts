// Several credentials in one gateway: the path or a header names one, each call carries that one's token, and strangers
// get the default only.

import t from 'tap';
import { inlineSecret } from '../../src/secret.ts';
import { ok } from '../helpers/direct.ts';
import { type ConfigOverrides, configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, startRawUpstream } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

const credential = (origin: string, name: string, isDefault = false) =>
  credentialAt(origin, {
    name,
    isDefault,
    grantType: 'access_token',
    clientId: null,
    clientSecret: null,
    accessToken: inlineSecret(`token-of-${name}`, 'test'),
  });

async function start(
  t: Parameters<typeof startRawUpstream>[0],
  anonymousCredentials: readonly string[] | null,
  hasDefault = true,
) {
  const upstream = await startRawUpstream(t, (socket) => socket.write(ok('{}')));
  const { origin } = upstream;
  const overrides: ConfigOverrides = {
    credentials: [credential(origin, 'crm', hasDefault), credential(origin, 'wfm'), credential(origin, 'hr')],
    server: { anonymousCredentials },
  };
  const { port, log } = await startGatewayWith(t, configAt(origin, overrides));
  const call = (path: string, line = '') => exchangeRaw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${line}\r\n`);
  const tokens = () => upstream.requests.map((request) => /^authorization: bearer (.*)\r$/im.exec(request)?.[1]);
  return { call, tokens, log };
}

t.test('each call carries the token of the credential it names', async (t) => {
  const { call, tokens, log } = await start(t, ['*']);
  for (const received of [
    await call('/api/v2/users'),
    await call('/wfm/api/v2/users'),
    await call('/api/v2/users', 'X-Gateway-Credential: hr\r\n'),
    await call('/hr/api/v2/users', 'X-Gateway-Credential: hr\r\n'),
  ]) {
    t.match(received, /^HTTP\/1\.1 200 /);
  }
  t.strictSame(tokens(), ['token-of-crm', 'token-of-wfm', 'token-of-hr', 'token-of-hr']);
  t.strictSame(
    log.exchanges.map((record) => record.credential),
    ['crm', 'wfm', 'hr', 'hr'],
  );
});

t.test('an anonymous caller may use the default credential, unless others are named', async (t) => {
  const onlyDefault = await start(t, null);
  t.match(await onlyDefault.call('/crm/api/v2/users'), /^HTTP\/1\.1 200 /);
  isRefusal(t, await onlyDefault.call('/wfm/api/v2/users'), 403, 'gateway.client.forbidden');
  isRefusal(
    t,
    await onlyDefault.call('/api/v2/users', 'X-Gateway-Credential: hr\r\n'),
    403,
    'gateway.client.forbidden',
  );
  t.strictSame(onlyDefault.tokens(), ['token-of-crm']);
  const some = await start(t, ['wfm']);
  t.match(await some.call('/wfm/api/v2/users'), /^HTTP\/1\.1 200 /);
  isRefusal(t, await some.call('/hr/api/v2/users'), 403, 'gateway.client.forbidden');
});

t.test('a name at odds, an unknown one and several are refused', async (t) => {
  const { call, tokens } = await start(t, ['*']);
  isRefusal(t, await call('/wfm/api/v2/users', 'X-Gateway-Credential: hr\r\n'), 400);
  isRefusal(t, await call('/api/v2/users', 'X-Gateway-Credential: hr\r\nX-Gateway-Credential: wfm\r\n'), 400);
  isRefusal(t, await call('/api/v2/users', 'X-Gateway-Credential: hr, wfm\r\n'), 400);
  isRefusal(t, await call('/nobody/api/v2/users'), 404, 'gateway.credential.unknown');
  isRefusal(t, await call('/api/v2/users', 'X-Gateway-Credential: __proto__\r\n'), 404, 'gateway.credential.unknown');
  isRefusal(t, await call('/constructor/api/v2/users'), 404, 'gateway.credential.unknown');
  t.strictSame(tokens(), []);
});

t.test('without a default there is nothing to serve strangers with', async (t) => {
  const { call, tokens } = await start(t, null, false);
  isRefusal(t, await call('/api/v2/users'), 404, 'gateway.credential.unknown');
  isRefusal(t, await call('/crm/api/v2/users'), 403, 'gateway.client.forbidden');
  t.strictSame(tokens(), []);
});
