// The options of the way to Genesys Cloud: renewal, corporate proxy, TLS, deadlines, retries, pacing, headers.

import type { Option } from './option.ts';

const DEADLINE = { type: 'duration', minMs: 1, maxMs: 3_600_000 } as const;

export const REAUTHENTICATION_OPTIONS: readonly Option[] = [
  {
    section: 'reauthentication',
    key: 'refresh_access_token',
    kind: { type: 'boolean' },
    default: 'true',
    reload: 'live',
    doc: 'Renew tokens before they expire.',
  },
  {
    section: 'reauthentication',
    key: 'refresh_token_wait_max',
    kind: { type: 'duration', maxMs: 3_600_000 },
    default: '10',
    reload: 'live',
    doc: 'How long a call waits for a token that is being obtained (seconds).',
  },
];

export const PROXY_OPTIONS: readonly Option[] = [
  {
    section: 'proxy',
    key: 'url',
    kind: { type: 'text' },
    default: null,
    defaultNote: 'HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY apply',
    example: 'http://proxy.example.com:3128',
    reload: 'live',
    doc:
      'The corporate proxy: http, https, socks4, socks4a, socks5, socks5h, or a script: pac+http, pac+https, ' +
      'pac+file.',
  },
  {
    section: 'proxy',
    key: 'host',
    kind: { type: 'text', maybeEmpty: true },
    default: null,
    example: 'proxy.example.com',
    reload: 'live',
    doc: 'Instead of url: the host, as the SDKs write it.',
  },
  {
    section: 'proxy',
    key: 'port',
    kind: { type: 'integer', min: 1, max: 65535 },
    default: null,
    example: '3128',
    reload: 'live',
    doc: 'Instead of url: the port.',
  },
  {
    section: 'proxy',
    key: 'protocol',
    kind: { type: 'choice', of: ['http', 'https', 'socks4', 'socks4a', 'socks5', 'socks5h'] },
    default: null,
    defaultNote: 'http',
    example: 'http',
    reload: 'live',
    doc: 'Instead of url: the protocol spoken with the proxy.',
  },
  {
    section: 'proxy',
    key: 'username',
    kind: { type: 'text', maybeEmpty: true },
    default: null,
    example: 'egress',
    reload: 'live',
    doc: 'User name for the proxy (Basic or SOCKS; NTLM and Kerberos are not supported).',
  },
  {
    section: 'proxy',
    key: 'password',
    kind: { type: 'text' },
    default: null,
    isSecret: true,
    example: 'PROXY_PASSWORD',
    reload: 'live',
    doc: 'Password for the proxy.',
  },
  {
    section: 'proxy',
    key: 'credential_hosts',
    kind: { type: 'commaList' },
    default: null,
    defaultNote: 'with pac+https and pac+file whatever the script names, with pac+http none',
    example: '.proxy.example.com, 10.0.0.5:3128',
    reload: 'live',
    doc:
      'Proxies that a script may name and that are then shown username and password when they ask: names, ' +
      '.suffixes, host:port, CIDR blocks.',
  },
  {
    section: 'proxy',
    key: 'no_proxy',
    kind: { type: 'commaList' },
    default: null,
    example: '.internal.example.com, 10.0.0.0/8',
    reload: 'live',
    doc: 'Hosts reached directly: names, .suffixes, host:port, CIDR blocks, *.',
  },
  {
    section: 'proxy',
    key: 'off',
    kind: { type: 'boolean' },
    default: 'false',
    reload: 'live',
    doc: 'Use no proxy at all, whatever the environment says.',
  },
];

