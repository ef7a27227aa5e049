// The checks across sections: who can reach which listener, which file may hold what. They add problems and change
// nothing.

import { isOursOrRoots, whyReplaceable } from '../fs/permissions.ts';
import type { FileContent } from './file.ts';
import type { GatewayConfig, ListenAddress } from './gateway-config.ts';
import type { Settings } from './layers.ts';
import { formatListenAddress, isReachable } from './listen-address.ts';
import type { Problem } from './problem.ts';
import type { SectionReport } from './section.ts';
import { SHORT_SECRET, shortSecrets } from './sections/client.ts';

/** A listener as the rules see it. */
export interface PlacedListener {
  /** As it is told to people. */
  readonly name: string;
  /**
   * Whether other machines can reach it: by the address it is bound to once it is open, by what is configured before.
   */
  readonly isReachable: boolean;
  readonly data: boolean;
  readonly admin: boolean;
}

/**
 * Something that callers from other machines could do without proof, or that nobody could do. Refused, or ok and
 * warned of.
 */
export interface Exposure {
  readonly key: 'listen' | 'admin_listen' | 'anonymous_credentials' | 'secret';
  /** Whose secret it is; null for settings of `[server]`. */
  readonly client: string | null;
  readonly isRefused: boolean;
  /** What is said of listeners that are about to be opened. */
  readonly atStart: string;
  /** What is said of listeners that are open. */
  readonly atReload: string;
}

/** A configuration that does not go with the listeners there are. Its message names the setting and what to do. */
export class ExposureError extends Error {
  override readonly name = 'ExposureError';
}

/**
 * Who may call and who may administer without proof, by listeners that other machines reach: nobody, unless
 * `unsafe_allow_anonymous` says so.
 */
export function exposures(
  listeners: readonly PlacedListener[],
  { server, clients }: Pick<GatewayConfig, 'server' | 'clients'>,
): Exposure[] {
  const { unsafeAllowAnonymous, anonymousCredentials, tls } = server;
  const hasClientCa = tls !== null && tls.clientCaFile !== null;
  const canProve = clients.length > 0 || hasClientCa;
  const found: Exposure[] = [];
  const data = listeners.filter((listener) => listener.data);
  const open = data.filter(({ isReachable }) => isReachable);
  const openNames = namesOf(open);
  if (open.length > 0 && (!canProve || anonymousCredentials !== null) && unsafeAllowAnonymous) {
    const fact = 'can be reached by other machines, and everybody there may use your credentials';
    found.push({
      key: 'listen',
      client: null,
      isRefused: false,
      atStart: `${openNames} ${fact}`,
      atReload: `${openNames} ${fact}`,
    });
  } else if (open.length > 0 && !canProve) {
    found.push({
      key: 'listen',
      client: null,
      isRefused: true,
      atStart:
        `${openNames} can be reached by other machines; add a [client.NAME] section or server.tls.client_ca_file, ` +
        'listen on 127.0.0.1, or accept it with server.unsafe_allow_anonymous = true',
      atReload:
        `${openNames} stays open until a restart and can be reached by other machines, but nobody would have to ` +
        'prove who they are; restart, or keep a [client.NAME]',
    });
  } else if (open.length > 0 && anonymousCredentials !== null) {
    const isOfNoUse = open.length === data.length;
    const fact = isOfNoUse
      ? `would serve nobody: ${openNames} can be reached by other machines, where callers must prove who they are; ` +
        'take it away, or listen on 127.0.0.1 or a Unix socket as well'
      : `counts on loopback and Unix listeners only; at ${openNames} callers must prove who they are`;
    found.push({ key: 'anonymous_credentials', client: null, isRefused: isOfNoUse, atStart: fact, atReload: fact });
  }
  // Others can try there what they like; where nobody else can, a short secret is only warned of.
  const triable = [
    ...new Set(
      listeners.filter(({ data, admin, isReachable }) => (data || admin) && isReachable).map(({ name }) => name),
    ),
  ].join(', ');
  for (const { name } of triable === '' ? [] : shortSecrets(clients)) {
    found.push({
      key: 'secret',
      client: name,
      isRefused: true,
      atStart: `${SHORT_SECRET}; other machines can reach ${triable}`,
      atReload: `${SHORT_SECRET}; ${triable} stays open until a restart and can be reached by other machines`,
    });
  }
  const openAdmin = listeners.filter(({ admin, isReachable }) => admin && isReachable);
  const adminNames = namesOf(openAdmin);
  const mayProve = clients.some(({ isAdmin }) => isAdmin) || (hasClientCa && clients.length === 0);
  if (openAdmin.length === 0 || mayProve) return found;
  if (unsafeAllowAnonymous && !canProve) {
    const fact = 'can be reached by other machines, and everybody there may operate the gateway';
    found.push({
      key: 'admin_listen',
      client: null,
      isRefused: false,
      atStart: `${adminNames} ${fact}`,
      atReload: `${adminNames} ${fact}`,
    });
  } else {
    const advice = unsafeAllowAnonymous
      ? ''
      : ' (server.unsafe_allow_anonymous = true accepts the risk where there are no clients)';
    found.push({
      key: 'admin_listen',
      client: null,
      isRefused: true,
      atStart:
        `${adminNames} can be reached by other machines; add a [client.NAME] with admin = true, or let the admin ` +
        `listener be on 127.0.0.1${advice}`,
      atReload:
        `${adminNames} stays open until a restart and can be reached by other machines, but no client would be an ` +
        'admin; restart, or keep a [client.NAME] with admin = true',
    });
  }
  return found;
}

function namesOf(listeners: readonly PlacedListener[]): string {
  return listeners.map(({ name }) => name).join(', ');
}

/** The whole name of the setting that an exposure is about. */
export function exposedSetting({ key, client }: Exposure): string {
  return client === null ? `server.${key}` : `client.${client}.${key}`;
}

/**
 * The same for what is configured. An inherited descriptor is judged when it is open: nobody knows before what it is
 * bound to.
 */
export function checkAccess(
  config: Pick<GatewayConfig, 'server' | 'clients'>,
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
    // What a section that is missing would mend is not said of a file that could not be read whole.
    else if (key === 'listen') server.missing(key, atStart);
    else server.problem(key, atStart);
  }
  if (!listeners.some(({ isReachable }) => isReachable))
    for (const { name } of shortSecrets(config.clients)) clientReport(name).warning('secret', SHORT_SECRET);
}

/**
 * The configuration file itself: readable by others with a secret in it, in the hands of others with a command in it.
 */
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

/** Why somebody besides us and root may write what this file says; null when nobody may. */
function whoElseChooses({ display, mode, uid, names, ownUid }: Parameters<typeof checkConfigFile>[1]): string | null {
  if (!isOursOrRoots(uid, ownUid))
    return `${display} belongs to another user (${uid}), who so chooses the command; make a copy that is yours`;
  if ((mode & 0o022) !== 0) return `others can write to ${display}, and so choose the command; run chmod go-w on it`;
  const why = names.map((name) => whyReplaceable(name, ownUid)).find((reason) => reason !== null);
  return why === undefined
    ? null
    : `others can put another file in the place of ${display}, and so choose the command: ${why}`;
}
