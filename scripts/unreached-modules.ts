// The modules of a built program that no other leads to. Bundling leaves some, of code that it dropped; and where an entry
// is left out, what only that one needs is left.

import { globSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Removes them, with their maps, from the folder of a bundle. What is in folders below stays, and all that it names. */
export function removeUnreached(dist: string, entries: readonly string[]): void {
  const files = globSync('**/*.{js,cjs}', { cwd: dist });
  const known = new Set(files);
  const reached = new Set([...entries, ...files.filter((file) => /[/\\]/.test(file))]);
  // What is added meanwhile is visited as well.
  for (const from of reached)
    for (const [name] of readFileSync(join(dist, from), 'utf8').matchAll(/[\w-]+\.c?js\b/g))
      if (known.has(name)) reached.add(name);
  for (const file of files)
    if (!reached.has(file)) for (const name of [file, `${file}.map`]) rmSync(join(dist, name), { force: true });
}
