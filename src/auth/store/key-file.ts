// The key of a file store that was given none: generated once, kept beside the tokens, readable by the owner only.

import { randomBytes } from 'node:crypto';
import { Secret } from '../../config/secret.ts';
import type { Log } from '../../logging/log.ts';
import { readPlainFile, whyNotRead } from '../../plain-file.ts';
import { createFile } from './atomic-write.ts';
import { StoreError } from './store.ts';

/** A key is 65 bytes. */
const LARGEST_KEY_BYTES = 1024 * 1024;

/** Reads the key in `path`, or makes it; two processes that start together end with the same one. Throws StoreError. */
export async function loadOrCreateKey(path: string, log: Log): Promise<Secret> {
  const existing = await readKey(path, log);
  if (existing !== undefined) return existing;
  await createFile(path, `${randomBytes(32).toString('hex')}\n`).catch((error: NodeJS.ErrnoException) => {
    throw new StoreError('unwritable', `key file ${path} cannot be written (${error.code})`);
  });
  const made = await readKey(path, log);
  if (made === undefined) throw new StoreError('unreadable', `key file ${path} vanished`);
  return made;
}

async function readKey(path: string, log: Log): Promise<Secret | undefined> {
  let text: string;
  try {
    const { bytes, mode } = await readPlainFile(path, LARGEST_KEY_BYTES);
    text = bytes.toString('utf8');
    if ((mode & 0o077) !== 0) log.warn({ path }, 'store key file is readable by others');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new StoreError('unreadable', `key file ${path} ${whyNotRead(error)}`);
  }
  const key = text.trim();
  if (!/^[0-9a-f]{64}$/.test(key)) throw new StoreError('unreadable', `key file ${path} holds no key: restore it, or remove it and log in again`);
  return new Secret(key);
}
