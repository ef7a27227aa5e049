// [server] and [server.tls]: the listeners and what belongs to them. Who may use a listener is checked across sections,
// afterwards.

import { isAddressOrBlock } from '../address-blocks.ts';
import { formatListenAddress, type ListenAddress } from '../listen-address.ts';
import { isListed, type ListenerKey, parseListeners, USUAL_LISTEN, usualAdminListeners } from '../listeners.ts';
import { boolean, commaList, duration, integer, itemList, itemThat, path, text } from '../option.ts';
import { checkCertificates, checkKey, checkOwnCertificate, checkPemPair } from '../pem-file.ts';
import { parseRule } from '../rule.ts';
import { Section, type SectionContext, type SectionReader, type Values } from '../section.ts';
import { HOUR_MS, parseHttpUrl } from '../values.ts';

export const server = new Section('server', 'Listeners and what callers may do there.', {
  listen: commaList(USUAL_LISTEN, {
    whenEmpty: 'give at least one address',
    reload: 'restart',
    doc: 'Where callers connect: host:port, [::1]:port, unix:/path or fd:3; several with commas.',
    more:
      'An inherited descriptor with its address, fd:3@127.0.0.1:8080, is found by gcg status, wait and login. An ' +
      'address that other machines can reach needs a [client.NAME] section or client certificates. 127.0.0.1 takes the ' +
      'same port of [::1] too.',
  }),
  admin_listen: commaList(null, {
    defaultNote:
      'the data listeners when all of them are loopback or Unix sockets, else none; an inherited descriptor by ' +
      'what it is bound to',
    example: '127.0.0.1:8081',
    reload: 'restart',
    doc: 'Where status, metrics, reload and the login pages are served; `none` disables them.',
  }),
  health_listen: commaList(null, {
    example: '0.0.0.0:8082',
    reload: 'restart',
    doc: 'A further listener for GET /livez, /readyz and /metrics only; other machines may reach it.',
  }),
  public_url: text(null, {
    parse: parseHttpUrl,
    example: 'https://gateway.example.com',
    doc:
      'The URL callers use when it differs from the listener, e.g. behind an ingress (which strips its path): for ' +
      'redirects and channels.',
  }),
  trusted_proxies: commaList(null, {
    item: itemThat(isAddressOrBlock, 'is neither an address nor a CIDR block; write 10.0.0.1 or 10.0.0.0/8'),
    example: '10.0.0.0/8',
    doc: 'Proxies whose X-Forwarded-For is believed: in records, where wrong secrets are slowed, and for client.NAME.from.',
  }),
  allowed_hosts: commaList(null, {
    item: itemThat(isHostName, 'is not a host name; write it without scheme and path'),
    example: 'gateway.example.com',
    doc:
      'Names accepted in the Host header, besides IP addresses and loopback names; a name under which metrics are ' +
      'scraped is one.',
  }),
  cors_origins: commaList(null, {
    item: itemThat(
      isOrigin,
      'is not an origin; write it like https://app.example.com, one for each (* is not possible)',
    ),
    example: 'https://app.example.com',
    doc:
      'Web origins whose pages may call the API and log in; exact ones only. Status, metrics and the admin routes ' +
      'stay closed to them.',
  }),
  anonymous_credentials: commaList(null, {
    whenEmpty: 'name a credential or leave the key out',
    defaultNote: 'the default credential only',
    example: 'default',
    doc: 'Credentials that local callers may use without proving who they are; names, or *.',
    more:
      'Counts on loopback addresses and Unix sockets, also beside clients and client certificates. Where other ' +
      'machines can reach a listener, callers there must prove who they are.',
  }),
  anonymous_allow: itemList({
    item: (rule) => parseRule(rule, 'allow'),
    whenEmpty: 'give a rule or leave the key out',
    defaultNote: 'everything',
    example: '@read-only',
    doc: 'What callers may call that are no [client.NAME]; rules as in client.NAME.allow.',
  }),
  anonymous_deny: itemList({
    item: (rule) => parseRule(rule, 'deny'),
    whenEmpty: 'give a rule or leave the key out',
    example: 'DELETE /api/v2/**',
    doc: 'What they may not call; wins over anonymous_allow.',
  }),
  read_only: boolean('false', {
    doc: 'Let nobody change anything: all callers may only do what @read-only allows, whatever else they may.',
    more: 'The flag --read-only of serve, demo and run sets it.',
  }),
  drain_timeout: duration('10', { maxMs: HOUR_MS, doc: 'How long calls in progress may take to end at shutdown.' }),
  shutdown_delay: duration('0', {
    maxMs: HOUR_MS,
    doc: 'How long to keep serving after reporting not ready, so that load balancers can stop sending traffic.',
  }),
  header_timeout: duration('30', {
    minMs: 100,
    maxMs: HOUR_MS,
    reload: 'restart',
    doc: 'How long a caller may take to send the request headers.',
  }),
  keep_alive_timeout: duration('75', {
    maxMs: HOUR_MS,
    reload: 'restart',
    doc: 'How long an idle connection of a caller is kept open.',
  }),
  max_body_bytes: integer('0', { doc: 'The largest request body; 0 leaves it to the platform.' }),
  unsafe_allow_anonymous: boolean('false', {
    reload: 'restart',
    doc: 'Serve everybody who can reach the listener, with your credentials. Only for networks you trust entirely.',
    more: 'Set by a reload it counts after a restart; taken away, at once.',
  }),
});

