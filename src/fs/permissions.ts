// What other users can do with our files: read one that holds a secret, or put their own words in the place of ours.
// Reading is told only where saying so is of any use: what an orchestrator mounts (Kubernetes writes 0644, Docker 0444)
// has the mode it gave: a warning that everybody there would see, and nobody could mend, teaches only to overlook
// warnings.

import { accessSync, constants, lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** What the answer depends on besides the file. `uid` is undefined on Windows, where modes say nothing. */
export interface FileOwnership {
  readonly uid: number | undefined;
  readonly isReadOnlyDisk: (path: string) => boolean;
}

/**
 * True when the group or others may read the file and get to it through its folders, it belongs to the user we run as,
 * and its mode can be changed: not on a disk that is read-only. Follows links. Never throws: a file that cannot be
 * looked at is another check's finding.
 */
export function isReadableByOthers(
  path: string,
  { uid, isReadOnlyDisk }: FileOwnership = { uid: process.geteuid?.(), isReadOnlyDisk: isOnReadOnlyDisk },
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

/** A name that leads to a file, in its folder: whoever may replace it chooses the file. */
export interface FileName {
  readonly folder: string;
  readonly folderUid: number;
  readonly folderMode: number;
  /** Owner of what has the name: of the link, where it is one. */
  readonly uid: number;
}

/** The name itself and, where it is a link, the name at the link's end. Throws the system's error. */
export function namesOf(path: string): FileName[] {
  return [...new Set([path, endOf(path)])].map((name) => {
    const folder = dirname(name);
    const { uid, mode } = statSync(folder);
    return { folder, folderUid: uid, folderMode: mode, uid: lstatSync(name).uid };
  });
}

/** A descriptor under /dev/fd may lead to a file that has no name any more. */
function endOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * Whether only we and root decide what a thing with this owner holds. `ownUid` is undefined on Windows, where owners
 * have no number.
 */
export function isOursOrRoots(uid: number, ownUid: number | undefined): boolean {
  return ownUid === undefined || uid === ownUid || uid === 0;
}

/**
 * Why somebody else may put another file in the place of this one; null when only we and root may. In a folder with the
 * sticky bit (/tmp, and every folder that Kubernetes mounts) each name can be replaced by its owner and the folder's
 * only.
 */
export function whyReplaceable(
  { folder, folderUid, folderMode, uid }: FileName,
  ownUid: number | undefined,
): string | null {
  if (!isOursOrRoots(folderUid, ownUid))
    return `its folder ${folder} belongs to another user (${folderUid}); move it into one of yours`;
  const isSticky = (folderMode & 0o1000) !== 0 && isOursOrRoots(uid, ownUid);
  if ((folderMode & 0o022) === 0 || isSticky) return null;
  return `others can write to its folder ${folder}; run chmod go-w on that`;
}

function isOnReadOnlyDisk(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}
