// The optional `scope` field that every grant shares (RFC 6749 section 3.3).

import type { FormFields } from '../client-auth.ts';

/** Nothing when no scope is configured; scopes written with commas or extra white space are joined by single spaces. */
export function scopeField(scope: string | null): FormFields {
  const joined = joinScopes(scope);
  return joined === '' ? [] : [['scope', joined]];
}

/** `a, b  c` becomes `a b c`. */
export function joinScopes(scope: string | null): string {
  return (scope ?? '')
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .join(' ');
}
