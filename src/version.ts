// The version of this package, read once from its own package.json, which stands beside dist and beside src alike.

import { readFileSync } from 'node:fs';

/** SemVer, without a v. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
