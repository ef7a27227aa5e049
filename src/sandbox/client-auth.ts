// Which client a token request is from, and whether it proved so: Basic with raw id and secret, or a bare client_id.
// The platform does not percent-encode the two parts of Basic, unlike RFC 6749 section 2.3.1.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { ClientRegistry, GrantKind, SandboxClient } from './clients.ts';
import { OAuthError } from './faults.ts';

/** A client and how it was told: `proved` when a secret was shown and right. */
export interface AuthenticatedClient {
  client: SandboxClient;
  proved: boolean;
}

/** The id and secret of a Basic header, split at the first colon. `undefined` when it is not a readable Basic header. */
function parseBasic(header: string): { id: string; secret: string } | undefined {
  const encoded = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { id: text.slice(0, colon), secret: text.slice(colon + 1) };
}

/**
 * Finds the client. Throws OAuthError `invalid_client` ("client not found", "authentication failed"), or `invalid_request`
 * when header and form disagree. A client without a secret may send an empty one, as the vendor's CLI does.
 */
export function authenticateClient(header: string | undefined, formClientId: string | undefined, clients: ClientRegistry): AuthenticatedClient {
  if (header === undefined) {
    if (formClientId === undefined) throw new OAuthError('invalid_client', 'client authentication is missing');
    return { client: findClient(clients, formClientId), proved: false };
  }
  const basic = parseBasic(header);
  if (!basic) throw new OAuthError('invalid_client', 'authentication failed');
  if (formClientId !== undefined && formClientId !== basic.id)
    throw new OAuthError('invalid_request', 'client_id differs from the authorization header');
  const client = findClient(clients, basic.id);
  if (!equalSecrets(client.secret ?? '', basic.secret)) throw new OAuthError('invalid_client', 'authentication failed');
  return { client, proved: client.secret !== undefined };
}

function findClient(clients: ClientRegistry, id: string): SandboxClient {
  const client = clients.find(id);
  if (!client) throw new OAuthError('invalid_client', 'client not found');
  return client;
}

/** Throws OAuthError `unauthorized_client` when the client is not registered for the grant. */
export function assertGrantAllowed(client: SandboxClient, grant: GrantKind): void {
  if (!client.grants.includes(grant)) throw new OAuthError('unauthorized_client', 'client is not authorized for this grant type');
}

/** Throws OAuthError `invalid_client` when a client that has a secret did not show it. */
export function assertProved({ client, proved }: AuthenticatedClient): void {
  if (!proved && client.secret !== undefined) throw new OAuthError('invalid_client', 'authentication failed');
}

function equalSecrets(expected: string, shown: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(expected), digest(shown));
}
