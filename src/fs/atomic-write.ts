// Writes a small file so that a crash at any point leaves either the old content or the new one, never a part.

import { randomBytes } from 'node:crypto';
import { link, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The suffix of temporary files, which unfinished writes leave behind. */
export const TEMPORARY_SUFFIX = '.tmp';

/**
 * Replaces `path`, mode 0600: temporary file in the same folder, fsync, rename, fsync of the folder. Throws the
 * system's error.
 */
export async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = await writeTemporary(path, content);
  try {
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

/**
 * Makes `path` with its whole content at once; false when it exists already. `touch` is called on the file before it
 * gets its name.
 */
export async function createFile(
  path: string,
  content: string,
  touch?: (temporary: string) => Promise<void>,
): Promise<boolean> {
  const temporary = await writeTemporary(path, content);
  try {
    await touch?.(temporary);
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
}

async function writeTemporary(path: string, content: string): Promise<string> {
  const temporary = `${path}.${process.pid}-${randomBytes(6).toString('hex')}${TEMPORARY_SUFFIX}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
  return temporary;
}

/** Makes a rename or an unlink durable. On file systems that refuse to sync a folder it does nothing. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined);
  if (folder === undefined) return;
  await folder.sync().catch(() => undefined);
  await folder.close();
}
