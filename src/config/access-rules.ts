// The checks across sections: who can reach which listener, which file may hold what. They add problems and change nothing.

import { SHORT_SECRET, shortSecrets } from './client-settings.ts';
import type { FileContent } from './config-file.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { formatListenAddress, isReachable } from './listen-address.ts';
import { isOursOrRoots, whyReplaceable } from './private-file.ts';
import type { Problem } from './problem.ts';
import type { SectionReader } from './reader.ts';
import type { Settings } from './settings.ts';

/** A listener that other machines reach needs clients or client certificates. */
export function checkAccess(config: Pick<GatewayConfig, 'server' | 'clients'>, server: SectionReader): void {
  const { listen, adminListen, unsafeAllowAnonymous, tls, anonymousCredentials } = config.server;
  const canProve = config.clients.length > 0 || (tls !== null && tls.clientCaFile !== null);
  const open = listen.filter(isReachable).map(formatListenAddress).join(', ');
  if (open !== '' && !canProve) {
    if (unsafeAllowAnonymous) server.warning('listen', `${open} can be reached by other machines, and everybody there may use your credentials`);
    else {
      const message = `${open} can be reached by other machines; add a [client.NAME] section or server.tls.client_ca_file, listen on 127.0.0.1, or accept it with server.unsafe_allow_anonymous = true`;
      server.missing('listen', message);
    }
  }
  const openAdmin = adminListen.filter(isReachable).map(formatListenAddress).join(', ');
  const hasAdmin = config.clients.some(({ isAdmin }) => isAdmin);
  if (openAdmin !== '' && !hasAdmin && !(canProve && config.clients.length === 0)) {
    if (unsafeAllowAnonymous && config.clients.length === 0)
      server.warning('admin_listen', `${openAdmin} can be reached by other machines, and everybody there may operate the gateway`);
    else {
      const message = `${openAdmin} can be reached by other machines; add a [client.NAME] with admin = true, or let the admin listener be on 127.0.0.1`;
      server.problem(
        'admin_listen',
        unsafeAllowAnonymous ? message : `${message} (server.unsafe_allow_anonymous = true accepts the risk where there are no clients)`,
      );
    }
  }
  if (anonymousCredentials !== null && open !== '' && config.clients.length > 0) {
    server.warning('anonymous_credentials', 'counts on loopback and Unix listeners only; other machines must prove who they are');
  }
}

/** Secrets that can be found by trying: refused where others can try, warned of where only this machine can. */
export function checkSecretLengths(
  { server, clients }: Pick<GatewayConfig, 'server' | 'clients'>,
  readerOf: (client: string) => SectionReader,
): void {
  const open = [...server.listen, ...server.adminListen].filter(isReachable).map(formatListenAddress);
  for (const { name } of shortSecrets(clients)) {
    if (open.length === 0) readerOf(name).warning('secret', SHORT_SECRET);
    else readerOf(name).problem('secret', `${SHORT_SECRET}; other machines can reach ${[...new Set(open)].join(', ')}`);
  }
}

/** The configuration file itself: readable by others with a secret in it, in the hands of others with a command in it. */
export function checkConfigFile(
  settings: Settings,
  file: FileContent & { readonly display: string; readonly ownUid: number | undefined },
  problems: Problem[],
  warnings: Problem[],
): void {
  let secretAt: string | undefined;
  const chosenBy = whoElseChooses(file);
  for (const { option, form, where, isFromFile, value, label } of settings.all()) {
    if (!isFromFile) continue;
    const hasUserInfo = label === 'proxy.url' && value.type === 'text' && value.text.includes('@');
    if ((option.isSecret && form === 'value') || hasUserInfo) secretAt ??= where;
    if (option.key.endsWith('_command') && chosenBy !== null) problems.push({ where, key: label, message: chosenBy });
  }
  if (secretAt !== undefined && (file.mode & 0o044) !== 0) {
    warnings.push({ where: secretAt, key: '', message: `holds a secret, and others can read ${file.display}; run chmod 600 on it` });
  }
}

/** Why somebody besides us and root may write what this file says; null when nobody may. */
function whoElseChooses({ display, mode, uid, names, ownUid }: Parameters<typeof checkConfigFile>[1]): string | null {
  if (!isOursOrRoots(uid, ownUid)) return `${display} belongs to another user (${uid}), who so chooses the command; make a copy that is yours`;
  if ((mode & 0o022) !== 0) return `others can write to ${display}, and so choose the command; run chmod go-w on it`;
  const why = names.map((name) => whyReplaceable(name, ownUid)).find((reason) => reason !== null);
  return why === undefined ? null : `others can put another file in the place of ${display}, and so choose the command: ${why}`;
}
