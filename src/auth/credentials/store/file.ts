// A store in a folder: one encrypted file a credential, replaced atomically, locked between processes. A damaged file
// is kept aside, never overwritten.

import { createHash } from 'node:crypto';
import { readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../clock.ts';
import { makeFolder, replaceFile, syncFolder, TEMPORARY_SUFFIX } from '../../../fs/atomic-write.ts';
import { fileRevision, readPlainFile, whyNotRead } from '../../../fs/plain-file.ts';
import type { Log } from '../../../logging/log.ts';
import type { SecretSource } from '../../../secret.ts';
import { createSealer, loadOrCreateKey, sealedName } from './encryption.ts';
import { isHeldBy, lockFile } from './file-lock.ts';
import { parseRecord, StoreError, type StoreKey, serialiseRecord, storeKeyId, type TokenStore } from './store.ts';

/** What the gateway writes itself is far smaller. */
const LARGEST_ENTRY_BYTES = 64 * 1024 * 1024;

/** A crashed write's temporary file is removed when it is older than this. */
const TEMPORARY_MAX_AGE_MS = 60_000;

/**
 * `path` is the folder, made 0700 when missing; nothing is touched before the first use. Without `encryptionKey` a key
 * file is made in it.
 */
export function createFileStore(deps: {
  path: string;
  prefix: string;
  encryptionKey: SecretSource | null;
  clock: Clock;
  log: Log;
}): TokenStore {
  const { path: folder, prefix, encryptionKey, clock, log } = deps;
  const sealer = createSealer(async () => (encryptionKey === null ? generatedKey() : readGivenKey(encryptionKey)));
  let opening: Promise<void> | undefined;
  let generated: ReturnType<typeof loadOrCreateKey> | undefined;

  const identityOf = (key: StoreKey) => JSON.stringify([prefix, storeKeyId(key)]);
  const fileOf = (key: StoreKey) => {
    const digest = createHash('sha256').update(identityOf(key)).digest('hex').slice(0, 16);
    const readable = /^[a-z0-9][a-z0-9-]{0,63}$/.test(key.name) ? `${key.name}-` : '';
    return join(folder, `${prefix}-${readable}${digest}.token`);
  };

  function generatedKey() {
    generated ??= loadOrCreateKey(join(folder, `${prefix}.key`), log);
    generated.catch(() => {
      generated = undefined;
    });
    return generated;
  }

  /** Makes the folder and clears away what crashed writes left. Tried again after a failure. */
  function opened(): Promise<void> {
    opening ??= openFolder();
    opening.catch(() => {
      opening = undefined;
    });
    return opening;
  }

  async function openFolder(): Promise<void> {
    try {
      makeFolder(folder);
      if (((await stat(folder)).mode & 0o077) !== 0) log.warn({ path: folder }, 'store folder is open to others');
      for (const name of await readdir(folder)) {
        if (!name.startsWith(`${prefix}-`) || !name.endsWith(TEMPORARY_SUFFIX)) continue;
        const left = join(folder, name);
        const age = clock.now() - (await stat(left).then(({ mtimeMs }) => mtimeMs, clock.now));
        if (age > TEMPORARY_MAX_AGE_MS) await unlink(left).catch(() => undefined);
      }
    } catch (error) {
      throw new StoreError(
        'unwritable',
        `store folder ${folder} cannot be used (${(error as NodeJS.ErrnoException).code})`,
      );
    }
  }

  async function readText(file: string): Promise<string | null> {
    try {
      return (await readPlainFile(file, LARGEST_ENTRY_BYTES)).bytes.toString('utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw new StoreError('unreadable', `${file} ${whyNotRead(error)}`);
    }
  }

  async function openText(key: StoreKey, text: string) {
    const value = parseRecord(await sealer.open(identityOf(key), text));
    if (value === undefined) throw new StoreError('damaged', 'holds no token record');
    return value;
  }

  async function keepAside(file: string): Promise<string> {
    const aside = `${file}.damaged-${new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-')}`;
    await rename(file, aside).catch(() => undefined);
    await syncFolder(folder);
    return aside;
  }

  return {
    isDurable: true,

    async get(key) {
      await opened();
      const file = fileOf(key);
      const text = await readText(file);
      if (text === null) return null;
      try {
        return { value: await openText(key, text), version: versionOf(text) };
      } catch (error) {
        if (!(error instanceof StoreError))
          throw new StoreError('unreadable', `${file} cannot be decrypted (${(error as Error).name})`);
        if (error.code === 'wrong_key')
          throw new StoreError(
            'wrong_key',
            `${file} ${error.message}: restore encryption_key or the key file; if that is gone, remove this file, ` +
              'or log in again',
          );
        if (error.code !== 'damaged') throw error;
        throw new StoreError('damaged', `${file} ${error.message}; it is kept as ${await keepAside(file)}`);
      }
    },

    async put(key, value, { expectedVersion, fence }) {
      await opened();
      const file = fileOf(key);
      if (fence !== undefined && !(await isHeldBy(`${file}.lock`, fence)))
        throw new StoreError('lock_lost', `the lock of ${file} was lost`);
      const present = await readText(file);
      if ((present === null ? null : versionOf(present)) !== expectedVersion) {
        const isForeign =
          expectedVersion === null &&
          present !== null &&
          !(await openText(key, present).then(
            () => true,
            () => false,
          ));
        if (!isForeign) throw new StoreError('conflict', `${file} was changed meanwhile`);
        log.warn({ path: await keepAside(file) }, 'store file cannot be opened and is kept aside');
      }
      const text = await sealer.seal(identityOf(key), key.name, serialiseRecord(value));
      try {
        await replaceFile(file, text);
      } catch (error) {
        throw new StoreError('unwritable', `${file} cannot be written (${(error as NodeJS.ErrnoException).code})`);
      }
      return versionOf(text);
    },

    async delete(key) {
      await opened();
      const file = fileOf(key);
      await unlink(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw new StoreError('unwritable', `${file} cannot be removed (${error.code})`);
      });
      await syncFolder(folder);
    },

    async lock(key, waitMs) {
      await opened();
      return lockFile(`${fileOf(key)}.lock`, waitMs, clock);
    },

    async list() {
      await opened();
      const names = new Set<string>();
      for (const file of await readdir(folder)) {
        if (!file.startsWith(`${prefix}-`) || !file.endsWith('.token')) continue;
        const name = sealedName((await readText(join(folder, file))) ?? '');
        if (name !== undefined) names.add(name);
      }
      return [...names].sort();
    },

    revision: (key) => fileRevision(fileOf(key)),
  };
}

function readGivenKey(source: SecretSource) {
  try {
    return source.read();
  } catch {
    // Its message speaks of a credential; this is the store's key.
    throw new StoreError('unreadable', `encryption_key cannot be read from ${source.origin}`);
  }
}

/** The nonce makes every writing different, so the text itself tells one version from another. */
function versionOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
