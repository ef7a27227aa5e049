// Whether others can read a file that holds a secret, and whether saying so is of any use. What an orchestrator mounts (Kubernetes writes 0644,
// Docker 0444) has the mode it gave: a warning that everybody there would see, and nobody could mend, teaches only to overlook warnings.

import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** What the answer depends on besides the file. `uid` is undefined on Windows, where modes say nothing. */
export interface FileOwnership {
  readonly uid: number | undefined;
  readonly isReadOnlyDisk: (path: string) => boolean;
}

/**
 * True when the group or others may read the file and get to it through its folders, it belongs to the user we run as, and its mode can be
 * changed: not on a disk that is read-only. Follows links. Never throws: a file that cannot be looked at is another check's finding.
 */
export function isReadableByOthers(
  path: string,
  { uid, isReadOnlyDisk }: FileOwnership = { uid: process.getuid?.(), isReadOnlyDisk: isOnReadOnlyDisk },
): boolean {
  try {
    const file = realpathSync(path);
    const stats = statSync(file);
    if (stats.uid !== uid || (stats.mode & 0o044) === 0) return false;
    for (let folder = dirname(file); ; folder = dirname(folder)) {
      if ((statSync(folder).mode & 0o011) === 0) return false;
      if (folder === dirname(folder)) break;
    }
    return !isReadOnlyDisk(file);
  } catch {
    return false;
  }
}

function isOnReadOnlyDisk(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}
