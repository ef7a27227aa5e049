// A token store in a folder: one encrypted file a credential, replaced atomically, locked between processes. A damaged
// file is moved aside, never overwritten.

import { createHash } from 'node:crypto';
import { readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../clock.ts';
import { isHeldBy, LockError, lockFile } from '../../../file-lock.ts';
import { replaceFile, syncFolder, TEMPORARY_SUFFIX } from '../../../fs/atomic-write.ts';
import { makeFolder } from '../../../fs/make-folder.ts';
import { fileRevision, readPlainFile, whyNotRead } from '../../../fs/plain-file.ts';
import type { Log } from '../../../logging/log.ts';
import type { Secret, SecretSource } from '../../../secret.ts';
import { createSealer, loadOrCreateKey, readKey, type Sealer, sealedName } from './encryption.ts';
import {
  nextGeneration,
  parseStoredToken,
  STORE_OK,
  type StoredEntry,
  type StoredToken,
  StoreError,
  type StoreKey,
  type StoreLock,
  type StoreState,
  serialiseToken,
  storeKeyId,
  type TokenStore,
} from './store.ts';

/** Far larger than anything the gateway writes. */
const LARGEST_ENTRY_BYTES = 64 * 1024 * 1024;

/** A crashed write's temporary file is removed when it is older than this. */
const TEMPORARY_MAX_AGE_MS = 60_000;

/** What a file store works with. */
export interface FileStoreDeps {
  /** The folder, made 0700 when missing. */
  readonly path: string;
  readonly prefix: string;
  /** Null: a key file is made in the folder. */
  readonly encryptionKey: SecretSource | null;
  /** Opens what another key sealed before. */
  readonly encryptionKeyPrevious?: SecretSource | null;
  /** False: only tokens with a refresh token are kept (`TokenStore.isDurable`). */
  readonly isDurable?: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Touches nothing before its first use. Closing it does nothing. */
export class FileStore implements TokenStore {
  readonly isDurable: boolean;
  readonly isShared = false;
  readonly instances = null;
  readonly #deps: FileStoreDeps;
  /** Encrypts entries with the configured key, or the generated one. */
  readonly #sealer: Sealer;
  /** Making the folder: under way or done; tried again after a failure. */
  #opening: Promise<void> | undefined;
  /** Reading or making the key file: under way or done; tried again after a failure. */
  #generatedKey: Promise<Secret> | undefined;

  constructor(deps: FileStoreDeps) {
    this.#deps = deps;
    this.isDurable = deps.isDurable ?? true;
    const { encryptionKey, encryptionKeyPrevious: previous = null } = deps;
    this.#sealer = createSealer({
      secret: async () =>
        encryptionKey === null ? this.#readGeneratedKey() : readKey('encryption_key', encryptionKey),
      previous: previous && (async () => readKey('encryption_key_previous', previous)),
    });
  }

  async open(): Promise<void> {
    await this.#open();
  }

  async get(key: StoreKey): Promise<StoredEntry | null> {
    await this.#open();
    const file = this.#fileOf(key);
    const text = await readText(file);
    if (text === null) return null;
    try {
      return entryOf(await this.#unseal(key, text), text);
    } catch (error) {
      if (!(error instanceof StoreError))
        throw new StoreError('unreadable', `${file} cannot be decrypted (${(error as Error).name})`);
      if (error.code === 'wrong_key') {
        const advice = 'restore encryption_key or the key file; if that is gone, remove this file, or log in again';
        throw new StoreError('wrong_key', `${file} ${error.message}: ${advice}`);
      }
      if (error.code !== 'damaged') throw error;
      throw new StoreError('damaged', `${file} ${error.message}; it is kept as ${await this.#keepAside(file)}`);
    }
  }

  async put(key: StoreKey, value: StoredToken): Promise<StoredEntry> {
    await this.#open();
    const file = this.#fileOf(key);
    const existing = await readText(file);
    if (existing !== null) {
      const stored = await this.#unsealed(key, existing);
      if (stored === null) await this.#makeRoom(file);
      else if (stored.generation > value.generation) return entryOf(stored, existing);
    }
    return entryOf(value, await this.#write(key, value));
  }

  async replace(
    key: StoreKey,
    value: StoredToken,
    { expectedVersion, fence }: { expectedVersion: string | null; fence?: string | undefined },
  ): Promise<string> {
    await this.#open();
    const file = this.#fileOf(key);
    if (fence !== undefined && !(await isHeldBy(`${file}.lock`, fence)))
      throw new StoreError('lock_lost', `the lock of ${file} was lost`);
    const existing = await readText(file);
    const stored = existing === null ? null : await this.#unsealed(key, existing);
    if ((existing === null ? null : versionOf(existing)) !== expectedVersion) {
      if (expectedVersion !== null || existing === null || stored !== null)
        throw new StoreError('conflict', `${file} was changed meanwhile`);
      await this.#makeRoom(file);
    }
    const generation = nextGeneration(stored, this.#deps.clock.now());
    return versionOf(await this.#write(key, { ...value, generation }));
  }

  async delete(key: StoreKey): Promise<void> {
    await this.#open();
    const file = this.#fileOf(key);
    await unlink(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw new StoreError('unwritable', `${file} cannot be removed (${error.code})`);
    });
    await syncFolder(this.#deps.path);
  }

  async lock(key: StoreKey, waitMs: number): Promise<StoreLock> {
    await this.#open();
    const path = `${this.#fileOf(key)}.lock`;
    const { fence, release } = await lockFile(path, waitMs, this.#deps.clock).catch((error: unknown) => {
      throw error instanceof LockError ? new StoreError(error.code, error.message) : error;
    });
    return {
      fence,
      unfinished: null,
      release,
      entry: () => this.get(key),
      begin: async (read) => {
        if (!(await isHeldBy(path, fence))) throw new StoreError('lock_lost', `the lock ${path} was lost`);
        const file = this.#fileOf(key);
        const text = await readText(file);
        if ((text === null ? '' : versionOf(text)) !== (read?.version ?? ''))
          throw new StoreError('conflict', `${file} was changed meanwhile`);
        return nextGeneration(read, this.#deps.clock.now());
      },
    };
  }

  async list(): Promise<readonly string[]> {
    await this.#open();
    const { path: folder, prefix } = this.#deps;
    const names = new Set<string>();
    for (const file of await readdir(folder)) {
      if (!file.startsWith(`${prefix}-`) || !file.endsWith('.token')) continue;
      const name = sealedName((await readText(join(folder, file))) ?? '');
      if (name !== undefined) names.add(name);
    }
    return [...names].sort();
  }

  revision(key: StoreKey): string {
    return fileRevision(this.#fileOf(key));
  }

  /** Tells nobody: other processes are seen by the revision only. */
  onChange(): () => void {
    return () => undefined;
  }

  isSettled(): boolean {
    return true;
  }

  isComplete(): boolean {
    return true;
  }

  state(): StoreState {
    return STORE_OK;
  }

  async close(): Promise<void> {}

  #identityOf(key: StoreKey): string {
    return JSON.stringify([this.#deps.prefix, storeKeyId(key)]);
  }

  #fileOf(key: StoreKey): string {
    const digest = createHash('sha256').update(this.#identityOf(key)).digest('hex').slice(0, 16);
    const readable = /^[a-z0-9][a-z0-9-]{0,63}$/.test(key.name) ? `${key.name}-` : '';
    return join(this.#deps.path, `${this.#deps.prefix}-${readable}${digest}.token`);
  }

  #readGeneratedKey(): Promise<Secret> {
    this.#generatedKey ??= loadOrCreateKey(join(this.#deps.path, `${this.#deps.prefix}.key`), this.#deps.log);
    this.#generatedKey.catch(() => {
      this.#generatedKey = undefined;
    });
    return this.#generatedKey;
  }

  #open(): Promise<void> {
    this.#opening ??= this.#openFolder();
    this.#opening.catch(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** Makes the folder and removes what crashed writes left. */
  async #openFolder(): Promise<void> {
    const { path: folder, prefix, clock, log } = this.#deps;
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
      const { code } = error as NodeJS.ErrnoException;
      throw new StoreError('unwritable', `store folder ${folder} cannot be used (${code})`);
    }
  }

  async #unseal(key: StoreKey, text: string): Promise<StoredToken> {
    const value = parseStoredToken(await this.#sealer.open(this.#identityOf(key), text));
    if (value === undefined) throw new StoreError('damaged', 'holds no token record');
    return value;
  }

  /** What a text holds; null where it cannot be opened by the present key. Throws where there is no present key. */
  #unsealed(key: StoreKey, text: string): Promise<StoredToken | null> {
    return this.#unseal(key, text).catch((error: unknown) => {
      if (error instanceof StoreError && error.code !== 'damaged' && error.code !== 'wrong_key') throw error;
      return null;
    });
  }

  /** Seals and writes a value; gives the sealed text. */
  async #write(key: StoreKey, value: StoredToken): Promise<string> {
    const file = this.#fileOf(key);
    const text = await this.#sealer.seal(this.#identityOf(key), key.name, serialiseToken(value));
    try {
      await replaceFile(file, text);
    } catch (error) {
      throw new StoreError('unwritable', `${file} cannot be written (${(error as NodeJS.ErrnoException).code})`);
    }
    return text;
  }

  /** Makes room for a new entry in place of one that cannot be opened. */
  async #makeRoom(file: string): Promise<void> {
    this.#deps.log.warn({ path: await this.#keepAside(file) }, 'store file cannot be opened and is kept aside');
  }

  async #keepAside(file: string): Promise<string> {
    const { path: folder, clock } = this.#deps;
    const aside = `${file}.damaged-${new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-')}`;
    await rename(file, aside).catch(() => undefined);
    await syncFolder(folder);
    return aside;
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

function entryOf(value: StoredToken, text: string): StoredEntry {
  return { value, generation: value.generation, version: versionOf(text) };
}

/** The version of a sealed text: its hash. The nonce makes every writing different. */
function versionOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
