// The checks across sections: who can reach which listener, which file may hold what. They add problems and change nothing.

import type { GatewayConfig } from './gateway-config.ts';
import { formatListenAddress, isReachable } from './listen-address.ts';
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

/** The configuration file itself: readable by others with a secret in it, writable by others with a command in it. */
export function checkFileMode(settings: Settings, file: { display: string; mode: number }, problems: Problem[], warnings: Problem[]): void {
  let secretAt: string | undefined;
  for (const { option, form, where, isFromFile, value, label } of settings.all()) {
    const hasUserInfo = label === 'proxy.url' && value.type === 'text' && value.text.includes('@');
    if (isFromFile && ((option.isSecret && form === 'value') || hasUserInfo)) secretAt ??= where;
    if (option.key === 'assertion_command' && (file.mode & 0o022) !== 0) {
      problems.push({ where, key: label, message: `others can write to ${file.display}, and so choose the command; run chmod go-w on it` });
    }
  }
  if (secretAt !== undefined && (file.mode & 0o044) !== 0) {
    warnings.push({ where: secretAt, key: '', message: `holds a secret, and others can read ${file.display}; run chmod 600 on it` });
  }
}
