// The names of credentials and clients: which are allowed and what a wrong one is told.

import { shown } from './problem.ts';

/** Path segments the gateway serves itself; a credential of that name could never be reached as `/NAME/api/v2`. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set(['api', 'login', 'logout', 'oauth', 'streaming', 'livez', 'healthz', 'readyz', 'metrics']);

/** The name of the `[credential]` section that has none. */
export const DEFAULT_NAME = 'default';

/** Why a name cannot be used, or undefined when it can. */
export function refuseName(name: string): string | undefined {
  if (name.length > 64 || !/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    return `${shown(name)} is not a name; use a-z, 0-9 and hyphens, beginning with a letter or digit, at most 64 characters`;
  }
  if (RESERVED_NAMES.has(name)) return `"${name}" is a path of the gateway itself; choose another name`;
  return undefined;
}