export const TLS_OPTIONS: readonly Option[] = [
  {
    section: 'tls',
    key: 'ca_file',
    kind: { type: 'path' },
    default: null,
    example: '/etc/ssl/corporate-ca.pem',
    reload: 'live',
    doc: 'Trust these CAs too (PEM), beside those of the system and of Node.',
  },
  {
    section: 'tls',
    key: 'cert_file',
    kind: { type: 'path' },
    default: null,
    example: '/etc/genesys-cloud-gateway/upstream.crt',
    reload: 'live',
    doc: 'The certificate to show to the region or the gateway before it (PEM).',
  },
  {
    section: 'tls',
    key: 'key_file',
    kind: { type: 'path' },
    default: null,
    example: '/etc/genesys-cloud-gateway/upstream.key',
    reload: 'live',
    doc: 'Its private key (PEM).',
  },
  {
    section: 'tls',
    key: 'key_passphrase',
    kind: { type: 'text' },
    default: null,
    isSecret: true,
    example: 'UPSTREAM_KEY_PASSPHRASE',
    reload: 'live',
    doc: 'The passphrase of the private key.',
  },
];

export const DEADLINE_OPTIONS: readonly Option[] = [
  {
    section: 'timeouts',
    key: 'connect',
    kind: DEADLINE,
    default: '5',
    reload: 'live',
    doc: 'Opening a connection, the corporate proxy and TLS included.',
  },
  {
    section: 'timeouts',
    key: 'token',
    kind: DEADLINE,
    default: '4',
    reload: 'live',
    doc: 'One attempt to obtain a token.',
  },
  {
    section: 'timeouts',
    key: 'headers',
    kind: DEADLINE,
    default: '60',
    reload: 'live',
    doc: "From the request, once it has a connection, to the platform's response headers.",
  },
  {
    section: 'timeouts',
    key: 'body',
    kind: DEADLINE,
    default: '300',
    reload: 'live',
    doc: 'Longest pause while a body is being sent or received.',
  },
  {
    section: 'timeouts',
    key: 'total_wait',
    kind: { type: 'duration', maxMs: 3_600_000 },
    default: '15',
    reload: 'live',
    doc: 'Queue, token wait and retries of one call together.',
    more: 'The JavaScript SDK gives up after 16 seconds, so keep this below 16.',
  },
  {
    section: 'retry',
    key: 'retry_max',
    kind: { type: 'integer', max: 20 },
    default: '3',
    reload: 'live',
    doc: 'Retries of one call after 429, 502, 503, 504 or a connection error; 0 for none.',
  },
  {
    section: 'retry',
    key: 'retry_wait_min',
    kind: { type: 'duration', maxMs: 3_600_000 },
    default: '1',
    reload: 'live',
    doc: 'The shortest wait between two tries (seconds).',
  },
  {
    section: 'retry',
    key: 'retry_wait_max',
    kind: { type: 'duration', maxMs: 3_600_000 },
    default: '5',
    reload: 'live',
    doc: 'The longest wait between two tries (seconds).',
  },
  {
    section: 'rate_limit',
    key: 'mode',
    kind: { type: 'choice', of: ['enforce', 'report', 'off'] },
    default: 'enforce',
    reload: 'live',
    doc: 'enforce: hold calls back before the platform refuses them; report: only log it; off.',
  },
  {
    section: 'rate_limit',
    key: 'requests_per_minute',
    kind: { type: 'integerOr', word: 'auto', min: 1 },
    default: 'auto',
    reload: 'live',
    doc: 'The limit of one credential: auto learns it from 429 answers, a number counts from the start.',
  },
  {
    section: 'rate_limit',
    key: 'queue_max',
    kind: { type: 'integer', max: 1_000_000 },
    default: '1000',
    reload: 'live',
    doc: 'How many calls may wait, for a limit or for a connection; further ones get 429 at once.',
  },
  {
    section: 'rate_limit',
    key: 'connections',
    kind: { type: 'integer', min: 1, max: 10_000 },
    default: '256',
    reload: 'live',
    doc: 'How many calls may be under way to one host at a time, whatever the mode.',
    more:
      'Given out by client, then by credential, within timeouts.total_wait. One client may hold eight times as ' +
      'many as are free, one credential of it four times as many: one alone can have 205 of 256. Calls that their ' +
      'own callers hold up (a slow upload, an answer that is not read) may be as many again.',
  },
];
