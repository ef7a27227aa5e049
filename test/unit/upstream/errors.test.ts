// Codes of sockets, DNS and TLS, and the errors they become.

import t from 'tap';
import { upstreamError } from '../../../src/upstream/errors.ts';

const endpoint = { host: 'api.mypurecloud.de', port: 443, secure: true };
const withCode = (code: string) => Object.assign(new Error('text-canary'), { code, address: 'canary' });

const cases: [code: string, errorCode: string, message: RegExp][] = [
  ['ENOTFOUND', 'gateway.upstream.unreachable', /the name api\.mypurecloud\.de cannot be resolved \(ENOTFOUND\)/],
  ['EAI_AGAIN', 'gateway.upstream.unreachable', /cannot be resolved/],
  [
    'ECONNREFUSED',
    'gateway.upstream.unreachable',
    /api\.mypurecloud\.de:443 cannot be reached \(ECONNREFUSED\): nothing listens/,
  ],
  ['ECONNRESET', 'gateway.upstream.unreachable', /interception/],
  ['EHOSTUNREACH', 'gateway.upstream.unreachable', /no route/],
  ['ETIMEDOUT', 'gateway.upstream.timeout', /did not accept/],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'gateway.upstream.tls', /not trusted.*add it to tls\.ca_file/],
  ['CERT_HAS_EXPIRED', 'gateway.upstream.tls', /has expired/],
  ['CERT_REVOKED', 'gateway.upstream.tls', /not acceptable \(CERT_REVOKED\)/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'gateway.upstream.tls', /does not speak TLS/],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'gateway.upstream.tls', /tls\.cert_file/],
  [
    'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED',
    'gateway.upstream.tls',
    /does not accept our client certificate .*renew tls\.cert_file/,
  ],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'gateway.upstream.tls', /does not accept our client certificate/],
  ['EPROTO', 'gateway.upstream.tls', /handshake failed/],
  ['ESOMETHING', 'gateway.upstream.unreachable', /check the network/],
];
for (const [code, errorCode, message] of cases) {
  t.test(`${code} is ${errorCode}`, async (t) => {
    const error = upstreamError(withCode(code), endpoint);
    t.match(error, { code: errorCode, message });
    t.notMatch(JSON.stringify([error.message, error.cause, Object.entries(error.cause ?? {})]), /canary/);
  });
}

t.test('several failed addresses are told by the first', async (t) => {
  const error = upstreamError(
    Object.assign(new AggregateError([withCode('ECONNREFUSED'), withCode('ENETUNREACH')]), { code: undefined }),
    endpoint,
  );
  t.match(error.message, /ECONNREFUSED/);
});
