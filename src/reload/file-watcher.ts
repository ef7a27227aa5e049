// Watches the files that a configuration was read from, by their folders: editors and Kubernetes replace files rather
// than write to them.

import { createHash } from 'node:crypto';
import { type FSWatcher, lstatSync, readlinkSync, statSync, watch } from 'node:fs';
import { dirname, join, parse, resolve, sep } from 'node:path';
import type { Clock, Timer } from '../clock.ts';
import { fileRevision, readPlainFileSync } from '../fs/plain-file.ts';
import type { Log } from '../logging/log.ts';

/** What a watcher is given. */
export interface FileWatcherDeps {
  /** Called when the content of a file changed, appeared or went; once for changes that come together. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** How often the files are looked at without an event, ms: other machines' disks send no events. */
  readonly pollMs?: number;
}

/** Programs that save a file do so in several steps: the content is compared after so long without a change. */
const SETTLE_MS = 100;
/** The longest wait for that: a file that is written to all the time is compared all the same. */
const LONGEST_SETTLE_MS = 1_000;
const POLL_MS = 5_000;
/** Only this much of a file is compared. Secrets and configurations are smaller. */
const LARGEST_COMPARED_BYTES = 2 * 1024 * 1024;

/** Errors of reading a file that may soon be over: a process with too many connections can open nothing more. */
const TRANSIENT_ERRORS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'EAGAIN',
  'EBUSY',
  'EIO',
  'ESTALE',
  'ETIMEDOUT',
]);

/** One folder that is watched, for changes of these names in it. */
interface WatchedFolder {
  readonly watcher: FSWatcher;
  readonly names: ReadonlySet<string>;
  readonly inode: number;
}

/** A watcher of files, idle until `watch` is called. It keeps no process alive. Whoever creates it closes it. */
export class FileWatcher {
  readonly #onChange: () => void;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #pollMs: number;
  /** The files that are watched, sorted, each once. */
  #files: readonly string[] = [];
  /** By file: a digest of its content when it was last compared. */
  #digests = new Map<string, string>();
  /** The revisions of all files when they were last compared. */
  #revisions = '';
  readonly #folders = new Map<string, WatchedFolder>();
  /** The comparison that waits for the changes to end. */
  #settling: Timer | null = null;
  /** When the first of the changes was noticed that are waited out, monotonic ms. */
  #firstChangeMono: number | null = null;
  #poll: Timer | null = null;
  #hasWarned = false;
  #isClosed = false;

  constructor({ onChange, clock, log, pollMs = POLL_MS }: FileWatcherDeps) {
    this.#onChange = onChange;
    this.#clock = clock;
    this.#log = log;
    this.#pollMs = pollMs;
  }

  /** Watches these files from now on, as they are now. Calling it again with the same ones costs a look at the disk. */
  watch(files: readonly string[]): void {
    if (this.#isClosed) return;
    this.#files = [...new Set(files)].sort();
    this.#watchFolders();
    this.#revisions = revisionsOf(this.#files);
    // A file that was watched before is compared with what it was then, so that no change in between is missed.
    const before = this.#digests;
    this.#digests = new Map(this.#files.map((file) => [file, before.get(file) ?? digestOf(file)]));
    if (this.#files.some((file) => before.has(file) && before.get(file) !== digestOf(file))) this.#settle();
    this.#poll ??= this.#clock.after(this.#pollMs, () => this.#pollOnce());
  }

  close(): void {
    this.#isClosed = true;
    this.#settling?.cancel();
    this.#poll?.cancel();
    for (const folder of [...this.#folders.keys()]) this.#drop(folder);
  }

  /** Works out anew which folders to watch: links and folders may have changed. Those that stayed are kept. */
  #watchFolders(): void {
    const points = watchPoints(this.#files);
    for (const folder of [...this.#folders.keys()]) if (!points.has(folder)) this.#drop(folder);
    for (const [folder, names] of points) {
      const inode = inodeOf(folder);
      const current = this.#folders.get(folder);
      // A folder that was replaced by another of its name is no longer the one that is watched.
      if (current?.inode === inode) this.#folders.set(folder, { ...current, names });
      else {
        this.#drop(folder);
        this.#open(folder, names, inode);
      }
    }
  }

  #open(folder: string, names: ReadonlySet<string>, inode: number): void {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        if (name === null || this.#folders.get(folder)?.names.has(name)) this.#settle();
      });
      watcher.on('error', (error: NodeJS.ErrnoException) => {
        this.#warn(folder, error.code ?? 'unknown');
        this.#drop(folder);
      });
      this.#folders.set(folder, { watcher, names, inode });
    } catch (error) {
      this.#warn(folder, (error as NodeJS.ErrnoException).code ?? 'unknown');
    }
  }

  #drop(folder: string): void {
    this.#folders.get(folder)?.watcher.close();
    this.#folders.delete(folder);
  }

  #warn(folder: string, code: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#log.warn(
      { folder, code, everyMs: this.#pollMs },
      'folder cannot be watched, its files are looked at from time to time instead',
    );
  }

