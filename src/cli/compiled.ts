// Loads the commands that are much code, with what was compiled of it before. The others start as soon without: they do
// not load this either.

import { isSource, programFile } from '../program-folder.ts';
import { useCompileCache } from './compile-cache.ts';
import type { Io } from './io.ts';
import { KeptScript } from './kept-script.ts';

/** Runs one command line; resolves with the process's exit code. */
export async function runCompiled(argv: readonly string[], io: Io): Promise<number> {
  const [first = 'serve'] = argv;
  const folder = isSource ? null : useCompileCache({ ...io, uid: process.geteuid?.() });
  if (first === 'serve' || first === 'run' || first === 'demo') return serve(first, argv, io, folder);
  return (await import('./run.ts')).run(argv, io);
}

/** Runs one of the commands that serve. `folder`: where compiled code is kept. */
async function serve(command: string, argv: readonly string[], io: Io, folder: string | null): Promise<number> {
  if (folder === null) return (await import('./serving.ts')).runServing(argv, io);
  const script = new KeptScript<typeof import('./serving.ts')>(programFile('serving.cjs'), folder, command);
  try {
    return await script.exports.runServing(argv, io);
  } finally {
    script.close();
  }
}
