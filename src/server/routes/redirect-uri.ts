// Where the platform is to send the browser after a login. Pure: what is configured goes first, then what is public,
// then the address the browser used.

import { isIP } from 'node:net';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import { parseHost } from '../admission.ts';
import { CALLBACK_PATH } from '../own-routes.ts';

/** Where a login comes back to, and whether that is the callback of this gateway. */
export interface RedirectUri {
  /** As it is registered with the OAuth client, octet by octet. */
  readonly uri: string;
  readonly isLocalCallback: boolean;
}

/** How the browser, or `gcg`, came here. `host` is the Host header. */
export interface ArrivalAddress {
  readonly host: string;
  readonly isEncrypted: boolean;
  /** A Unix socket has no address that a browser could come back to. */
  readonly isUnixSocket: boolean;
}

/** Throws gateway.request.invalid when the address used is none a login may come back to. */
export function redirectUriFor(
  config: Pick<CredentialConfig, 'redirectUri'>,
  publicUrl: string | null,
  arrival: ArrivalAddress,
): RedirectUri {
  if (config.redirectUri !== null)
    return { uri: config.redirectUri, isLocalCallback: new URL(config.redirectUri).pathname.endsWith(CALLBACK_PATH) };
  const own = ownCallback(publicUrl, arrival);
  if (own !== null) return { uri: own, isLocalCallback: true };
  throw new GatewayError(
    'gateway.request.invalid',
    'a login can come back to a loopback address only: set server.public_url, or redirect_uri of the credential',
  );
}

/**
 * Our own callback, as the world or this machine knows it; null where it has no address that a login may come back to.
 */
function ownCallback(publicUrl: string | null, { host, isEncrypted, isUnixSocket }: ArrivalAddress): string | null {
  if (publicUrl !== null) return `${publicUrl.replace(/\/+$/, '')}${CALLBACK_PATH}`;
  return isUnixSocket || !isLoopbackAuthority(host)
    ? null
    : `${isEncrypted ? 'https' : 'http'}://${host.toLowerCase()}${CALLBACK_PATH}`;
}

/**
 * Throws gateway.request.invalid for an address that an administrator may not have a login sent to: neither configured,
 * nor our own callback, nor a port of this machine (RFC 8252, section 7.3), where `gcg` or whoever asked takes the
 * callback.
 */
export function assertRedirectUri(
  wanted: string,
  config: Pick<CredentialConfig, 'redirectUri'>,
  publicUrl: string | null,
  arrival: ArrivalAddress,
): void {
  if (wanted === config.redirectUri || isLoopbackUri(wanted)) return;
  const own = ownCallback(publicUrl, arrival);
  if (wanted === own) return;
  const allowed = [config.redirectUri, own, 'an http address of this machine, http://127.0.0.1:PORT/PATH'].filter(
    (uri) => uri !== null,
  );
  throw new GatewayError(
    'gateway.request.invalid',
    `a login may not be sent to that redirect_uri, only to ${allowed.join(', or ')}: set redirect_uri of the ` +
      'credential for another',
  );
}

/** Whether a URI is an http address of this machine. One that two readers might take for two hosts is not. */
function isLoopbackUri(text: string): boolean {
  if (!/^http:\/\/[^\s\\@#]+$/.test(text) || !URL.canParse(text)) return false;
  return isLoopbackAuthority(new URL(text).host);
}

/**
 * Whether a Host (or a URL's `host`), its port included, is this machine and nothing else: no name that somebody would
 * have to resolve.
 */
export function isLoopbackAuthority(host: string): boolean {
  const name = parseHost(host)?.name ?? '';
  return name === 'localhost' || name === '[::1]' || (isIP(name) === 4 && name.startsWith('127.'));
}
