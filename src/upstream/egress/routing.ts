// Chooses how a target is reached: the `[proxy]` section, else the environment, else directly. Runs no PAC script and
// dials nothing.

import type { GatewayConfig } from '../../config/gateway-config.ts';
import { isLoopbackHost } from '../../config/listen-address.ts';
import { parseNoProxy } from '../../config/sections/proxy.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { PacCredentials } from './pac.ts';
import { DIRECT, type ProxyCredentials, parseProxySetting, type Route, type Target } from './proxy-route.ts';

/** The outcome, with the setting that decided. A PAC file still has to be asked. */
type Choice =
  | { readonly kind: 'route'; readonly route: Route; readonly reason: string }
  | { readonly kind: 'pac'; readonly url: URL; readonly reason: string };

export interface Routing {
  /** Throws GatewayError `gateway.proxy.refused` when the setting that applies is not usable. */
  choose(target: Target): Choice;
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
