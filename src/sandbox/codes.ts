// Authorization codes: made by the login page, good for one use and a short while.
// A second use also names the login it came from, so that its tokens can be revoked (RFC 6749 section 4.1.2).

import { createHash } from 'node:crypto';
import { createOpaqueToken, type RandomSource } from './random.ts';
import type { TokenSubject } from './tokens.ts';

/** What a code was given for. `challenge` is PKCE's, always S256. */
interface CodeGrant {
  subject: TokenSubject;
  redirectUri: string;
  challenge?: string | undefined;
}

/** The codes given out so far. */
export interface CodeStore {
  issue(grant: CodeGrant): string;
  /** `used` when the code was taken before, with the family its first use started. */
  take(code: string): { kind: 'ok'; grant: CodeGrant } | { kind: 'used'; familyId: string | undefined } | { kind: 'unknown' };
  /** Remembers which family of tokens a code led to. */
  settle(code: string, familyId: string): void;
}

const LIFETIME_MS = 5 * 60_000;
const MAX_CODES = 1000;

export function createCodeStore(clock: { now(): number }, random: RandomSource): CodeStore {
  const codes = new Map<string, { grant: CodeGrant; expiresAt: number; used: boolean; familyId?: string }>();
  return {
    issue(grant) {
      const code = createOpaqueToken(random).slice(0, 43);
      codes.set(code, { grant, expiresAt: clock.now() + LIFETIME_MS, used: false });
      for (const oldest of codes.keys()) {
        if (codes.size <= MAX_CODES) break;
        codes.delete(oldest);
      }
      return code;
    },
    take(code) {
      const entry = codes.get(code);
      if (!entry) return { kind: 'unknown' };
      if (entry.used) return { kind: 'used', familyId: entry.familyId };
      entry.used = true;
      return clock.now() < entry.expiresAt ? { kind: 'ok', grant: entry.grant } : { kind: 'unknown' };
    },
    settle(code, familyId) {
      const entry = codes.get(code);
      if (entry) entry.familyId = familyId;
    },
  };
}

/** Whether a PKCE verifier has the right form (RFC 7636 section 4.1) and hashes to the challenge. */
export function matchesChallenge(verifier: string, challenge: string): boolean {
  return /^[A-Za-z0-9\-._~]{43,128}$/.test(verifier) && createHash('sha256').update(verifier).digest('base64url') === challenge;
}
