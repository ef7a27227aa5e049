// Reads [server] and [server.tls]: the listeners and what belongs to them. Who may use a listener is checked across
// sections, afterwards.

import { BlockList, isIP } from 'node:net';
import type { GatewayConfig, ListenAddress } from '../gateway-config.ts';
import { formatListenAddress, isReachable, parseListenAddress } from '../listen-address.ts';
import { checkPemFile, checkPemPair } from '../pem-file.ts';
import { quote } from '../problem.ts';
import type { ReaderContext, SectionReader } from '../reader.ts';
import { parseHttpUrl } from '../values.ts';

type Server = GatewayConfig['server'];

/** Reads both sections. */
export function readServer(server: SectionReader, tls: SectionReader, context: ReaderContext): Server {
  const listen = readListeners(server, 'listen');
  if (server.isSet('listen') && server.setting('listen')?.value.type !== 'broken' && server.list('listen').length === 0)
    server.problem('listen', 'is empty; give at least one address');
  const adminListen = server.isSet('admin_listen')
    ? readListeners(server, 'admin_listen')
    : listen.some(isReachable)
      ? []
      : listen;
  const healthListen = readListeners(server, 'health_listen');
  refuseOverlap(server, listen, healthListen, adminListen);
  const publicUrl = server.text('public_url');
  const url = publicUrl === null ? null : parseHttpUrl(publicUrl);
  if (url?.ok === false) server.problem('public_url', url.message);
  return {
    listen,
    adminListen,
    isAdminListenSet: server.isSet('admin_listen'),
    healthListen,
    publicUrl: url?.ok ? url.value : null,
    trustedProxies: checkedList(
      server,
      'trusted_proxies',
      isAddressOrBlock,
      'is neither an address nor a CIDR block; write 10.0.0.1 or 10.0.0.0/8',
    ),
    allowedHosts: checkedList(
      server,
      'allowed_hosts',
      isHostName,
      'is not a host name; write it without scheme and path',
    ).map((name) => name.toLowerCase()),
    corsOrigins: checkedList(
      server,
      'cors_origins',
      isOrigin,
      'is not an origin; write it like https://app.example.com, one for each (* is not possible)',
    ),
    anonymousCredentials: server.isSet('anonymous_credentials') ? server.list('anonymous_credentials') : null,
    drainTimeoutMs: server.durationMs('drain_timeout'),
    shutdownDelayMs: server.durationMs('shutdown_delay'),
    headerTimeoutMs: server.durationMs('header_timeout'),
    keepAliveTimeoutMs: server.durationMs('keep_alive_timeout'),
    maxBodyBytes: server.integer('max_body_bytes'),
    unsafeAllowAnonymous: server.boolean('unsafe_allow_anonymous'),
    tls: readServerTls(tls, context),
  };
}

function readListeners(server: SectionReader, key: string): ListenAddress[] {
  const addresses: ListenAddress[] = [];
  const items = server.list(key);
  if (key !== 'listen' && items.length === 1 && items[0]?.toLowerCase() === 'none') return [];
  for (const text of items) {
    const parsed = parseListenAddress(text);
    if (!parsed.ok) server.problem(key, parsed.message);
    else if (isListed(addresses, parsed.value)) server.problem(key, `${quote(text)} is there twice`);
    else addresses.push(parsed.value);
  }
  return addresses;
}

function isListed(addresses: readonly ListenAddress[], wanted: ListenAddress): boolean {
  if (wanted.kind === 'tcp' && wanted.port === 0) return false;
  return addresses.some((address) => formatListenAddress(address) === formatListenAddress(wanted));
}

/** A health listener serves nothing else, so it cannot be a data or admin listener too. */
function refuseOverlap(
  server: SectionReader,
  listen: readonly ListenAddress[],
  health: readonly ListenAddress[],
  admin: readonly ListenAddress[],
): void {
  for (const address of health) {
    if (isListed([...listen, ...admin], address)) {
      server.problem(
        'health_listen',
        `${formatListenAddress(address)} is a data or admin listener already, which serves health too; choose ` +
          'another port',
      );
    }
  }
}

function readServerTls(tls: SectionReader, context: ReaderContext): Server['tls'] {
  const certFile = checkPemFile(tls, 'cert_file', 'certificates', context);
  const keyFile = checkPemFile(tls, 'key_file', 'key', context);
  const clientCaFile = checkPemFile(tls, 'client_ca_file', 'certificates', context);
  checkPemPair(tls, certFile, keyFile);
  if ((certFile === null) !== (keyFile === null)) {
    const [given, missing] = certFile === null ? ['key_file', 'cert_file'] : ['cert_file', 'key_file'];
    tls.missing(given, `needs server.tls.${missing} beside it`);
  }
  if (clientCaFile !== null && certFile === null && keyFile === null)
    tls.problem('client_ca_file', 'needs server.tls.cert_file and key_file beside it');
  return certFile === null || keyFile === null ? null : { certFile, keyFile, clientCaFile };
}

function checkedList(
  server: SectionReader,
  key: string,
  isGood: (item: string) => boolean,
  message: string,
): readonly string[] {
  const items = server.list(key);
  for (const item of items) if (!isGood(item)) server.problem(key, `${quote(item)} ${message}`);
  return items.filter(isGood);
}

function isAddressOrBlock(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  if (bits === undefined) return true;
  if (!/^\d{1,3}$/.test(bits)) return false;
  try {
    new BlockList().addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
    return true;
  } catch {
    return false;
  }
}

function isHostName(text: string): boolean {
  return /^(?!-)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:\d{1,5})?$/.test(text);
}

function isOrigin(text: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@*\s]+$/.test(text) || !URL.canParse(text)) return false;
  const { origin } = new URL(text);
  return origin === 'null' || origin === text;
}
