// Checks across sections: who can reach which listener, and what the configuration file may hold. They only report.

import { isOursOrRoots, whyReplaceable } from '../fs/permissions.ts';
import type { FileContent } from './file.ts';
import type { GatewayConfig, ListenAddress } from './gateway-config.ts';
import type { Settings } from './layers.ts';
import { formatListenAddress, isReachable } from './listen-address.ts';
import type { Problem } from './problem.ts';
import type { SectionReport } from './section.ts';
import { SHORT_SECRET, shortSecrets } from './sections/client.ts';

/** A listener with what decides who may use it. */
export interface PlacedListener {
  /** How messages call it. */
  readonly name: string;
  /**
   * Whether other machines can reach it: by the address it is bound to once it is open, by what is configured before.
   */
  readonly isReachable: boolean;
  readonly data: boolean;
  readonly admin: boolean;
}

/**
 * Something that callers from other machines could do without authentication, or that nobody could do. Refused, or
 * allowed with a warning.
 */
export interface Exposure {
  readonly key: 'listen' | 'admin_listen' | 'anonymous_credentials' | 'secret';
  /** Whose secret it is; null for settings of `[server]`. */
  readonly client: string | null;
  readonly isRefused: boolean;
  /** The message about listeners that are about to be opened. */
  readonly atStart: string;
  /** The message about listeners that are open already. */
  readonly atReload: string;
}

/** A configuration that does not fit the open listeners. The message names the setting and what to do. */
export class ExposureError extends Error {
  override readonly name = 'ExposureError';
}

/** What decides who may call: `[server]` and the clients. */
type AccessConfig = Pick<GatewayConfig, 'server' | 'clients'>;

/**
 * All exposures of these listeners. Where other machines can reach a listener, nobody may call or administer without
 * authentication, unless `unsafe_allow_anonymous` says so.
 */
export function exposures(listeners: readonly PlacedListener[], config: AccessConfig): Exposure[] {
  return [
    ...dataExposures(
      listeners.filter(({ data }) => data),
      config,
    ),
    ...secretExposures(
      listeners.filter(({ data, admin }) => data || admin),
      config,
    ),
    ...adminExposures(
      listeners.filter(({ admin }) => admin),
      config,
    ),
  ];
}

const verifiesCertificates = ({ server: { tls } }: AccessConfig) => tls !== null && tls.clientCaFile !== null;

/** Whether there is anything by which callers can prove who they are: clients, or a CA for their certificates. */
export const canProve = (config: AccessConfig) => config.clients.length > 0 || verifiesCertificates(config);

/** An exposure with one message, at the start and at a reload. */
const always = (key: Exposure['key'], isRefused: boolean, fact: string): Exposure => ({
  key,
  client: null,
  isRefused,
  atStart: fact,
  atReload: fact,
});

function dataExposures(listeners: readonly PlacedListener[], config: AccessConfig): Exposure[] {
  const { unsafeAllowAnonymous, anonymousCredentials } = config.server;
  const open = listeners.filter(({ isReachable }) => isReachable);
  const names = namesOf(open);
  if (open.length === 0) return [];
  if (unsafeAllowAnonymous && (!canProve(config) || anonymousCredentials !== null)) {
    const fact = 'can be reached by other machines, and everybody there may use your credentials';
    return [always('listen', false, `${names} ${fact}`)];
  }
  if (!canProve(config)) {
    const atStart =
      `${names} can be reached by other machines; add a [client.NAME] section or server.tls.client_ca_file, ` +
      'listen on 127.0.0.1, or accept it with server.unsafe_allow_anonymous = true';
    const atReload =
      `${names} stays open until a restart and can be reached by other machines, but nobody would have to prove who ` +
      'they are; restart, or keep a [client.NAME]';
    return [{ key: 'listen', client: null, isRefused: true, atStart, atReload }];
  }
  if (anonymousCredentials === null) return [];
  const isOfNoUse = open.length === listeners.length;
  const fact = isOfNoUse
    ? `would serve nobody: ${names} can be reached by other machines, where callers must prove who they are; ` +
      'take it away, or listen on 127.0.0.1 or a Unix socket as well'
    : `counts on loopback and Unix listeners only; at ${names} callers must prove who they are`;
  return [always('anonymous_credentials', isOfNoUse, fact)];
}

/** Short secrets at listeners where other machines can try them; elsewhere a short secret is only a warning. */
function secretExposures(listeners: readonly PlacedListener[], { clients }: AccessConfig): Exposure[] {
  const open = [...new Set(listeners.filter(({ isReachable }) => isReachable).map(({ name }) => name))].join(', ');
  if (open === '') return [];
  return shortSecrets(clients).map(({ name }) => ({
    key: 'secret',
    client: name,
    isRefused: true,
    atStart: `${SHORT_SECRET}; other machines can reach ${open}`,
    atReload: `${SHORT_SECRET}; ${open} stays open until a restart and can be reached by other machines`,
  }));
}

function adminExposures(listeners: readonly PlacedListener[], config: AccessConfig): Exposure[] {
  const { clients, server } = config;
  const open = listeners.filter(({ isReachable }) => isReachable);
  const names = namesOf(open);
  const hasAdmin = clients.some(({ isAdmin }) => isAdmin) || (verifiesCertificates(config) && clients.length === 0);
  if (open.length === 0 || hasAdmin) return [];
  if (server.unsafeAllowAnonymous && !canProve(config)) {
    const fact = 'can be reached by other machines, and everybody there may operate the gateway';
    return [always('admin_listen', false, `${names} ${fact}`)];
  }
  const advice = server.unsafeAllowAnonymous
    ? ''
    : ' (server.unsafe_allow_anonymous = true accepts the risk where there are no clients)';
  const atStart =
    `${names} can be reached by other machines; add a [client.NAME] with admin = true, or let the admin listener be ` +
    `on 127.0.0.1${advice}`;
  const atReload =
    `${names} stays open until a restart and can be reached by other machines, but no client would be an admin; ` +
    'restart, or keep a [client.NAME] with admin = true';
  return [{ key: 'admin_listen', client: null, isRefused: true, atStart, atReload }];
}

