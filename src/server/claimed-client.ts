// Whom a refused request names: for the record of a failed authentication, so that after a rotation it can be told who
// still shows the old secret. What is named is claimed, not proved, and gives no rights.

import type { IncomingMessage } from 'node:http';
import { isHandle, isSignedHandle } from '../auth/callers/client-handle.ts';
import { type Clients, parseAuthorization } from '../auth/callers/clients.ts';
import type { Handles } from '../auth/callers/handles.ts';
import type { Sessions } from '../auth/callers/sessions.ts';
import { type ErrorCode, isGatewayError } from '../errors.ts';
import { fingerprintOf } from '../logging/redact/text.ts';

const REFUSED_PROOFS: ReadonlySet<ErrorCode> = new Set(['gateway.client.unauthenticated', 'gateway.session.ended']);

/** Whether an error refuses what a request shows of who makes it. */
export function isRefusedProof(error: unknown): boolean {
  return isGatewayError(error) && REFUSED_PROOFS.has(error.code);
}

/** What names and handles are looked up in. */
export interface KnownCallers {
  readonly clients: Pick<Clients, 'get' | 'bySecret'>;
  readonly handles: Pick<Handles, 'read'>;
  readonly sessions: Pick<Sessions, 'ownerOf'>;
}

/**
 * The client that the proofs of a refused request name; null where they name nobody. A wrong secret by itself names
 * nobody, a handle that was made here names who got it. `shownId` is the id that a token request gave. Never throws.
 */
export function claimedClient(
  { headers }: Pick<IncomingMessage, 'headers'>,
  { clients, handles, sessions }: KnownCallers,
  shownId: string | null = null,
): string | null {
  const shown = parseAuthorization(headers.authorization ?? '');
  for (const name of [shownId, shown.scheme === 'basic' ? shown.name : null]) {
    if (name === null || name === '' || isHandle(name)) continue;
    return clients.get(name) === undefined ? shownClaim(name) : name;
  }
  const key = headers['x-gateway-key'];
  const secrets = [typeof key === 'string' ? key : ''];
  if (shown.scheme === 'bearer') secrets.push(shown.token);
  if (shown.scheme === 'basic') secrets.push(shown.secret, shown.name);
  for (const secret of secrets) {
    if (!isHandle(secret)) {
      // The right one of a client that may not call now, or from there.
      const barred = clients.bySecret(secret)?.client ?? null;
      if (barred !== null) return barred.name;
      continue;
    }
    const owner = isSignedHandle(secret) ? handles.read(secret) : sessions.ownerOf(secret);
    if (owner !== null && owner.client !== null) return owner.client;
  }
  return null;
}

/**
 * What names and ids look like: short words and hyphens, as in `crm-batch-2` and UUIDs. No word mixes its cases, as
 * random characters do.
 */
const PLAIN_NAME = /^(?:[A-Z]?[a-z0-9]{1,14}|[A-Z0-9]{1,15})(?:[-_.](?:[A-Z]?[a-z0-9]{1,14}|[A-Z0-9]{1,15})){0,7}$/;

/**
 * A name that a caller gave itself, fit for a record. What does not look like one is shown as a fingerprint: people put
 * secrets in the place of names.
 */
export function shownClaim(name: string): string {
  return name.length <= 64 && PLAIN_NAME.test(name) ? name : fingerprintOf(name);
}
