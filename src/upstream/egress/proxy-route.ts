// A way through proxies to an endpoint, as a value: direct, or the proxy with its kind and address.

import { stripBrackets } from '../../config/listen-address.ts';
import { GatewayError } from '../../errors.ts';

export type ProxyProtocol = 'http' | 'https' | 'socks4' | 'socks4a' | 'socks5' | 'socks5h';

export interface ProxyCredentials {
  readonly username: string;
  readonly password: string;
}

export interface ProxyRoute {
  readonly kind: 'proxy';
  readonly protocol: ProxyProtocol;
  readonly host: string;
  readonly port: number;
  /** Read at every dial, so that a rotated password counts at once. Null: the proxy is used without. */
  readonly credentials: () => ProxyCredentials | null;
  /**
   * The configured credentials are not for this proxy: nobody knows who named it. It may still have others, of whoever
   * named it.
   */
  readonly isStranger: boolean;
}

export type Route = { readonly kind: 'direct' } | ProxyRoute;

export const DIRECT: Route = { kind: 'direct' };

const DEFAULT_PORTS: Record<ProxyProtocol, number> = {
  http: 80,
  https: 443,
  socks4: 1080,
  socks4a: 1080,
  socks5: 1080,
  socks5h: 1080,
};

/** `direct`, or `http://proxy:3128`: for people, without credentials. */
export function routeName(route: Route): string {
  return route.kind === 'direct' ? 'direct' : `${route.protocol}://${authority(route.host, route.port)}`;
}

/** Where a proxy setting points: at a proxy, or at a PAC file that names some. */
export type ProxySetting =
  | { readonly kind: 'fixed'; readonly route: ProxyRoute }
  | { readonly kind: 'pac'; readonly url: URL };

/**
 * Reads a proxy URL, with or without scheme (`proxy:3128` is http). `outer` credentials, where given, win over those in
 * the URL, which are percent-decoded. Throws GatewayError `gateway.proxy.refused` that names `setting` and never shows
 * the URL's credentials.
 */
export function parseProxySetting(
  text: string,
  setting: string,
  outer: (() => ProxyCredentials | null) | null = null,
): ProxySetting {
  const refuse = (why: string) => new GatewayError('gateway.proxy.refused', `${setting} is not usable: ${why}`);
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  } catch {
    throw refuse('it is not a URL; write http://proxy.example:3128');
  }
  const scheme = url.protocol.slice(0, -1);
  if (scheme === 'pac+http' || scheme === 'pac+https' || scheme === 'pac+file')
    return { kind: 'pac', url: new URL(url.href.slice('pac+'.length)) };
  const protocol = scheme === 'socks' ? 'socks5h' : scheme;
  if (!isProxyProtocol(protocol)) {
    throw refuse(
      `the scheme ${scheme} is unknown; known are http, https, socks4, socks4a, socks5, socks5h, pac+http, ` +
        'pac+https and pac+file',
    );
  }
  if (url.hostname === '') throw refuse('it names no host');
  if (url.port === '0') throw refuse('it has the port 0');
  let inner: ProxyCredentials | null;
  try {
    inner =
      url.username === '' && url.password === ''
        ? null
        : { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  } catch {
    throw refuse('its user name or password is not percent-encoded as URLs want it (write %25 for %)');
  }
  const port = Number(url.port) || DEFAULT_PORTS[protocol];
  return {
    kind: 'fixed',
    route: {
      kind: 'proxy',
      protocol,
      host: stripBrackets(url.hostname),
      port,
      credentials: () => outer?.() ?? inner,
      isStranger: false,
    },
  };
}

function isProxyProtocol(text: string): text is ProxyProtocol {
  return Object.hasOwn(DEFAULT_PORTS, text);
}

/** `host` is a name or an IP address without brackets; `servername` replaces it in SNI and in the certificate check. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly servername?: string | undefined;
}

/** `host:port` as URLs and CONNECT write it, with brackets round an IPv6 address. */
export function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The target of an http, https, ws or wss URL. */
export function targetOf(url: URL): Target {
  const secure = url.protocol === 'https:' || url.protocol === 'wss:';
  return { host: stripBrackets(url.hostname), port: Number(url.port) || (secure ? 443 : 80), secure };
}
