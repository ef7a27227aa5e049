// Compares parts of two configurations, to tell what a reload changes. Where something is written does not count, nor how a secret is held:
// a secret is the same when its value is (inline), or when it is the same file (whose content is looked at when it is used).

import type { SecretSource } from './secret-source.ts';

/** Whether two values of a configuration mean the same. Keys named `origin` are left out, and those in `besides`. */
export function isSameSetting(a: unknown, b: unknown, besides: readonly string[] = []): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (isSecretSource(a) || isSecretSource(b)) return isSecretSource(a) && isSecretSource(b) && isSameSecret(a, b);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const key of keys) {
    if (key === 'origin' || besides.includes(key)) continue;
    if (!isSameSetting((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key], besides)) return false;
  }
  return true;
}

function isSecretSource(value: object): value is SecretSource {
  return typeof (value as Partial<SecretSource>).revision === 'function';
}

function isSameSecret(a: SecretSource, b: SecretSource): boolean {
  const revision = a.revision();
  return revision === b.revision() && (revision.startsWith('inline:') || a.origin === b.origin);
}
