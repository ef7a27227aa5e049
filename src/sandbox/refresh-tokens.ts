// Refresh tokens in families: one family per login, with the three ways a server may rotate them.
// It knows nothing of HTTP, and of clients only the id a token belongs to.

import { createOpaqueToken, createUuid, type RandomSource } from './random.ts';
import type { TokenSubject } from './tokens.ts';

/**
 * `none`: the token stays the same. `grace`: each use gives a successor, and the used one goes on giving that same successor for `graceMs`.
 * `strict`: a used one is never taken again. A used token shown too late ends the whole family (RFC 9700 section 4.14.2), in `grace` as in `strict`.
 */
export interface RefreshPolicy {
  rotation: 'none' | 'grace' | 'strict';
  graceMs: number;
  /** `when-changed`: a refresh that rotates nothing answers without `refresh_token`. */
  replyRefreshToken: 'always' | 'when-changed';
}

/** A token and the login it descends from. */
interface RefreshToken {
  value: string;
  familyId: string;
  subject: TokenSubject;
  usedAt?: number;
  successor?: string;
}

/** `reused`: the family is gone. `unknown`: never issued, of another client, or revoked. */
type Redemption =
  | { kind: 'ok'; familyId: string; subject: TokenSubject; refreshToken: string; rotated: boolean; grace: boolean }
  | { kind: 'reused'; familyId: string }
  | { kind: 'unknown' };

/** Past this the oldest are forgotten. */
const MAX_REFRESH_TOKENS = 10_000;

/** The refresh tokens given out so far. */
export interface RefreshTokenStore {
  /** Starts a family. */
  issue(subject: TokenSubject): RefreshToken;
  redeem(value: string, clientId: string, policy: RefreshPolicy): Redemption;
  revokeFamily(familyId: string): void;
}

export function createRefreshTokenStore(clock: { now(): number }, random: RandomSource): RefreshTokenStore {
  const tokens = new Map<string, RefreshToken>();

  function keep(token: RefreshToken): RefreshToken {
    tokens.set(token.value, token);
    for (const oldest of tokens.keys()) {
      if (tokens.size <= MAX_REFRESH_TOKENS) break;
      tokens.delete(oldest);
    }
    return token;
  }

  function revokeFamily(familyId: string): void {
    for (const [value, token] of tokens) if (token.familyId === familyId) tokens.delete(value);
  }

  return {
    issue(subject) {
      return keep({ value: createOpaqueToken(random), familyId: createUuid(random), subject });
    },
    redeem(value, clientId, policy) {
      const token = tokens.get(value);
      if (!token || token.subject.clientId !== clientId) return { kind: 'unknown' };
      const { familyId, subject } = token;
      if (token.usedAt !== undefined && token.successor !== undefined) {
        if (policy.rotation === 'grace' && clock.now() - token.usedAt < policy.graceMs) {
          return { kind: 'ok', familyId, subject, refreshToken: token.successor, rotated: true, grace: true };
        }
        revokeFamily(familyId);
        return { kind: 'reused', familyId };
      }
      if (policy.rotation === 'none') return { kind: 'ok', familyId, subject, refreshToken: value, rotated: false, grace: false };
      const successor = keep({ value: createOpaqueToken(random), familyId, subject });
      token.usedAt = clock.now();
      token.successor = successor.value;
      return { kind: 'ok', familyId, subject, refreshToken: successor.value, rotated: true, grace: false };
    },
    revokeFamily,
  };
}
