// The version of this package, read once from its own package.json, which stands beside dist and beside src alike.

import { readFileSync } from 'node:fs';
import { programFile } from './program-folder.ts';

/** SemVer, without a v. */
export const VERSION: string = /* @__PURE__ */ readVersion();

/** Reads it anew. */
export function readVersion(): string {
  return (JSON.parse(readFileSync(programFile('../package.json'), 'utf8')) as { version: string }).version;
}
