// Which credential serves an exchange: the path's NAME, the X-Gateway-Credential header, or the caller's default. Who may use which is asked here.

import type { Access } from '../auth/callers/access.ts';
import type { Caller } from '../auth/callers/caller.ts';
import type { CachedTokenSource } from '../auth/credentials/token-source.ts';
import type { CredentialConfig } from '../config/gateway-config.ts';
import { GatewayError } from '../errors.ts';
import { sessionLimitKey } from '../upstream/call.ts';
import type { Exchange } from './exchange.ts';

/** A credential as the data path sees it. */
export interface ForwardCredential {
  readonly config: CredentialConfig;
  readonly source: CachedTokenSource;
  /** Whose limits it counts against, where that is not the credential as a whole. */
  readonly limitKey?: string;
}

/** The credentials there are, and those a caller may use. */
export interface CredentialChoice {
  readonly get: (name: string) => ForwardCredential | undefined;
  readonly access: Pick<Access, 'defaultFor' | 'mayUse'>;
  readonly names: () => readonly string[];
}

/** Throws gateway.request.invalid (path and header at odds), gateway.credential.unknown or gateway.client.forbidden. */
export function chooseCredential(exchange: Pick<Exchange, 'identity' | 'route' | 'request'>, choice: CredentialChoice): ForwardCredential {
  const { identity } = exchange;
  const asked = boundTo(identity, namedCredential(exchange));
  if (identity.session !== null) {
    const { terms, config, source } = identity.session;
    if (terms.credential !== null && !choice.access.mayUse(identity, terms.credential)) throw notListed(terms.credential);
    const own = config();
    // The platform limits tokens, and this one has its own: other sessions of the same application are not held up with it.
    return { config: own, source, limitKey: sessionLimitKey(own.name, identity.session.id) };
  }
  const name = asked ?? choice.access.defaultFor(identity);
  if (name === null) {
    const names = choice.names().filter((one) => choice.access.mayUse(identity, one));
    const advice = names.length === 0 ? 'list one for this caller' : `call /NAME/api/v2/… with one of ${names.join(', ')}`;
    throw new GatewayError('gateway.credential.unknown', `no credential is the default: ${advice}, or mark one with default = true`);
  }
  const credential = choice.get(name);
  if (!credential) {
    throw new GatewayError('gateway.credential.unknown', 'no credential of that name is configured: `gcg config` lists them');
  }
  if (!choice.access.mayUse(identity, name)) throw notListed(name);
  return credential;
}

/** The credential a handle is bound to, which a path or header may repeat but not change. */
function boundTo({ handle, session }: Caller, named: string | null): string | null {
  const bound = session === null ? (handle?.credential ?? null) : session.terms.credential;
  if (named !== null && (session !== null || bound !== null) && named !== bound) {
    throw new GatewayError(
      'gateway.client.forbidden',
      `this handle is not for the credential ${named}: log in by /${named}/oauth/token for one that is`,
    );
  }
  return named ?? bound;
}

function notListed(name: string): GatewayError {
  return new GatewayError('gateway.client.forbidden', `the credential ${name} is not listed for this caller`);
}

/** The credential that the path or X-Gateway-Credential names, or null. Throws gateway.request.invalid when they are at odds. */
export function namedCredential(exchange: Pick<Exchange, 'route' | 'request'>): string | null {
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
