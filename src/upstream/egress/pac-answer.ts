// Reads the text that FindProxyForURL returns: `PROXY a:8080; SOCKS5 b; DIRECT`, in order of preference.

import { DIRECT, type ProxyCredentials, type ProxyProtocol, parseProxySetting, type Route } from './route.ts';

/** `SOCKS` and `SOCKS5` let the proxy resolve names, as browsers do. */
const KEYWORDS: Record<string, ProxyProtocol> = {
  PROXY: 'http',
  HTTP: 'http',
  HTTPS: 'https',
  SOCKS: 'socks5h',
  SOCKS5: 'socks5h',
  SOCKS4: 'socks4a',
};

/** Beyond so many entries a list is not read: each would get too small a share of the dial's time. */
const MOST_ENTRIES = 32;

/** Whom the configured credentials are for, among the proxies that a script names. */
export interface PacCredentials {
  readonly read: () => ProxyCredentials | null;
  isFor(host: string, port: number): boolean;
}

/** Never empty: an empty answer means direct, as in browsers. Unknown entries are passed over; throws when nothing else is left. */
export function parsePacAnswer(answer: string, credentials: PacCredentials): readonly Route[] {
  const entries = answer
    .split(';')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .slice(0, MOST_ENTRIES);
  if (entries.length === 0) return [DIRECT];
  const routes = entries.flatMap((entry) => parseEntry(entry, credentials) ?? []);
  if (routes.length === 0) throw new Error('it names no route that is known here');
  return routes;
}

function parseEntry(entry: string, credentials: PacCredentials): Route | null {
  const [keyword = '', address, ...rest] = entry.split(/\s+/);
  if (/^direct$/i.test(keyword) && address === undefined) return DIRECT;
  const protocol = Object.hasOwn(KEYWORDS, keyword.toUpperCase()) ? KEYWORDS[keyword.toUpperCase()] : undefined;
  if (!protocol || address === undefined || rest.length > 0 || /[/?#]/.test(address)) return null;
  try {
    const parsed = parseProxySetting(`${protocol}://${address}`, 'the PAC file');
    if (parsed.kind !== 'fixed') return null;
    const { route } = parsed;
    if (!credentials.isFor(route.host, route.port)) return { ...route, isStranger: true };
    return { ...route, credentials: () => credentials.read() ?? route.credentials() };
  } catch {
    // Not an address: passed over like an unknown keyword.
    return null;
  }
}
