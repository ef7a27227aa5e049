// Which credential serves an exchange: the path's NAME, the X-Gateway-Credential header, or the caller's default. Who may use which is asked here.

import { GatewayError } from '../errors.ts';
import type { Exchange } from './exchange.ts';
import type { ForwardCredential } from './forward.ts';

/** The credentials there are, and those a caller may use. */
export interface CredentialChoice {
  readonly get: (name: string) => ForwardCredential | undefined;
  /** The caller's default, if there is one. */
  readonly defaultName: () => string | null;
  /** Whether the caller may use it; a name that does not exist is not asked for. */
  readonly mayUse: (name: string) => boolean;
  readonly names: () => readonly string[];
}

/** Throws gateway.request.invalid (path and header at odds), gateway.credential.unknown or gateway.client.forbidden. */
export function chooseCredential(exchange: Exchange, choice: CredentialChoice): ForwardCredential {
  const name = namedCredential(exchange) ?? choice.defaultName();
  if (name === null) {
    const names = choice.names().join(', ');
    throw new GatewayError(
      'gateway.credential.unknown',
      `no credential is the default: call /NAME/api/v2/… with one of ${names}, or mark one with default = true`,
    );
  }
  const credential = choice.get(name);
  if (!credential) {
    throw new GatewayError('gateway.credential.unknown', 'no credential of that name is configured: `gcg config` lists them');
  }
  if (!choice.mayUse(name)) throw new GatewayError('gateway.client.forbidden', `the credential ${name} is not listed for this caller`);
  return credential;
}

function namedCredential(exchange: Exchange): string | null {
  const fromPath = exchange.route.credential;
  const header = exchange.request.headers['x-gateway-credential'];
  if (header === undefined) return fromPath;
  if (typeof header !== 'string' || header.includes(','))
    throw new GatewayError('gateway.request.invalid', 'there is more than one X-Gateway-Credential');
  if (fromPath !== null && fromPath !== header) {
    throw new GatewayError('gateway.request.invalid', 'the path and X-Gateway-Credential name different credentials: send one of them');
  }
  return header;
}
