// The program that tests start: as it was built, where the build is of these sources, which starts in half the time;
// else from its sources.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The file that Node runs. */
export const MAIN = join(ROOT, isBuilt() ? 'dist/main.js' : 'src/main.ts');

/** Whether nothing that the build is made of has changed since. */
export function isBuilt(): boolean {
  const builtAt = statSync(join(ROOT, 'dist/main.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).map((name) => `src/${name}`);
  const steps = ['bundle', 'licences', 'load-when-touched', 'sbom', 'unreached-modules', 'finish-build'].map(
    (name) => `scripts/${name}.ts`,
  );
  return [...sources, ...steps, 'package.json', 'package-lock.json', 'tsconfig.build.json'].every(
    (name) => statSync(join(ROOT, name)).mtimeMs < builtAt,
  );
}
