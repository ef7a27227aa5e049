// One revision for all secrets of a credential, so that a rotated file counts at once. Watches nothing: whoever polls it decides how often.

import type { SecretSource } from '../config/secret-source.ts';

/** Undefined when none of the secrets can change while the process runs, so that nobody polls in vain. */
export function secretsRevision(sources: readonly (SecretSource | null)[]): (() => string) | undefined {
  const changeable = sources.filter((source) => source !== null && !source.revision().startsWith('inline')) as SecretSource[];
  if (changeable.length === 0) return undefined;
  return () => changeable.map((source) => source.revision()).join('|');
}
