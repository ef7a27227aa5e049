// The stored form of a token, as text: what is written must read back, and what does not read back is damage, not a default.

import { Secret } from '../../config/secret.ts';
import type { StoredToken } from './store.ts';

/** Plain text, secrets included: only ever handed to the sealer. */
export function serialiseRecord(value: StoredToken): string {
  const { accessToken, refreshToken, ...rest } = value;
  return JSON.stringify({ ...rest, accessToken: accessToken?.reveal() ?? null, refreshToken: refreshToken?.reveal() ?? null });
}

/** Undefined when it is not a record. */
export function parseRecord(text: string): StoredToken | undefined {
  const value = JSON.parse(text) as Record<string, unknown>;
  const { accessToken, refreshToken, expiresAt, obtainedAt, seed, generation } = value;
  const isWhole =
    [accessToken, refreshToken, seed].every((part) => part === null || typeof part === 'string') &&
    [expiresAt, obtainedAt, generation].every((part) => typeof part === 'number');
  if (!isWhole) return undefined;
  const secret = (part: unknown) => (part === null ? null : new Secret(part as string));
  return {
    accessToken: secret(accessToken),
    refreshToken: secret(refreshToken),
    expiresAt: expiresAt as number,
    obtainedAt: obtainedAt as number,
    seed: seed as string | null,
    generation: generation as number,
  };
}