function namesOf(listeners: readonly PlacedListener[]): string {
  return listeners.map(({ name }) => name).join(', ');
}

/** The full name of the setting that an exposure is about. */
export function exposedSetting({ key, client }: Exposure): string {
  return client === null ? `server.${key}` : `client.${client}.${key}`;
}

/**
 * Checks the exposures of the configured listeners. Inherited descriptors are checked once they are open: what they are
 * bound to is not known before.
 */
export function checkAccess(
  config: Pick<GatewayConfig, 'server' | 'clients'> & { readonly isListenPreset: boolean },
  server: SectionReport,
  clientReport: (name: string) => SectionReport,
): void {
  const { listen, adminListen } = config.server;
  const placed = (address: ListenAddress, purpose: 'data' | 'admin'): PlacedListener => ({
    name: formatListenAddress(address),
    isReachable: isReachable(address),
    data: purpose === 'data',
    admin: purpose === 'admin',
  });
  const listeners = [
    ...listen.map((address) => placed(address, 'data')),
    ...adminListen.map((address) => placed(address, 'admin')),
  ];
  for (const { key, client, isRefused, atStart } of exposures(listeners, config)) {
    if (client !== null) clientReport(client).problem(key, atStart);
    else if (!isRefused) server.warning(key, atStart);
    // A section that seems to be missing may be in the part of the file that could not be read.
    else if (key === 'listen') server.missing(key, config.isListenPreset ? inContainer(atStart) : atStart);
    else server.problem(key, atStart);
  }
  warnOfClearSecrets(listeners, config, server);
  warnOfIdleAnonymousRules(config, server);
  if (!listeners.some(({ isReachable }) => isReachable))
    for (const { name } of shortSecrets(config.clients)) clientReport(name).warning('secret', SHORT_SECRET);
}

/** Warns where secrets of clients cross the network in clear. What stands before us may speak TLS, and we cannot see it. */
function warnOfClearSecrets(
  listeners: readonly PlacedListener[],
  { clients, server: { tls, publicUrl, trustedProxies } }: AccessConfig,
  report: SectionReport,
): void {
  const isBehindProxy = trustedProxies.length > 0 || publicUrl?.startsWith('https:') === true;
  const open = listeners.filter(({ isReachable }) => isReachable);
  if (tls !== null || isBehindProxy || clients.length === 0 || open.length === 0) return;
  const names = [...new Set(open.map(({ name }) => name))].join(', ');
  report.warning(
    'listen',
    `${names} can be reached by other machines without TLS, and secrets of clients are sent there in clear: set ` +
      'server.tls, or, where a proxy before it speaks TLS, server.public_url = https://… or server.trusted_proxies',
  );
}

/** Warns of rules for callers who are no client where only clients are served. */
function warnOfIdleAnonymousRules({ clients, server }: AccessConfig, report: SectionReport): void {
  if (clients.length === 0 || server.anonymousCredentials !== null) return;
  const what =
    'has no effect: with clients configured, all callers must prove who they are; server.anonymous_credentials lets ' +
    'local ones call without';
  if (server.anonymousAllow.length > 0) report.warning('anonymous_allow', what);
  if (server.anonymousDeny.length > 0) report.warning('anonymous_deny', what);
}

/** Advice for an address that nobody wrote: in a container, loopback is reached by those who share its network alone. */
function inContainer(message: string): string {
  return message.replace(
    'listen on 127.0.0.1, or',
    'set GCG_SERVER_LISTEN=127.0.0.1:8080 if all callers share its network (a pod, network_mode: service), or',
  );
}

/** Checks the configuration file itself: others must not read it when it holds a secret, nor write it for a command. */
export function checkConfigFile(
  settings: Settings,
  file: FileContent & { readonly display: string; readonly ownUid: number | undefined },
  problems: Problem[],
  warnings: Problem[],
): void {
  let secretAt: string | undefined;
  const chosenBy = whoElseChooses(file);
  for (const { key, isSecret, form, location, isFromFile, value, label } of settings.all()) {
    if (!isFromFile) continue;
    const hasUserInfo = label === 'proxy.url' && value.type === 'text' && value.text.includes('@');
    if ((isSecret && form === 'value') || hasUserInfo) secretAt ??= location;
    if (key.endsWith('_command') && chosenBy !== null) problems.push({ location, key: label, message: chosenBy });
  }
  if (secretAt !== undefined && (file.mode & 0o044) !== 0) {
    warnings.push({
      location: secretAt,
      key: '',
      message: `holds a secret, and others can read ${file.display}; run chmod 600 on it`,
    });
  }
}

/** Why somebody besides us and root can change what this file says; null when nobody can. */
function whoElseChooses({ display, mode, uid, names, ownUid }: Parameters<typeof checkConfigFile>[1]): string | null {
  if (!isOursOrRoots(uid, ownUid))
    return `${display} belongs to another user (${uid}), who so chooses the command; make a copy that is yours`;
  if ((mode & 0o022) !== 0) return `others can write to ${display}, and so choose the command; run chmod go-w on it`;
  const why = names.map((name) => whyReplaceable(name, ownUid)).find((reason) => reason !== null);
  return why === undefined
    ? null
    : `others can put another file in the place of ${display}, and so choose the command: ${why}`;
}
