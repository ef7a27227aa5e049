// Node's cache of compiled code, for a sixth of what a start costs. What is in it is executed, so it is kept only where
// nobody but this user, and root, can put anything.

import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { constants, enableCompileCache } from 'node:module';
import { dirname, join } from 'node:path';

/** What decides where the cache is. */
export interface CacheHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string | undefined;
  readonly platform: NodeJS.Platform;
  /** The user we run as; undefined where the system has none. */
  readonly uid: number | undefined;
}

/**
 * Turns the cache on where there is a private folder for it; that folder where it is on, else null. Node's own variables
 * count more: it has done already what they say. Never throws: without it a start takes longer, and nothing else.
 */
export function useCompileCache(host: CacheHost): string | null {
  const { NODE_COMPILE_CACHE: elsewhere = '', NODE_DISABLE_COMPILE_CACHE: off = '' } = host.env;
  const folder = elsewhere === '' && off === '' ? privateFolder(host) : null;
  if (folder === null || enableCompileCache(folder).status !== constants.compileCacheStatus.ENABLED) return null;
  return folder;
}

/** The folder of the cache, made if it is not there; null where there is none, or others could write to it. */
export function privateFolder({ env, home, platform, uid }: CacheHost): string | null {
  const base = cacheFolder(env, home, platform);
  if (base === null || (platform !== 'win32' && uid === undefined)) return null;
  try {
    const folder = join(base, 'compiled');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Links are followed once, and what they lead to is looked at.
    const real = realpathSync(folder);
    return platform === 'win32' || isClosedToOthers(real, uid as number) ? real : null;
  } catch {
    // A file system that cannot be written, a home that is not there.
    return null;
  }
}

/** Of a service by its manager, of a person in their home. Only absolute paths count, as the XDG specification says. */
function cacheFolder(env: CacheHost['env'], home: string | undefined, platform: NodeJS.Platform): string | null {
  const NAME = 'genesys-cloud-gateway';
  const { CACHE_DIRECTORY: ofService = '', XDG_CACHE_HOME: ofPerson = '', LOCALAPPDATA: ofWindows = '' } = env;
  if (platform === 'win32') return ofWindows === '' ? null : join(ofWindows, NAME, 'Cache');
  // systemd names several with a colon between them.
  if (ofService.startsWith('/')) return ofService.split(':')[0] ?? null;
  if (ofPerson.startsWith('/')) return join(ofPerson, NAME);
  if (home === undefined) return null;
  return join(home, platform === 'darwin' ? 'Library/Caches' : '.cache', NAME);
}

/** Whether nobody else can write to a folder, or replace it or one above it. A folder with the sticky bit protects ours. */
function isClosedToOthers(folder: string, uid: number): boolean {
  for (let at = folder; ; at = dirname(at)) {
    const { mode, uid: owner } = lstatSync(at);
    const isOpen = (mode & 0o022) !== 0 && (at === folder || (mode & 0o1000) === 0);
    if (isOpen || (owner !== uid && owner !== 0)) return false;
    if (dirname(at) === at) return true;
  }
}
