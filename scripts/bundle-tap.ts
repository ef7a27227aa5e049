// Makes one module of tap for the processes of tests: each test file is one, and tap's own 250 modules cost it a tenth
// of a second. What it does is the same; `test/helpers/fast-start.ts` takes it where it is of the tap that is installed.

import { readFileSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

// Within a folder that tap leaves out of its stacks.
const folder = 'node_modules/.cache/node_modules/@tapjs/bundled';
const { version } = JSON.parse(readFileSync('node_modules/tap/package.json', 'utf8')) as { version: string };
rmSync(folder, { recursive: true, force: true });
await build({
  entryPoints: ['node_modules/tap/dist/esm/index.js'],
  outfile: `${folder}/tap-${version}.mjs`,
  bundle: true,
  platform: 'node',
  format: 'esm',
  logLevel: 'warning',
  banner: {
    js: "import { createRequire as _createRequire } from 'node:module';\nconst require = _createRequire(import.meta.url);",
  },
});
