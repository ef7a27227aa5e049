// Local secrets are only ever compared as SHA-256 digests, in constant time, and always all of them.

import { hash, timingSafeEqual } from 'node:crypto';

/** The SHA-256 of a presented secret. */
export function digestOf(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** First 12 hex digits of a digest: enough to tell an owner's secrets apart, useless for guessing one. */
export function markOf(digest: Buffer): string {
  return digest.toString('hex', 0, 6);
}

/** An accepted digest and whose it is. */
export interface AcceptedDigest<T> {
  readonly digest: Buffer;
  readonly mark: string;
  readonly owner: T;
}

/** Prepares a digest for comparison. */
export function acceptDigest<T>(digest: Buffer, owner: T): AcceptedDigest<T> {
  return { digest, mark: markOf(digest), owner };
}

/**
 * The match for `digest` whose owner also passes `isWanted`, or null. Every candidate is compared, so that the time taken
 * tells nothing about which one fits.
 */
export function findByDigest<T>(
  digest: Buffer,
  accepted: readonly AcceptedDigest<T>[],
  isWanted: (owner: T) => boolean = () => true,
): AcceptedDigest<T> | null {
  let found: AcceptedDigest<T> | null = null;
  for (const candidate of accepted) {
    const isEqual = timingSafeEqual(candidate.digest, digest);
    if (isEqual && isWanted(candidate.owner)) found = candidate;
  }
  return found;
}
