// The folder of compiled code, and Node's cache of it there. What is in it is executed, so it is kept only where
// nobody but this user, and root, can put anything.

import { existsSync, lstatSync, realpathSync, type Stats } from 'node:fs';
import { constants, enableCompileCache } from 'node:module';
import { dirname, join } from 'node:path';
import { makeFolder } from '../fs/make-folder.ts';

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
    const isOurs = (at: string) => platform === 'win32' || isKeptFromOthers(at, uid as number);
    if (!existsSync(folder)) {
      // By sudo, root has the home of somebody else: what it makes there would be in that user's way.
      if (!isOurs(realpathSync(nearest(dirname(folder))))) return null;
      makeFolder(folder);
    }
    // Links are followed once, and what they lead to is looked at.
    const real = realpathSync(folder);
    return isOurs(real) && (platform === 'win32' || !isOpen(lstatSync(real))) ? real : null;
  } catch {
    // A file system that cannot be written, a home that is not there.
    return null;
  }
}

/** A folder, or the first one above it that is there. */
function nearest(folder: string): string {
  return existsSync(folder) ? folder : nearest(dirname(folder));
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

/** Whether nobody else can replace what we make in a folder, or one above it: one with the sticky bit protects ours. */
function isKeptFromOthers(folder: string, uid: number): boolean {
  for (let at = folder; ; at = dirname(at)) {
    const stats = lstatSync(at);
    if ((isOpen(stats) && (stats.mode & 0o1000) === 0) || (stats.uid !== uid && stats.uid !== 0)) return false;
    if (dirname(at) === at) return true;
  }
}

/** Whether others can write to it. */
function isOpen({ mode }: Stats): boolean {
  return (mode & 0o022) !== 0;
}
