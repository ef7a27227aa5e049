// Reads [store]: what survives a restart, and where.

import { pathsOf } from '../file.ts';
import type { GatewayConfig } from '../gateway-config.ts';
import type { ReaderContext, SectionReader } from '../reader.ts';
import { USER_GRANTS } from './credentials.ts';

const FOLDER = 'genesys-cloud-gateway';

/** Reads it. The path is `''` only for a memory store on a machine without a home folder. */
export function readStore(
  store: SectionReader,
  { credentials, clients }: Pick<GatewayConfig, 'credentials' | 'clients'>,
  context: ReaderContext,
): GatewayConfig['store'] {
  // What a person logged in for, and what applications hold and cannot ask for again, must outlive the process.
  const wantsFile = clients.length > 0 || credentials.some(({ grantType }) => USER_GRANTS.has(grantType));
  const type = store.choice('type', ['memory', 'file']) ?? (wantsFile ? 'file' : 'memory');
  const prefix = store.text('prefix') ?? 'gcg';
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(prefix))
    store.problem('prefix', 'may hold letters, digits, hyphens and underscores only');
  const path = store.path('path') ?? defaultStorePath(context);
  if (path === undefined && type === 'file')
    store.problem(
      'path',
      'is missing; there is no home folder here, so say where tokens may be kept, or set type = memory',
    );
  return { type, path: path ?? '', prefix, encryptionKey: store.secret('encryption_key') };
}

/** `$XDG_STATE_HOME` or `~/.local/state`, `%LOCALAPPDATA%` on Windows; undefined without any of them. */
function defaultStorePath({
  env,
  home,
  platform,
}: Pick<ReaderContext, 'env' | 'home' | 'platform'>): string | undefined {
  const paths = pathsOf(platform);
  const xdg = env.XDG_STATE_HOME;
  if (xdg !== undefined && paths.isAbsolute(xdg)) return paths.join(xdg, FOLDER);
  if (platform === 'win32') {
    const local = env.LOCALAPPDATA || (home === undefined ? undefined : paths.join(home, 'AppData', 'Local'));
    return local === undefined ? undefined : paths.join(local, FOLDER);
  }
  return home === undefined ? undefined : paths.join(home, '.local', 'state', FOLDER);
}
