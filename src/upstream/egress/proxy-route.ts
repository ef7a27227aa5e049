// Which way leads to an endpoint: direct, through a proxy, or as a PAC script says, by the `[proxy]` section, else by
// the environment. Runs no script and dials nothing.

import type { GatewayConfig } from '../../config/gateway-config.ts';
import { isLoopbackHost, stripBrackets } from '../../config/listen-address.ts';
import { parseNoProxy } from '../../config/sections/proxy.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';

/** How a proxy is spoken to. With `socks4a` and `socks5h` the proxy resolves names. */
export type ProxyProtocol = 'http' | 'https' | 'socks4' | 'socks4a' | 'socks5' | 'socks5h';

/** The login at a proxy. */
export interface ProxyCredentials {
  readonly username: string;
  readonly password: string;
}

/** One proxy that connections lead through. */
export interface ForwardProxy {
  readonly kind: 'proxy';
  readonly protocol: ProxyProtocol;
  readonly host: string;
  readonly port: number;
  /** Read at every dial, so that a rotated password counts at once. Null: the proxy is used without. */
  readonly credentials: () => ProxyCredentials | null;
  /**
   * Whether it was named by a script that is not trusted with the configured credentials. It may still have others,
   * given by whoever named it.
   */
  readonly isStranger: boolean;
}

/** A way to an endpoint. */
export type ProxyRoute = { readonly kind: 'direct' } | ForwardProxy;

/** The way without a proxy. */
export const DIRECT: ProxyRoute = { kind: 'direct' };

const DEFAULT_PORTS: Record<ProxyProtocol, number> = {
  http: 80,
  https: 443,
  socks4: 1080,
  socks4a: 1080,
  socks5: 1080,
  socks5h: 1080,
};

/** `direct`, or `http://proxy:3128`: for people, without credentials. */
export function routeName(route: ProxyRoute): string {
  return route.kind === 'direct' ? 'direct' : `${route.protocol}://${authority(route.host, route.port)}`;
}

/** Where a proxy setting points: at a proxy, or at a PAC file that names some. */
export type ProxySetting =
  | { readonly kind: 'fixed'; readonly route: ForwardProxy }
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
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly servername?: string | undefined;
}

/** `host:port` as URLs and CONNECT write it, with brackets round an IPv6 address. */
export function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The endpoint of an http, https, ws or wss URL. */
export function endpointOf(url: URL): Endpoint {
  const secure = url.protocol === 'https:' || url.protocol === 'wss:';
  return { host: stripBrackets(url.hostname), port: Number(url.port) || (secure ? 443 : 80), secure };
}

/** Whom the configured credentials are for, among the proxies that a script names. */
export interface PacCredentials {
  readonly read: () => ProxyCredentials | null;
  isFor(host: string, port: number): boolean;
}

/** The outcome, with the setting that decided. A PAC file still has to be asked. */
type Choice =
  | { readonly kind: 'route'; readonly route: ProxyRoute; readonly reason: string }
  | { readonly kind: 'pac'; readonly url: URL; readonly reason: string };

/** The choice of the setting that applies to an endpoint. */
export interface Routing {
  /** Throws GatewayError `gateway.proxy.refused` when the setting that applies is not usable. */
  choose(endpoint: Endpoint): Choice;
  /**
   * `proxy.username` and `proxy.password`, for the proxies that the script at `script` names: those of
   * `proxy.credential_hosts`; where that is not set, all of them, unless the script comes over plain http, where
   * anybody on the way may have written it.
   */
  credentialsBy(script: URL): PacCredentials;
}

/** The environment is read once, here; NO_PROXY counts for the environment's proxies only, `proxy.no_proxy` for all. */
export function createRouting({
  proxy,
  env,
  log,
}: {
  proxy: GatewayConfig['proxy'];
  env: NodeJS.ProcessEnv;
  log: Log;
}): Routing {
  const credentials = () => configuredCredentials(proxy);
  const fromEnv = (...names: string[]) => firstSet(env, names);
  const noProxy = parseNoProxy(proxy.noProxy);
  const credentialHosts = parseNoProxy(proxy.credentialHosts);
  const envNoProxyEntry = fromEnv('NO_PROXY');
  const envNoProxy = parseNoProxy([envNoProxyEntry?.value ?? '']);
  const { unusable } = envNoProxy;
  if (unusable.length > 0) log.warn({ entries: unusable }, 'NO_PROXY entries that match nothing');

  const direct = (reason: string): Choice => ({ kind: 'route', route: DIRECT, reason });
  const through = (text: string, setting: string): Choice => {
    const parsed = parseProxySetting(text, setting, credentials);
    return parsed.kind === 'pac'
      ? { ...parsed, reason: setting }
      : { kind: 'route', route: parsed.route, reason: setting };
  };
  return {
    credentialsBy: ({ protocol }) => ({
      read: credentials,
      isFor: (host, port) =>
        proxy.credentialHosts.length > 0 ? credentialHosts.matches(host, port) : protocol !== 'http:',
    }),
    choose({ host, port, secure }) {
      if (proxy.off) return direct('proxy.off');
      if (noProxy.matches(host, port)) return direct('proxy.no_proxy');
      if (proxy.url !== null) return through(proxy.url, 'proxy.url');
      const setting = fromEnv(secure ? 'HTTPS_PROXY' : 'HTTP_PROXY', 'ALL_PROXY');
      if (!setting) return direct('no proxy is configured');
      if (isLoopbackHost(host)) return direct(`a loopback host, for which ${setting.name} does not count`);
      if (envNoProxy.matches(host, port)) return direct(envNoProxyEntry?.name ?? 'NO_PROXY');
      return through(setting.value, setting.name);
    },
  };
}

/** The first of the variables that is set and not empty; of each, the lower-case spelling wins, as in curl. */
function firstSet(env: NodeJS.ProcessEnv, names: readonly string[]): { name: string; value: string } | undefined {
  for (const name of names.flatMap((upper) => [upper.toLowerCase(), upper])) {
    const value = env[name]?.trim();
    if (value) return { name, value };
  }
  return undefined;
}

function configuredCredentials({ username, password }: GatewayConfig['proxy']): ProxyCredentials | null {
  if (username === null && password === null) return null;
  try {
    return { username: username ?? '', password: password?.read().reveal() ?? '' };
  } catch (error) {
    throw new GatewayError(
      'gateway.proxy.auth',
      `proxy.password is not usable: ${isGatewayError(error) ? error.message : 'it cannot be read'}`,
    );
  }
}
