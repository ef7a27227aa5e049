// Access tokens the simulation has given out: minted, checked, expired and revoked here, and bounded in number.
// Refresh tokens are refresh-tokens.ts; how long a token lives is decided by the caller.

import { createOpaqueToken, type RandomSource } from './random.ts';

/** Who and what a token stands for. No `userId`: client credentials. `familyId` ties it to its refresh tokens. */
export interface TokenSubject {
  clientId: string;
  grant: string;
  userId?: string | undefined;
  scope?: readonly string[] | undefined;
  target?: string | undefined;
  familyId?: string | undefined;
}

/** One token. `serial` counts from 1 and names the token in events and tests without showing it. */
export interface AccessToken extends TokenSubject {
  value: string;
  serial: number;
  issuedAt: number;
  expiresAt: number;
}

/** What a Bearer value turns out to be. */
type TokenCheck = { kind: 'valid' | 'expired'; token: AccessToken } | { kind: 'unknown' };

/** Past this the oldest are forgotten, and then read as unknown. */
const MAX_TOKENS = 10_000;

/** The tokens given out so far. */
export interface TokenStore {
  issue(subject: TokenSubject, lifetimeS: number): AccessToken;
  check(value: string): TokenCheck;
  /** Makes every valid token that matches read as expired from now on; gives how many. */
  expire(matches?: (token: AccessToken) => boolean): number;
  /** Forgets every token that matches, so that it reads as unknown; gives how many. */
  revoke(matches: (token: AccessToken) => boolean): number;
  valid(): number;
  issued(): number;
}

export function createTokenStore(clock: { now(): number }, random: RandomSource): TokenStore {
  const tokens = new Map<string, AccessToken>();
  let serial = 0;
  return {
    issue(subject, lifetimeS) {
      const issuedAt = clock.now();
      const token: AccessToken = {
        ...subject,
        value: createOpaqueToken(random),
        serial: ++serial,
        issuedAt,
        expiresAt: issuedAt + lifetimeS * 1000,
      };
      tokens.set(token.value, token);
      for (const oldest of tokens.keys()) {
        if (tokens.size <= MAX_TOKENS) break;
        tokens.delete(oldest);
      }
      return token;
    },
    check(value) {
      const token = tokens.get(value);
      if (!token) return { kind: 'unknown' };
      return { kind: clock.now() < token.expiresAt ? 'valid' : 'expired', token };
    },
    expire(matches = () => true) {
      const now = clock.now();
      let count = 0;
      for (const token of tokens.values()) {
        if (token.expiresAt <= now || !matches(token)) continue;
        token.expiresAt = now;
        count++;
      }
      return count;
    },
    revoke(matches) {
      let count = 0;
      for (const [value, token] of tokens) {
        if (matches(token) && tokens.delete(value)) count++;
      }
      return count;
    },
    valid: () => [...tokens.values()].filter((token) => token.expiresAt > clock.now()).length,
    issued: () => serial,
  };
}
