// The key for handles of anonymous callers where nothing is kept on disk: made from a credential's secret, so that a restart finds the same.
// Such a handle is good only where callers without proof are served: it permits nothing that its holder may not do without. One that was given
// for a proof, of a secret or a certificate, is never signed with this key, nor believed by it.

import { hkdfSync } from 'node:crypto';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { Secret } from '../../config/secret.ts';

/** Shorter secrets could be guessed from a handle; those of the platform are random and longer. */
const SHORTEST_SECRET = 24;

/** Null when the credential has no secret, or one that is too short or cannot be read now: then handles end with the process. */
export function deriveAnonymousKey(credential: CredentialConfig | undefined): Secret | null {
  const source = credential?.clientSecret ?? credential?.accessToken ?? null;
  if (credential === undefined || source === null) return null;
  try {
    const secret = source.read().reveal();
    if (secret.length < SHORTEST_SECRET) return null;
    const key = hkdfSync('sha256', secret, credential.clientId ?? '', 'gcg handles of anonymous callers', 32);
    return new Secret(Buffer.from(key).toString('base64url'));
  } catch {
    // A secret that comes later still counts for the token; only the handles of this process will not outlive it.
    return null;
  }
}
