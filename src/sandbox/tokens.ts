// Issues access tokens, refresh tokens in families, and authorization codes; checks, expires and revokes them, and
// bounds their number. It knows nothing of HTTP, and of clients only their ids.

import { createHash } from 'node:crypto';
import { createOpaqueToken, createUuid, type RandomSource } from './random.ts';

/** The client and user of a token. No `userId`: client credentials. `familyId` ties it to its refresh tokens. */
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

/** The result of checking a Bearer value. */
type TokenCheck = { kind: 'valid' | 'expired'; token: AccessToken } | { kind: 'unknown' };

/** The most tokens that are kept; older ones become unknown. */
const MAX_TOKENS = 10_000;

/** The access tokens issued so far. */
export interface TokenStore {
  issue(subject: TokenSubject, lifetimeS: number): AccessToken;
  check(value: string): TokenCheck;
  /** Makes every valid token that matches expired from now on; returns how many. */
  expire(matches?: (token: AccessToken) => boolean): number;
  /** Deletes every token that matches, so that it is unknown; returns how many. */
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
      dropOldest(tokens, MAX_TOKENS);
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

/**
 * `none`: the token stays the same. `grace`: each use gives a successor, and the used one goes on giving that same
 * successor for `graceMs`. `strict`: a used one is never taken again. A used token shown too late ends the whole family
 * (RFC 9700 section 4.14.2), in `grace` as in `strict`.
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

/** The most that are kept; older ones become unknown. */
const MAX_REFRESH_TOKENS = 10_000;

/** The refresh tokens issued so far. */
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
      if (policy.rotation === 'none')
        return { kind: 'ok', familyId, subject, refreshToken: value, rotated: false, grace: false };
      const successor = keep({ value: createOpaqueToken(random), familyId, subject });
      token.usedAt = clock.now();
      token.successor = successor.value;
      return { kind: 'ok', familyId, subject, refreshToken: successor.value, rotated: true, grace: false };
    },
    revokeFamily,
  };
}

/** The login that a code was issued for. `challenge` is PKCE's, always S256. */
interface CodeGrant {
  subject: TokenSubject;
  redirectUri: string;
  challenge?: string | undefined;
}

/** The authorization codes issued so far. */
export interface CodeStore {
  issue(grant: CodeGrant): string;
  /** `used` when the code was taken before, with the family its first use started. */
  take(
    code: string,
  ): { kind: 'ok'; grant: CodeGrant } | { kind: 'used'; familyId: string | undefined } | { kind: 'unknown' };
  /** Records the family of tokens that a code was redeemed for. */
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
      dropOldest(codes, MAX_CODES);
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
  return (
    /^[A-Za-z0-9\-._~]{43,128}$/.test(verifier) &&
    createHash('sha256').update(verifier).digest('base64url') === challenge
  );
}

/** Deletes the oldest entries until no more than `max` are left. */
function dropOldest(map: Map<string, unknown>, max: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= max) return;
    map.delete(oldest);
  }
}
