// Signed handles: what an application gets instead of a Genesys token when it asks with client credentials. Pure: makes
// and reads them, keeps no table. Whether one may still be used (is it revoked,
// does its client still exist) is decided elsewhere.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../../secret.ts';

/** The prefix of every handle, which an application gets in place of an access token. */
export const HANDLE_PREFIX = 'gcgh_';

/** The prefix of signed handles; the others are of sessions. */
const SIGNED_PREFIX = `${HANDLE_PREFIX}c`;

/** No handle is older than this: the platform's longest token life. */
export const HANDLE_LIFE_MS = 450 * 24 * 60 * 60 * 1000;

/** What a signed handle says. Not secret, but only believed with its signature. */
export interface ClientHandle {
  readonly id: string;
  /** `[client.NAME]`; null when it was given to an anonymous caller. */
  readonly client: string | null;
  /** The credential it is bound to; null: the client's default at the time of use. */
  readonly credential: string | null;
  /**
   * What authenticated who it was given to, `Caller.authFingerprint`: the handle is good while that would authenticate
   * them still. Null: given to an anonymous caller, and good for no other.
   */
  readonly authFingerprint: string | null;
  /** Epoch ms. */
  readonly issuedAt: number;
}

/** Whether a Bearer value claims to be a handle of ours. Such a value is never anything else. */
export function isHandle(token: string): boolean {
  return token.startsWith(HANDLE_PREFIX);
}

/** Whether it claims to be a signed one. */
export function isSignedHandle(token: string): boolean {
  return token.startsWith(SIGNED_PREFIX);
}

/** Makes a handle: HMAC-SHA256 over what it says. */
export function signHandle(content: Omit<ClientHandle, 'id'>, key: Secret): string {
  const { client, credential, authFingerprint, issuedAt } = content;
  const payload = Buffer.from(
    JSON.stringify([randomBytes(9).toString('base64url'), client, credential, authFingerprint, issuedAt]),
  ).toString('base64url');
  return `${SIGNED_PREFIX}${payload}.${signature(payload, key).toString('base64url')}`;
}

/** What a handle says, or null when it was not made with this key. */
export function readHandle(token: string, key: Secret): ClientHandle | null {
  const dot = token.indexOf('.');
  if (dot < 0 || !isSignedHandle(token) || token.length > 4096) return null;
  const payload = token.slice(SIGNED_PREFIX.length, dot);
  const shown = Buffer.from(token.slice(dot + 1), 'base64url');
  const right = signature(payload, key);
  // The text, too, must be the one we would write: base64url has spare bits that decode alike.
  if (
    shown.length !== right.length ||
    !timingSafeEqual(shown, right) ||
    shown.toString('base64url') !== token.slice(dot + 1)
  )
    return null;
  const [id, client, credential, authFingerprint, issuedAt] = JSON.parse(
    Buffer.from(payload, 'base64url').toString('utf8'),
  );
  return { id, client, credential, authFingerprint, issuedAt };
}

function signature(payload: string, key: Secret): Buffer {
  return createHmac('sha256', key.reveal()).update(payload).digest();
}
