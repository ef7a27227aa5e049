// Makes a folder and those above it. node:fs does that too, but never comes back where a file system answers "no such
// folder" to every attempt to make one, as /proc does, and automounters do for a home that nobody has.

import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** What is made has mode 0700; what is there stays as it is. Throws the system's error. */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (isFolder(path)) return;
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error;
    makeFolder(parent);
    makeOne(path);
  }
}

/** Somebody else may be making it at the same time. */
function makeOne(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!isFolder(path)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
