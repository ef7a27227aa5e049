// GET /oauth/authorize and /logout: on to the region's login host with every parameter as it came, but for a client_id
// that is a name of ours. Pure.

import type { Access } from '../../auth/callers/access.ts';
import type { Clients } from '../../auth/callers/clients.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';

/** Parts of one configuration. */
export interface FacadeRedirects {
  readonly access: Access;
  readonly clients: Clients;
  /** The credential of that name, or for null a placeholder with the general hosts; undefined for a name there is not. */
  readonly credential: (name: string | null) => CredentialConfig | undefined;
  readonly defaultName: string | null;
}

/** Where a browser goes. `query` is the raw query without its `?`. Throws gateway.credential.unknown. */
export function facadeLocation(
  path: '/oauth/authorize' | '/logout',
  query: string,
  named: string | null,
  parts: FacadeRedirects,
): string {
  const { access, clients, credential, defaultName } = parts;
  const clientId = new URLSearchParams(query).get('client_id');
  const caller = clientId === null ? undefined : clients.get(clientId);
  const base = credential(named ?? (caller === undefined ? defaultName : access.defaultFor(caller)));
  if (base === undefined)
    throw new GatewayError(
      'gateway.credential.unknown',
      'no credential of that name is configured: `gcg config` lists them',
    );
  const mapped = caller === undefined || base.clientId === null ? query : replaceClientId(query, base.clientId);
  const { origin, pathPrefix } = base.hosts.login;
  return `${origin}${pathPrefix}${path}${mapped === '' ? '' : `?${mapped}`}`;
}

/** Only the one value changes; order, escapes and everything else stay octet for octet. */
function replaceClientId(query: string, clientId: string): string {
  return query
    .split('&')
    .map((pair) =>
      decodeName(pair.split('=', 1)[0] as string) === 'client_id' ? `client_id=${encodeURIComponent(clientId)}` : pair,
    )
    .join('&');
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return name;
  }
}
