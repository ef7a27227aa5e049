// Which Host and which Origin may speak to the gateway.

import fc from 'fast-check';
import t from 'tap';
import { isGatewayError } from '../../../src/errors.ts';
import {
  assertAllowedHost,
  assertAllowedOrigin,
  createBoundaryRules,
  isAllowedHost,
  parseHost,
} from '../../../src/server/admission.ts';

const plain = createBoundaryRules({ allowedHosts: [], corsOrigins: [], publicUrl: null });
const listed = createBoundaryRules({
  allowedHosts: ['Gateway.Corp', 'other.corp:8443'],
  corsOrigins: ['https://app.corp'],
  publicUrl: 'https://gcg.example/base',
});
const codeOf = (run: () => void) => {
  try {
    run();
    return null;
  } catch (error) {
    return isGatewayError(error) ? error.code : 'unknown';
  }
};

t.test('hosts of a gateway', async (t) => {
  for (const host of [
    'localhost',
    'LOCALHOST:8080',
    'localhost.',
    'sub.localhost',
    'a.b.localhost:1',
    '127.0.0.1',
    '127.0.0.1:8080',
    '127.9.9.9',
    '10.0.0.5:80',
    '[::1]',
    '[::1]:8080',
    '[fe80::1]',
    '[::ffff:127.0.0.1]',
  ]) {
    t.equal(isAllowedHost(host, plain), true, host);
  }
  for (const host of [
    'evil.test',
    'localhost.evil.test',
    '127.0.0.1.evil.test',
    'notlocalhost',
    'xlocalhost',
    'localhost.localdomain',
    'localhost@evil.test',
    'localhost:80:90',
    'localhost:',
    'localhost:x',
    'localhost:8080x',
    ':8080',
    '',
    ' localhost',
    'localhost ',
    'localhost/x',
    '127.1',
    '127.0.0.1.',
    '0x7f.0.0.1',
    '127.0.0.256',
    '2130706433',
    '::1',
    '[::1',
    '[::1]x',
    '[::1%25lo]',
    '[localhost]',
    '[127.0.0.1]',
    'localhost,evil.test',
    'local\u017fhost',
  ]) {
    t.equal(isAllowedHost(host, plain), false, host);
    t.equal(
      codeOf(() => assertAllowedHost(host, plain)),
      'gateway.host.forbidden',
      host,
    );
  }
});

t.test('listed hosts, with and without a port', async (t) => {
  for (const host of ['gateway.corp', 'GATEWAY.CORP:1234', 'other.corp:8443', 'gcg.example', 'gcg.example:443'])
    t.equal(isAllowedHost(host, listed), true, host);
  for (const host of ['other.corp', 'other.corp:80', 'x.gateway.corp', 'gateway.corp.evil.test'])
    t.equal(isAllowedHost(host, listed), false, host);
});

const origin = (
  value: string | undefined,
  host = 'localhost:8080',
  more: { fetchSite?: string; isEncrypted?: boolean } = {},
) =>
  codeOf(() =>
    assertAllowedOrigin(
      { host, origin: value, fetchSite: more.fetchSite, isEncrypted: more.isEncrypted ?? false },
      listed,
      true,
    ),
  );

t.test('our own origin, listed ones and callers without one', async (t) => {
  t.equal(origin(undefined), null);
  t.equal(origin('http://localhost:8080'), null);
  t.equal(origin('http://localhost:8080', 'LocalHost:8080'), null);
  t.equal(origin('https://localhost:8443', 'localhost:8443', { isEncrypted: true }), null);
  t.equal(origin('https://app.corp'), null);
  t.equal(origin('https://gcg.example'), null, 'public_url');
  t.equal(origin('http://localhost:8080', 'localhost:8080', { fetchSite: 'same-origin' }), null);
  t.equal(origin('https://app.corp', 'localhost:8080', { fetchSite: 'cross-site' }), null, 'listed, from another site');
  for (const fetchSite of ['none', 'same-origin'])
    t.equal(origin(undefined, 'localhost:8080', { fetchSite }), null, fetchSite);
});

t.test('every other origin is refused', async (t) => {
  for (const value of [
    'null',
    '',
    'https://evil.test',
    'http://localhost',
    'http://localhost:80801',
    'http://localhost:8080.evil.test',
    'http://localhost:8080/',
    'https://localhost:8080',
    'http://127.0.0.1:8080',
    'http://sub.localhost:8080',
    'HTTP://localhost:8080',
    'https://app.corp.evil.test',
    'https://app.corp:444',
    'http://app.corp',
    'https://app.corp, https://app.corp',
    'http://evil.test@localhost:8080',
    'file://',
    'chrome-extension://abc',
  ]) {
    t.equal(origin(value), 'gateway.origin.forbidden', value);
    t.equal(origin(value, 'localhost:8080', { fetchSite: 'same-origin' }), 'gateway.origin.forbidden', value);
  }
  for (const fetchSite of ['cross-site', 'same-site'])
    t.equal(origin(undefined, 'localhost:8080', { fetchSite }), 'gateway.origin.forbidden', fetchSite);
});

t.test('no name but those under localhost, and no junk, is ever a host of ours', async () => {
  const piece = fc.constantFrom(
    'localhost',
    '.',
    ':',
    '127',
    '0',
    '1',
    '[',
    ']',
    '::1',
    'evil',
    'test',
    '@',
    '%00',
    ' ',
    '8080',
    '-',
    '/',
  );
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), (pieces) => {
      const host = pieces.join('');
      if (!isAllowedHost(host, plain)) return true;
      const name = parseHost(host)?.name ?? '';
      const asUrl = new URL(`http://${host}/`);
      return /(^|\.)localhost\.?$/.test(name) || /^[\d.]+$/.test(asUrl.hostname) || asUrl.hostname.startsWith('[');
    }),
    { numRuns: 5000 },
  );
});

t.test('a port that is none makes a Host that is none', async (t) => {
  t.equal(parseHost('localhost:65536'), null);
  t.match(parseHost('localhost:65535'), { name: 'localhost', port: '65535' });
});