  /** Compares once nothing has changed for a while: no event came, and the files are as they were. */
  #settle(): void {
    if (this.#isClosed) return;
    const now = this.#clock.monotonic();
    this.#firstChangeMono ??= now;
    this.#settling?.cancel();
    const delayMs = Math.max(0, Math.min(SETTLE_MS, this.#firstChangeMono + LONGEST_SETTLE_MS - now));
    const before = revisionsOf(this.#files);
    this.#settling = this.#clock.after(delayMs, () => {
      // Another machine that still writes sends no events.
      if (delayMs > 0 && revisionsOf(this.#files) !== before) this.#settle();
      else this.#compare();
    });
  }

  #compare(): void {
    this.#settling?.cancel();
    this.#settling = null;
    this.#firstChangeMono = null;
    if (this.#isClosed) return;
    this.#watchFolders();
    this.#revisions = revisionsOf(this.#files);
    const before = this.#digests;
    this.#digests = new Map(this.#files.map((file) => [file, digestOf(file)]));
    if (this.#files.some((file) => this.#digests.get(file) !== before.get(file))) this.#onChange();
  }

  #pollOnce(): void {
    if (this.#isClosed) return;
    const isUnread = [...this.#digests.values()].some((digest) => TRANSIENT_ERRORS.has(digest));
    if (this.#settling === null && (isUnread || revisionsOf(this.#files) !== this.#revisions)) this.#settle();
    this.#poll = this.#clock.after(this.#pollMs, () => this.#pollOnce());
  }
}

function inodeOf(folder: string): number {
  try {
    return statSync(folder).ino;
  } catch {
    return -1;
  }
}

/** A digest of a file's content, or the code of the error that kept it from being read. */
function digestOf(file: string): string {
  try {
    return createHash('sha256').update(readPlainFileSync(file, LARGEST_COMPARED_BYTES).bytes).digest('base64');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    return code === 'EFBIG' ? fileRevision(file) : code;
  }
}

/** The revisions of the files, which cost no reading. */
function revisionsOf(files: readonly string[]): string {
  return files.map(fileRevision).join('|');
}

/** The folders to watch, and the names in each that matter. */
export type WatchPoints = ReadonlyMap<string, ReadonlySet<string>>;

/** The most links that are followed for one file: a link may lead to itself. */
const MOST_LINKS = 40;

/** Returns what to watch for files that may or may not exist. */
export function watchPoints(files: Iterable<string>): WatchPoints {
  const points = new Map<string, Set<string>>();
  for (const file of files) follow(resolve(file), points, 0);
  return points;
}

/** Walks down a path. Any component may be a link that is replaced, as Kubernetes does with `..data`. */
function follow(path: string, points: Map<string, Set<string>>, links: number): void {
  let folder = parse(path).root;
  const parts = path
    .slice(folder.length)
    .split(sep)
    .filter((part) => part !== '');
  for (const [index, name] of parts.entries()) {
    const isLast = index === parts.length - 1;
    const here = join(folder, name);
    const kind = kindOf(here);
    if (isLast || kind !== 'folder') add(points, folder, name);
    if (kind === 'missing') return;
    if (kind === 'link') {
      if (links < MOST_LINKS)
        follow(resolve(dirname(here), readLink(here), ...parts.slice(index + 1)), points, links + 1);
      return;
    }
    folder = here;
  }
}

function add(points: Map<string, Set<string>>, folder: string, name: string): void {
  const names = points.get(folder);
  if (names) names.add(name);
  else points.set(folder, new Set([name]));
}

function kindOf(path: string): 'missing' | 'link' | 'folder' | 'file' {
  try {
    const stats = lstatSync(path);
    return stats.isSymbolicLink() ? 'link' : stats.isDirectory() ? 'folder' : 'file';
  } catch {
    // Also where we may not look: then nothing can be heard from there.
    return 'missing';
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // Gone since it was looked at: the next event tells.
    return '.';
  }
}
