// The source of the simulation's identifiers and tokens: the system's generator, or a seeded one that repeats its
// values. The seeded one is for tests and demonstrations only; nothing outside the simulation uses it.

import { createHash, randomBytes } from 'node:crypto';

/** Yields `bytes` octets. */
export type RandomSource = (bytes: number) => Buffer;

/**
 * A source that yields the same sequence for the same seed: SHA-256 in counter mode. Without a seed: the system's
 * generator.
 */
export function createRandomSource(seed?: string): RandomSource {
  if (seed === undefined) return (bytes) => randomBytes(bytes);
  let counter = 0;
  return (bytes) => {
    const blocks: Buffer[] = [];
    for (let have = 0; have < bytes; have += 32) {
      blocks.push(createHash('sha256').update(`${seed}:${counter++}`).digest());
    }
    return Buffer.concat(blocks).subarray(0, bytes);
  };
}

/** An opaque token as long as the platform's: 64 octets, 86 characters of base64url. */
export function createOpaqueToken(random: RandomSource): string {
  return random(64).toString('base64url');
}

/** A version 4 UUID (RFC 9562). */
export function createUuid(random: RandomSource): string {
  const octets = random(16);
  octets[6] = ((octets[6] ?? 0) & 0x0f) | 0x40;
  octets[8] = ((octets[8] ?? 0) & 0x3f) | 0x80;
  const hex = octets.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