export const serverTls = new Section('server.tls', 'TLS on the listeners.', {
  cert_file: path({
    check: checkOwnCertificate,
    example: '/etc/genesys-cloud-gateway/server.crt',
    reload: 'restart',
    doc: 'Serve TLS with this certificate chain (PEM).',
  }),
  key_file: path({
    check: checkKey,
    example: '/etc/genesys-cloud-gateway/server.key',
    reload: 'restart',
    doc: 'Its private key (PEM).',
  }),
  client_ca_file: path({
    check: checkCertificates,
    example: '/etc/genesys-cloud-gateway/clients-ca.crt',
    reload: 'restart',
    doc: 'Ask callers for a certificate issued by one of these CAs (PEM).',
  }),
});

/** `[server.tls]`; null where the listeners serve plain HTTP. */
type ServerTlsConfig = Values<typeof serverTls> & { readonly certFile: string; readonly keyFile: string };

/** `[server]`. */
export type ServerConfig = Omit<
  Values<typeof server>,
  'listen' | 'adminListen' | 'healthListen' | 'anonymousCredentials'
> & {
  readonly listen: readonly ListenAddress[];
  readonly adminListen: readonly ListenAddress[];
  /** False: `adminListen` are the data listeners, and those of them count that turn out to be bound to this machine. */
  readonly isAdminListenSet: boolean;
  readonly healthListen: readonly ListenAddress[];
  /** Names, or `*`; null when not set: the default credential only. */
  readonly anonymousCredentials: readonly string[] | null;
  readonly tls: ServerTlsConfig | null;
};

type Reader = SectionReader<(typeof server)['options']>;

/** Reads both sections. The reader of `[server]` is for checks that need other sections too. */
export function readServer(context: SectionContext): { readonly config: ServerConfig; readonly reader: Reader } {
  const reader = server.reader(context);
  const listen = readListeners(reader, 'listen');
  const isAdminListenSet = reader.isSet('admin_listen');
  const own = isAdminListenSet ? readListeners(reader, 'admin_listen') : null;
  const adminListen = own ?? usualAdminListeners(listen);
  const healthListen = readListeners(reader, 'health_listen');
  refuseOverlap(reader, healthListen, [...listen, ...adminListen]);
  const rest = reader.values('listen', 'admin_listen', 'health_listen');
  const config = {
    ...rest,
    listen,
    adminListen,
    isAdminListenSet,
    healthListen,
    allowedHosts: rest.allowedHosts.map((name) => name.toLowerCase()),
    anonymousCredentials: reader.isSet('anonymous_credentials') ? rest.anonymousCredentials : null,
    tls: readServerTls(context),
  };
  return { config, reader };
}

function readListeners(reader: Reader, key: ListenerKey): readonly ListenAddress[] {
  const { addresses, problems } = parseListeners(key, reader.get(key));
  for (const problem of problems) reader.problem(key, problem);
  return addresses;
}

/** A health listener serves nothing else, so it cannot be a data or admin listener too. */
function refuseOverlap(reader: Reader, health: readonly ListenAddress[], others: readonly ListenAddress[]): void {
  for (const address of health) {
    if (isListed(others, address)) {
      reader.problem(
        'health_listen',
        `${formatListenAddress(address)} is a data or admin listener already, which serves health too; choose ` +
          'another port',
      );
    }
  }
}

function readServerTls(context: SectionContext): ServerTlsConfig | null {
  const reader = serverTls.reader(context);
  const { certFile, keyFile, clientCaFile } = reader.values();
  checkPemPair(reader, certFile, keyFile);
  if (certFile === null && keyFile !== null) reader.missing('key_file', 'needs server.tls.cert_file beside it');
  if (certFile !== null && keyFile === null) reader.missing('cert_file', 'needs server.tls.key_file beside it');
  if (clientCaFile !== null && certFile === null && keyFile === null)
    reader.problem('client_ca_file', 'needs server.tls.cert_file and key_file beside it');
  return certFile === null || keyFile === null ? null : { certFile, keyFile, clientCaFile };
}

function isHostName(text: string): boolean {
  return /^(?!-)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d{1,5})?$/.test(text);
}

function isOrigin(text: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@*\s]+$/.test(text) || !URL.canParse(text)) return false;
  const { origin } = new URL(text);
  return origin === 'null' || origin === text;
}
