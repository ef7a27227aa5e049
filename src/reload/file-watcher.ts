// Watches the files that a configuration was read from, by their folders: editors and Kubernetes replace files rather
// than write to them.

import { createHash } from 'node:crypto';
import { type FSWatcher, lstatSync, readlinkSync, statSync, watch } from 'node:fs';
import { dirname, join, parse, resolve, sep } from 'node:path';
import type { Clock, Timer } from '../clock.ts';
import { fileRevision, readPlainFileSync } from '../fs/plain-file.ts';
import type { Log } from '../logging/log.ts';

/** What a watch is told. */
export interface WatchDeps {
  /** Called when the content of a file changed, appeared or went; once for changes that come together. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Look at the files this often in any case, ms: events do not come from other machines' disks. */
  readonly pollMs?: number;
}

/** A watch over files. Keeps no process alive. Whoever creates it closes it. */
export interface ConfigWatch {
  /** Watches these files from now on, as they are now. The same ones again cost a look at the disk. */
  watch(files: readonly string[]): void;
  close(): void;
}

/** Programs that save a file do so in several steps. */
const SETTLE_MS = 100;
/** A file that is written to all the time is looked at all the same. */
const LONGEST_SETTLE_MS = 1_000;
const POLL_MS = 5_000;
/** Only as much of a file decides. Secrets and configurations are smaller. */
const LARGEST_COMPARED_BYTES = 2 * 1024 * 1024;

/**
 * What kept a file from being read, and may not do so for long: a process with too many connections can open nothing
 * more.
 */
const PASSING: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'EAGAIN',
  'EBUSY',
  'EIO',
  'ESTALE',
  'ETIMEDOUT',
]);

/** Watches nothing until `watch` is called. */
export function createConfigWatch({ onChange, clock, log, pollMs = POLL_MS }: WatchDeps): ConfigWatch {
  let files: readonly string[] = [];
  /** By file: a digest of its content, as it was last compared. */
  let seen = new Map<string, string>();
  let looks = '';
  let settling: Timer | null = null;
  let firstEventMono: number | null = null;
  let poll: Timer | null = null;
  let isClosed = false;
  let hasComplained = false;
  const watchers = new Map<string, { watcher: FSWatcher; names: ReadonlySet<string>; inode: number }>();

  const complain = (folder: string, code: string) => {
    if (hasComplained) return;
    hasComplained = true;
    log.warn(
      { folder, code, everyMs: pollMs },
      'folder cannot be watched, its files are looked at from time to time instead',
    );
  };

  const open = (folder: string, names: ReadonlySet<string>, inode: number) => {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        if (name === null || watchers.get(folder)?.names.has(name)) onEvent();
      });
      watcher.on('error', (error: NodeJS.ErrnoException) => {
        complain(folder, error.code ?? 'unknown');
        drop(folder);
      });
      watchers.set(folder, { watcher, names, inode });
    } catch (error) {
      complain(folder, (error as NodeJS.ErrnoException).code ?? 'unknown');
    }
  };

  const drop = (folder: string) => {
    watchers.get(folder)?.watcher.close();
    watchers.delete(folder);
  };

  /**
   * Links and folders may have changed with what was found: the points are worked out anew, and those that stayed are
   * kept.
   */
  const placeWatchers = () => {
    const points = watchPoints(files);
    for (const folder of [...watchers.keys()]) if (!points.has(folder)) drop(folder);
    for (const [folder, names] of points) {
      const inode = inodeOf(folder);
      const present = watchers.get(folder);
      // A folder that was replaced by another of its name is no longer the one that is watched.
      if (present?.inode === inode) watchers.set(folder, { ...present, names });
      else {
        drop(folder);
        open(folder, names, inode);
      }
    }
  };

  const look = () => {
    settling?.cancel();
    settling = null;
    firstEventMono = null;
    if (isClosed) return;
    placeWatchers();
    looks = looksOf(files);
    const present = digests(files);
    const isSame = files.every((file) => present.get(file) === seen.get(file));
    seen = present;
    if (!isSame) onChange();
  };

  const onEvent = () => {
    if (isClosed) return;
    const now = clock.monotonic();
    firstEventMono ??= now;
    settling?.cancel();
    settling = clock.after(Math.max(0, Math.min(SETTLE_MS, firstEventMono + LONGEST_SETTLE_MS - now)), look);
  };

  const pollOnce = () => {
    if (isClosed) return;
    const isUnread = [...seen.values()].some((digest) => PASSING.has(digest));
    if (settling === null && (isUnread || looksOf(files) !== looks)) look();
    poll = clock.after(pollMs, pollOnce);
  };

  return {
    watch(next) {
      if (isClosed) return;
      files = [...new Set(next)].sort();
      placeWatchers();
      looks = looksOf(files);
      // A file that was watched before is compared with what it was then: what changed since is told.
      const before = seen;
      seen = digests(files.filter((file) => !before.has(file)));
      for (const file of files) seen.set(file, before.get(file) ?? (seen.get(file) as string));
      if (files.some((file) => before.has(file) && before.get(file) !== digestOf(file))) onEvent();
      poll ??= clock.after(pollMs, pollOnce);
    },
    close() {
      isClosed = true;
      settling?.cancel();
      poll?.cancel();
      for (const folder of [...watchers.keys()]) drop(folder);
    },
  };
}

function inodeOf(folder: string): number {
  try {
    return statSync(folder).ino;
  } catch {
    return -1;
  }
}

function digests(files: readonly string[]): Map<string, string> {
  return new Map(files.map((file) => [file, digestOf(file)]));
}

/** What is in a file, or why that cannot be known. The content itself is not kept. */
function digestOf(file: string): string {
  try {
    return createHash('sha256').update(readPlainFileSync(file, LARGEST_COMPARED_BYTES).bytes).digest('base64');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    return code === 'EFBIG' ? fileRevision(file) : code;
  }
}

/** What the disk says about the files without their being read. */
function looksOf(files: readonly string[]): string {
  return files.map(fileRevision).join('|');
}

/** Folder to names in it. */
export type WatchPoints = ReadonlyMap<string, ReadonlySet<string>>;

/** A link that leads to itself ends somewhere. */
const MOST_LINKS = 40;

/** The points for files that may or may not exist. */
export function watchPoints(files: Iterable<string>): WatchPoints {
  const points = new Map<string, Set<string>>();
  for (const file of files) follow(resolve(file), points, 0);
  return points;
}

/**
 * Walks down a path. Every component that is a link may be put in another's place, as Kubernetes does with `..data`.
 */
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
