// The options of the two ends: the region (general, gateway) and the listeners (server, server.tls).

import type { Option } from './option.ts';

const DURATION_UP_TO_AN_HOUR = { type: 'duration', maxMs: 3_600_000 } as const;

export const GENERAL_OPTIONS: readonly Option[] = [
  {
    section: 'general',
    key: 'host',
    kind: { type: 'text' },
    default: 'https://api.mypurecloud.com',
    reload: 'live',
    doc: 'The Genesys Cloud region.',
    more:
      'A domain (mypurecloud.de), an API address (https://api.mypurecloud.de) or a region name (eu-central-1, ' +
      'eu_central_1).',
  },
  {
    section: 'general',
    key: 'live_reload_config',
    kind: { type: 'boolean' },
    default: 'true',
    reload: 'live',
    doc: 'Apply changes to this file while running.',
    more: 'An invalid file is rejected and the current configuration stays in effect. SIGHUP always reloads.',
  },
];

export const GATEWAY_OPTIONS: readonly Option[] = [
  {
    section: 'gateway',
    key: 'host',
    kind: { type: 'text', maybeEmpty: true },
    default: null,
    example: 'gateway.example.com',
    reload: 'live',
    doc: 'Send logins and API calls to this host instead of to the region.',
    more: 'Another gateway or a test server; may hold a port and a path. The same keys as in the Genesys Cloud SDKs.',
  },
  {
    section: 'gateway',
    key: 'protocol',
    kind: { type: 'choice', of: ['https', 'http'] },
    default: 'https',
    reload: 'live',
    doc: 'https, or http (on loopback, or with unsafe_plain_http).',
  },
  {
    section: 'gateway',
    key: 'port',
    kind: { type: 'integer', min: 0, max: 65535 },
    default: null,
    example: '8443',
    reload: 'live',
    doc: 'The port, when it is not the usual one of the protocol.',
  },
  {
    section: 'gateway',
    key: 'path_params_login',
    kind: { type: 'text', maybeEmpty: true },
    default: null,
    example: 'login',
    reload: 'live',
    doc: 'Path put before /oauth/token and the other login paths.',
  },
  {
    section: 'gateway',
    key: 'path_params_api',
    kind: { type: 'text', maybeEmpty: true },
    default: null,
    example: 'api',
    reload: 'live',
    doc: 'Path put before /api/v2.',
  },
  {
    section: 'gateway',
    key: 'unsafe_plain_http',
    kind: { type: 'boolean' },
    default: 'false',
    reload: 'live',
    doc: 'Allow protocol = http to a host that is not this machine: tokens and secrets then travel unencrypted.',
  },
];

