// Opens files for appending, and closes them to other users.

import { closeSync, constants, fchmodSync, fstatSync, openSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeFolder } from './make-folder.ts';
import { assertPlain } from './plain-file.ts';

/** A file that is open for appending. Whoever opened it closes `fd`. */
export interface AppendFile {
  readonly fd: number;
  readonly stats: Stats;
}

/** No open waits for the reader of a pipe, and no terminal becomes the one that controls us. */
const APPEND =
  constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** Opens `path`, made 0600 where it is missing, its folders 0700. Throws a FileRefusal, or the system's error. */
export function openAppendFile(path: string): AppendFile {
  // Opening a device can do something by itself, so what it is gets asked before; and again after, because it may have
  // been replaced.
  const before = statSync(path, { throwIfNoEntry: false });
  if (before !== undefined) assertPlain(before);
  const fd = openForAppending(path);
  try {
    const stats = fstatSync(fd);
    assertPlain(stats);
    return { fd, stats };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** As `openAppendFile`, but whatever is at `path`: a pipe, a terminal, a disk. Throws the system's error. */
export function openForAppending(path: string): number {
  makeFolder(dirname(path));
  return openSync(path, APPEND, 0o600);
}

/**
 * What others may do with a file. `private`: nothing, or it is no plain file. `restricted`: something before, and
 * nothing now. `open`: they still may, because it is not ours.
 */
export type FilePrivacy = 'private' | 'restricted' | 'open';

/** Takes from others what they may do with a file; only its owner may, and a root that is not its owner leaves it. */
export function closeToOthers(fd: number, stats: Stats = fstatSync(fd)): FilePrivacy {
  if (!stats.isFile() || (stats.mode & 0o077) === 0 || process.getuid === undefined) return 'private';
  if (stats.uid !== process.getuid()) return 'open';
  try {
    fchmodSync(fd, 0o600);
    return 'restricted';
  } catch {
    // A file system without modes, or a read-only attribute.
    return 'open';
  }
}
