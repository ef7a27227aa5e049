// Where the program's own files are: `src`, or `dist` once it is built, where bundling has put the modules of all
// rooms side by side. Whatever is read beside the code is found from here.

import { fileURLToPath } from 'node:url';

/** Whether the modules that run are TypeScript. */
export const isSource = import.meta.url.endsWith('.ts');

const PROGRAM_FOLDER = new URL('./', import.meta.url);

/** A file of the program, by its path in `src`. */
export function programFile(path: string): URL {
  return new URL(path, PROGRAM_FOLDER);
}

/** A module of the program that is not imported: a thread starts with it, or it is sent to browsers. Without its ending. */
export function programModule(path: string): URL {
  return programFile(`${path}.${isSource ? 'ts' : 'js'}`);
}

/** Which of the program's files an error says cannot be read, by its path in the folder; null where it says no such thing. */
export function unreadProgramFile(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  // A file that is read has a path, a module that is imported a URL.
  const { path, url } = error as { path?: unknown; url?: unknown };
  const folder = typeof path === 'string' ? fileURLToPath(PROGRAM_FOLDER) : PROGRAM_FOLDER.href;
  const unread = typeof path === 'string' ? path : url;
  return typeof unread === 'string' && unread.startsWith(folder) ? unread.slice(folder.length) : null;
}
