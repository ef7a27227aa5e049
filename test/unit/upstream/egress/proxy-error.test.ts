// What goes wrong between us and a corporate proxy, in words that help.

import t from 'tap';
import { proxyConnectError } from '../../../../src/upstream/egress/proxy-error.ts';
import type { ForwardProxy } from '../../../../src/upstream/egress/proxy-route.ts';

const route: ForwardProxy = {
  kind: 'proxy',
  protocol: 'https',
  host: 'proxy.example',
  port: 3129,
  credentials: () => null,
  isStranger: false,
};
const withCode = (code: string, more: object = {}) =>
  Object.assign(new Error('text-canary'), { code, address: 'canary', ...more });

const cases: [error: Error, code: string, message: RegExp][] = [
  [
    withCode('ENOTFOUND', { syscall: 'getaddrinfo' }),
    'gateway.proxy.refused',
    /the name of the proxy https:\/\/proxy\.example:3129 cannot be resolved/,
  ],
  [withCode('ETIMEDOUT'), 'gateway.proxy.timeout', /did not accept the connection/],
  [withCode('ECONNREFUSED'), 'gateway.proxy.refused', /nothing listens there.*check proxy\.url/],
  [
    withCode('UNABLE_TO_VERIFY_LEAF_SIGNATURE'),
    'gateway.proxy.refused',
    /to the proxy .* itself is refused: .*add it to tls\.ca_file/,
  ],
  [withCode('ERR_SSL_WRONG_VERSION_NUMBER'), 'gateway.proxy.refused', /does not speak TLS there/],
  [
    withCode('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'),
    'gateway.proxy.refused',
    /wants a client certificate, that is not supported$/,
  ],
  [withCode('PROXY_ANSWER_TOO_LONG'), 'gateway.proxy.refused', /to CONNECT is too long/],
];
for (const [error, code, message] of cases) {
  t.test(`${(error as NodeJS.ErrnoException).code} is ${code}`, async (t) => {
    const told = proxyConnectError(error, route);
    t.match(told, { code, message });
    t.notMatch(told.message, /tls\.cert_file/, 'a proxy is never shown our certificate');
    t.notMatch(JSON.stringify([told.message, told.cause, Object.entries(told.cause ?? {})]), /canary/);
  });
}
