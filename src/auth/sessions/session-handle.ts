// The two random strings an application holds for a session. Only their hashes are kept; the access handle of a session that can be refreshed
// follows from its refresh handle, so that however many refreshes run at once, all of them yield the same, valid handle.

import { hash, randomBytes } from 'node:crypto';
import { HANDLE_PREFIX } from '../handles/client-handle.ts';

/** How a local stand-in for a refresh token begins. */
export const REFRESH_PREFIX = 'gcgr_';

/** A fresh refresh handle: 256 random bits. */
export function createRefreshHandle(): string {
  return REFRESH_PREFIX + randomBytes(32).toString('base64url');
}

/** A fresh access handle of a session without a refresh handle. */
export function createSessionHandle(): string {
  return `${HANDLE_PREFIX}s${randomBytes(32).toString('base64url')}`;
}

/** The access handle that belongs to a refresh handle. */
export function handleOf(refreshHandle: string): string {
  return `${HANDLE_PREFIX}s${hash('sha256', `access ${refreshHandle}`, 'base64url')}`;
}

/** Under this a handle is kept. */
export function handleHash(handle: string): string {
  return hash('sha256', handle, 'hex');
}