export const SERVER_OPTIONS: readonly Option[] = [
  {
    section: 'server',
    key: 'listen',
    kind: { type: 'commaList' },
    default: '127.0.0.1:8080',
    reload: 'restart',
    doc: 'Where callers connect: host:port, [::1]:port, unix:/path or fd:3; several with commas.',
    more:
      'An address that other machines can reach needs a [client.NAME] section or client certificates. 127.0.0.1 ' +
      'takes the same port of [::1] too.',
  },
  {
    section: 'server',
    key: 'admin_listen',
    kind: { type: 'commaList' },
    default: null,
    defaultNote:
      'the data listeners when all of them are loopback or Unix sockets, else none; an inherited descriptor by ' +
      'what it is bound to',
    example: '127.0.0.1:8081',
    reload: 'restart',
    doc: 'Where status, metrics, reload and the login pages are served; `none` disables them.',
  },
  {
    section: 'server',
    key: 'health_listen',
    kind: { type: 'commaList' },
    default: null,
    example: '0.0.0.0:8082',
    reload: 'restart',
    doc: 'A further listener for GET /livez, /readyz and /metrics only; other machines may reach it.',
  },
  {
    section: 'server',
    key: 'public_url',
    kind: { type: 'text' },
    default: null,
    example: 'https://gateway.example.com',
    reload: 'live',
    doc:
      'The URL callers use when it differs from the listener, e.g. behind an ingress (which strips its path): for ' +
      'redirects and channels.',
  },
  {
    section: 'server',
    key: 'trusted_proxies',
    kind: { type: 'commaList' },
    default: null,
    example: '10.0.0.0/8',
    reload: 'live',
    doc:
      'Addresses and CIDR blocks whose X-Forwarded-For tells callers apart when wrong secrets and refused logins ' +
      'are slowed; it gives no rights.',
  },
  {
    section: 'server',
    key: 'allowed_hosts',
    kind: { type: 'commaList' },
    default: null,
    example: 'gateway.example.com',
    reload: 'live',
    doc:
      'Names accepted in the Host header, besides IP addresses and loopback names; a name under which metrics are ' +
      'scraped is one.',
  },
  {
    section: 'server',
    key: 'cors_origins',
    kind: { type: 'commaList' },
    default: null,
    example: 'https://app.example.com',
    reload: 'live',
    doc:
      'Web origins whose pages may call the API and log in; exact ones only. Status, metrics and the admin routes ' +
      'stay closed to them.',
  },
  {
    section: 'server',
    key: 'anonymous_credentials',
    kind: { type: 'commaList' },
    default: null,
    defaultNote: 'the default credential only',
    example: 'default',
    reload: 'live',
    doc: 'Credentials that local callers may use without proving who they are; names, or *.',
    more:
      'Counts on loopback addresses and Unix sockets, also beside clients and client certificates. Where other ' +
      'machines can reach a listener, callers there must prove who they are.',
  },
  {
    section: 'server',
    key: 'drain_timeout',
    kind: DURATION_UP_TO_AN_HOUR,
    default: '10',
    reload: 'live',
    doc: 'How long calls in progress may take to end at shutdown.',
  },
  {
    section: 'server',
    key: 'shutdown_delay',
    kind: DURATION_UP_TO_AN_HOUR,
    default: '0',
    reload: 'live',
    doc: 'How long to keep serving after reporting not ready, so that load balancers can stop sending traffic.',
  },
  {
    section: 'server',
    key: 'header_timeout',
    kind: { type: 'duration', minMs: 100, maxMs: 3_600_000 },
    default: '30',
    reload: 'restart',
    doc: 'How long a caller may take to send the request headers.',
  },
  {
    section: 'server',
    key: 'keep_alive_timeout',
    kind: DURATION_UP_TO_AN_HOUR,
    default: '75',
    reload: 'restart',
    doc: 'How long an idle connection of a caller is kept open.',
  },
  {
    section: 'server',
    key: 'max_body_bytes',
    kind: { type: 'integer' },
    default: '0',
    reload: 'live',
    doc: 'The largest request body; 0 leaves it to the platform.',
  },
  {
    section: 'server',
    key: 'unsafe_allow_anonymous',
    kind: { type: 'boolean' },
    default: 'false',
    reload: 'restart',
    doc: 'Serve everybody who can reach the listener, with your credentials. Only for networks you trust entirely.',
    more: 'Set by a reload it counts after a restart; taken away, at once.',
  },
  {
    section: 'server.tls',
    key: 'cert_file',
    kind: { type: 'path' },
    default: null,
    example: '/etc/genesys-cloud-gateway/server.crt',
    reload: 'restart',
    doc: 'Serve TLS with this certificate chain (PEM).',
  },
  {
    section: 'server.tls',
    key: 'key_file',
    kind: { type: 'path' },
    default: null,
    example: '/etc/genesys-cloud-gateway/server.key',
    reload: 'restart',
    doc: 'Its private key (PEM).',
  },
  {
    section: 'server.tls',
    key: 'client_ca_file',
    kind: { type: 'path' },
    default: null,
    example: '/etc/genesys-cloud-gateway/clients-ca.crt',
    reload: 'restart',
    doc: 'Ask callers for a certificate issued by one of these CAs (PEM).',
  },
];
