// Opens a plain file for appending, closed to other users.

import { closeSync, constants, fchmodSync, fstatSync, openSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeFolder } from './atomic-write.ts';
import { assertPlain } from './plain-file.ts';

/** A file that is open for appending. Whoever opened it closes `fd`. */
export interface AppendFile {
  readonly fd: number;
  /** As it was when it was opened, before its mode was changed. */
  readonly stats: Stats;
  /** Others may read or write it, and that cannot be changed: the file is not ours, or its disk knows no modes. */
  readonly isOpenToOthers: boolean;
}

/** No open waits for the reader of a pipe, and no terminal becomes the one that controls us. */
const APPEND =
  constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** Opens `path`, made 0600 where it is missing, its folders 0700. Throws a FileRefusal, or the system's error. */
export function openAppendFile(path: string): AppendFile {
  makeFolder(dirname(path));
  // Opening a device can do something by itself, so what it is gets asked before; and again after, because it may have
  // been replaced.
  const before = statSync(path, { throwIfNoEntry: false });
  if (before !== undefined) assertPlain(before);
  const fd = openSync(path, APPEND, 0o600);
  try {
    const stats = fstatSync(fd);
    assertPlain(stats);
    return { fd, stats, isOpenToOthers: !closeToOthers(fd, stats) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Only its owner may change a file's mode, and a root that is not its owner leaves it. */
function closeToOthers(fd: number, { mode, uid }: Stats): boolean {
  if ((mode & 0o077) === 0 || process.getuid === undefined) return true;
  if (uid !== process.getuid()) return false;
  try {
    fchmodSync(fd, 0o600);
    return true;
  } catch {
    // A file system without modes, or a read-only attribute.
    return false;
  }
}
