// Preload of every test file (see .taprc): makes processes start fast, those that tests start too. Nothing that a test
// proves needs it.

import { existsSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

// Compiled modules are kept between processes: each test file is one, and most load all of src. The path is absolute
// for children that start elsewhere.
process.env.NODE_COMPILE_CACHE = resolve(process.env.NODE_COMPILE_CACHE ?? 'node_modules/.cache/node');

// Tap's collector of coverage, which is off, would load in each child that inherits our environment.
const options = process.env.NODE_OPTIONS?.replace(/"?--import=\S*@tapjs\/processinfo\/\S*/, '').trim();
if (options) process.env.NODE_OPTIONS = options;
else delete process.env.NODE_OPTIONS;

// Tap as one module, where `npm test` has made it of the tap that is installed.
const { version } = JSON.parse(readFileSync('node_modules/tap/package.json', 'utf8')) as { version: string };
const bundledTap = resolve(`node_modules/.cache/node_modules/@tapjs/bundled/tap-${version}.mjs`);
if (existsSync(bundledTap)) {
  const found = { url: pathToFileURL(bundledTap).href, format: 'module', shortCircuit: true } as const;
  registerHooks({ resolve: (specifier, context, next) => (specifier === 'tap' ? found : next(specifier, context)) });
}

/** What a child sees of our environment where the test says itself what else it sees. */
export const childEnvironment = { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE };
