// Which folders have to be watched, and for which names, to hear of every change of a file: its own folder, that of each link on the way
// to it, and, where a folder is missing, the nearest one that exists. Looks at the disk, changes nothing.

import { lstatSync, readlinkSync } from 'node:fs';
import { dirname, join, parse, resolve, sep } from 'node:path';

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

/** Walks down a path. Every component that is a link may be put in another's place, as Kubernetes does with `..data`. */
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
      if (links < MOST_LINKS) follow(resolve(dirname(here), readLink(here), ...parts.slice(index + 1)), points, links + 1);
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
