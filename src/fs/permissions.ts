// Reports what other users can do with our files: read one that holds a secret, or replace one of ours. Reading is
// reported only where the owner could change it. Files mounted by Kubernetes (0644) or Docker (0444) are not reported:
// nobody could act on the warning.

import { accessSync, constants, lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** The user we run as. `uid` is undefined on Windows, where modes mean nothing. */
export interface FileOwnership {
  readonly uid: number | undefined;
  readonly isReadOnlyDisk: (path: string) => boolean;
}

/**
 * True when the group or others may read the file and get to it through its folders, it belongs to the user we run as,
 * and its mode can be changed: not on a disk that is read-only. Follows links. Never throws: a file that cannot be
 * examined is reported by another check.
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

/** A path that leads to a file, with its folder: whoever may replace it chooses the file. */
export interface FileName {
  readonly folder: string;
  readonly folderUid: number;
  readonly folderMode: number;
  /** The owner of what is at the path: of the link, where it is one. */
  readonly uid: number;
}

/** The path itself and, where it is a link, the path at its end. Throws the system's error. */
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

/** Whether the owner is us or root. `ownUid` is undefined on Windows, where owners have no number. */
export function isOursOrRoots(uid: number, ownUid: number | undefined): boolean {
  return ownUid === undefined || uid === ownUid || uid === 0;
}

/**
 * Says why another user may replace this file; null when only we and root may. In a folder with the sticky bit (/tmp,
 * and every folder that Kubernetes mounts) only the file's owner and the folder's owner may replace it.
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
