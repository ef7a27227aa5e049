// From a region and the [gateway] section to the URLs that calls go to. The rules of [gateway] are those of the SDKs.

import type { ListenAddress, UpstreamHosts } from './gateway-config.ts';
import { isLoopbackHost, isWildcardHost } from './listen-address.ts';
import { shown } from './problem.ts';
import { accepted, type Parsed, refused } from './values.ts';

/** The `[gateway]` section, read. */
export interface GatewayBase {
  /** `https://host:port`. */
  readonly origin: string;
  /** The path in `host`, `''` or `/like/this`. */
  readonly path: string;
  readonly loginPrefix: string;
  readonly apiPrefix: string;
}

/** The hosts of a region, or the gateway in front of it: then sockets go to that host too. */
export function upstreamHosts(domain: string, gateway: GatewayBase | null): UpstreamHosts {
  if (gateway === null) {
    return {
      domain,
      api: { origin: `https://api.${domain}`, pathPrefix: '' },
      login: { origin: `https://login.${domain}`, pathPrefix: '' },
      streaming: { origin: `wss://streaming.${domain}`, pathPrefix: '' },
    };
  }
  return {
    domain,
    api: { origin: gateway.origin, pathPrefix: gateway.path + gateway.apiPrefix },
    login: { origin: gateway.origin, pathPrefix: gateway.path + gateway.loginPrefix },
    streaming: { origin: gateway.origin.replace(/^http/, 'ws'), pathPrefix: gateway.path },
  };
}

/**
 * `host` is taken as written and may hold a port and a path; a scheme in front of it must agree with `protocol`, which is `https` when not
 * set. Port 0 or null: none.
 */
export function parseGateway(host: string, protocol: 'https' | 'http' | null, port: number | null): Parsed<Pick<GatewayBase, 'origin' | 'path'>> {
  const scheme = /^(https?):\/\/(.*)$/i.exec(host);
  const written = scheme?.[1]?.toLowerCase();
  if (written !== undefined && protocol !== null && written !== protocol) return refused(`${shown(host)} does not agree with protocol = ${protocol}`);
  const authority = scheme?.[2] ?? host;
  if (/[?#@\\\s]/.test(authority) || authority.includes('://')) return refused('is not a host; write a name, with :port and /path where needed');
  const [, name = '', path = ''] = /^([^/]*)(\/.*)?$/.exec(authority) ?? [];
  const hasPort = /:\d+$/.test(name.replace(/^\[[^\]]*\]/, ''));
  if (hasPort && port !== null && port > 0) return refused(`${shown(host)} already holds a port; leave port out`);
  const url = `${written ?? protocol ?? 'https'}://${name}${port !== null && port > 0 ? `:${port}` : ''}`;
  if (name === '' || !URL.canParse(url)) return refused(`${shown(host)} is not a host; write a name, with :port and /path where needed`);
  return accepted({ origin: new URL(url).origin, path: normalisePath(path) });
}

/** `''` or `/a/b`: one slash in front, none at the end, none doubled. */
export function normalisePath(path: string): string {
  const segments = path.split('/').filter((segment) => segment !== '');
  return segments.length === 0 ? '' : `/${segments.join('/')}`;
}

/** Whether an origin is loopback in any spelling the URL parser understands. */
export function isLoopbackOrigin(origin: string): boolean {
  return isLoopbackHost(new URL(origin).hostname);
}

/** The listener an origin leads back to, if it is one of ours. Loopback in any spelling counts, and a listener on all addresses. */
export function findOwnListener(origin: string, listeners: readonly ListenAddress[]): ListenAddress | undefined {
  const url = new URL(origin);
  const port = Number(url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : url.port);
  const isHere = isLoopbackHost(url.hostname) || isWildcardHost(url.hostname);
  return listeners.find((address) => {
    if (address.kind !== 'tcp' || address.port === 0 || address.port !== port) return false;
    const isLocal = isLoopbackHost(address.host) || isWildcardHost(address.host);
    return (isHere && isLocal) || address.host.toLowerCase() === url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  });
}
