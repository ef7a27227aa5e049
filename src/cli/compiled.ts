// Loads the commands that are much code, with what was compiled of it before. The others start as soon without: they do
// not load this either.

import { isSource, programFile } from '../program-folder.ts';
import { useCompileCache } from './compile-cache.ts';
import type { Io } from './io.ts';
import { KeptScript } from './kept-script.ts';

/** The module of the commands that serve. */
type Serving = typeof import('./serving.ts');

/** Runs one command line; resolves with the process's exit code. */
export async function runCompiled(argv: readonly string[], io: Io): Promise<number> {
  const [first = 'serve'] = argv;
  const folder = isSource ? null : useCompileCache({ ...io, uid: process.geteuid?.() });
  let script = null as KeptScript<Serving> | null;
  const serving = async (command: string): Promise<Serving> => {
    if (folder === null) return import('./serving.ts');
    script = new KeptScript<Serving>(programFile('serving.cjs'), folder, command);
    return script.exports;
  };
  try {
    if (first === 'serve' || first === 'run' || first === 'demo')
      return await (await serving(first)).runServing(argv, io);
    // Where flags come first, it is known only there which command it is: to serve, as a rule.
    return await (await import('./run.ts')).run(argv, io, serving);
  } finally {
    script?.close();
  }
}
