// A folder for what a shared store does not take: a rotated refresh token is sealed there at once, until the store has
// it, and the next process tells it where this one ended before. It holds sealed texts only.

import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile, syncFolder } from '../../../fs/atomic-write.ts';
import { makeFolder } from '../../../fs/make-folder.ts';
import { readPlainFile } from '../../../fs/plain-file.ts';
import type { Log } from '../../../logging/log.ts';
import type { KnownEntry } from './redis-mirror.ts';
import { StoreError } from './store.ts';

/** Far larger than anything that is spooled. */
const LARGEST_BYTES = 1024 * 1024;

/** Several instances may use one folder: of an entry the highest generation stays. */
export class Spool {
  readonly #folder: string;
  readonly #prefix: string;
  readonly #log: Log;
  /** One change after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: { readonly folder: string; readonly prefix: string; readonly log: Log }) {
    this.#folder = deps.folder;
    this.#prefix = deps.prefix;
    this.#log = deps.log;
  }

  /** Makes the folder, and reads what is in it. Throws StoreError when it cannot be used. */
  async open(): Promise<readonly KnownEntry[]> {
    try {
      makeFolder(this.#folder);
      const found: KnownEntry[] = [];
      for (const name of await readdir(this.#folder)) {
        if (!name.startsWith(`${this.#prefix}-`) || !name.endsWith(SUFFIX)) continue;
        const entry = await this.#read(join(this.#folder, name));
        if (entry === null) this.#log.error({ path: join(this.#folder, name) }, 'spooled entry cannot be read');
        else found.push(entry);
      }
      return found;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new StoreError('unwritable', `store folder ${this.#folder} cannot be used (${code})`);
    }
  }

  /** Keeps an entry; durable when it resolves. A failure is logged: the entry is in memory besides. Never throws. */
  add(entry: KnownEntry): Promise<void> {
    return this.#inTurn(async () => {
      const file = this.#fileOf(entry.id);
      const before = await this.#read(file);
      if (before !== null && before.sealed.generation > entry.sealed.generation) return;
      await replaceFile(file, `${JSON.stringify(entry)}\n`);
    });
  }

  /** Removes an entry that the store has, up to that generation. Never throws. */
  remove(id: string, generation: number): Promise<void> {
    return this.#inTurn(async () => {
      const file = this.#fileOf(id);
      const before = await this.#read(file);
      if (before === null || before.sealed.generation > generation) return;
      await unlink(file);
      await syncFolder(this.#folder);
    });
  }

  #fileOf(id: string): string {
    return join(this.#folder, `${this.#prefix}-${id}${SUFFIX}`);
  }

  async #inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(change).catch((error: NodeJS.ErrnoException) => {
      this.#log.error({ path: this.#folder, code: error.code }, 'spool cannot be written');
    });
    this.#last = turn;
    await turn;
  }

  /** What a file holds; null where there is none, or nothing of ours. */
  async #read(file: string): Promise<KnownEntry | null> {
    try {
      const { bytes } = await readPlainFile(file, LARGEST_BYTES);
      return parseEntry(JSON.parse(bytes.toString('utf8')));
    } catch {
      return null;
    }
  }
}

const SUFFIX = '.spool';

function parseEntry(value: Partial<KnownEntry> | null): KnownEntry | null {
  const { id, name, sealed, keptForMs = null } = value ?? {};
  if (typeof id !== 'string' || typeof name !== 'string' || typeof sealed !== 'object') return null;
  const { generation, version, data } = sealed;
  if (!Number.isSafeInteger(generation) || typeof version !== 'string' || typeof data !== 'string') return null;
  if (!/^[a-z0-9-]{1,100}$/.test(id) || (keptForMs !== null && !(Number(keptForMs) > 0))) return null;
  return { id, name, sealed: { generation, version, data }, keptForMs };
}
