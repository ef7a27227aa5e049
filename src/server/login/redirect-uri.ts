// Where the platform is to send the browser after a login. Pure: what is configured goes first, then what is public, then the address the browser used.

import { isIP } from 'node:net';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import { parseHost } from '../boundary.ts';

/** The path of our own landing page, behind whatever prefix an ingress puts before it. */
export const CALLBACK_PATH = '/-/callback';

/** Where to, and whether that is a landing page of ours. */
export interface RedirectUri {
  /** As it is registered with the OAuth client, octet by octet. */
  readonly uri: string;
  readonly isOurs: boolean;
}

/** How the browser, or `gcg`, came here. `host` is the Host header. */
export interface ArrivalAddress {
  readonly host: string;
  readonly isEncrypted: boolean;
  /** A Unix socket has no address that a browser could come back to. */
  readonly isUnixSocket: boolean;
}

/** Throws gateway.request.invalid when the address used is none a login may come back to. */
export function redirectUriFor(config: Pick<CredentialConfig, 'redirectUri'>, publicUrl: string | null, arrival: ArrivalAddress): RedirectUri {
  if (config.redirectUri !== null) return { uri: config.redirectUri, isOurs: new URL(config.redirectUri).pathname.endsWith(CALLBACK_PATH) };
  if (publicUrl !== null) return { uri: `${publicUrl.replace(/\/+$/, '')}${CALLBACK_PATH}`, isOurs: true };
  if (!arrival.isUnixSocket && isLoopbackHost(arrival.host)) {
    return { uri: `${arrival.isEncrypted ? 'https' : 'http'}://${arrival.host.toLowerCase()}${CALLBACK_PATH}`, isOurs: true };
  }
  throw new GatewayError(
    'gateway.request.invalid',
    'a login can come back to a loopback address only: set server.public_url, or redirect_uri of the credential',
  );
}

/** Whether a Host (or a URL's `host`) is this machine and nothing else. */
export function isLoopbackHost(host: string): boolean {
  const name = parseHost(host)?.name ?? '';
  return name === 'localhost' || name === '[::1]' || (isIP(name) === 4 && name.startsWith('127.'));
}
