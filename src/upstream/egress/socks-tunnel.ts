// A tunnel through a SOCKS proxy: 4 and 5 resolve the name here, 4a and 5h leave it to the proxy. Yields the raw
// connection.

import { lookup as dnsLookup } from 'node:dns';
import { EventEmitter } from 'node:events';
import type { LookupFunction, Socket } from 'node:net';
import { GatewayError } from '../../errors.ts';
import type { Attempt } from './attempt.ts';
import { isNameError, upstreamError } from './dial-error.ts';
import { socksError } from './proxy-error.ts';
import { authority, type ProxyCredentials, type ProxyRoute, routeName, type Target } from './proxy-route.ts';

/** SOCKS5 has one octet for the length of each (RFC 1929). */
const LONGEST_LOGIN_BYTES = 255;

/** As much of proxy-agent's agent for SOCKS as is used. It is loaded only when such a proxy is used. */
type SocksAgent = new (
  url: string,
  options: { timeout: number },
) => { readonly proxy: { host: string }; connect(request: EventEmitter, options: object): Promise<Socket> };

/**
 * Rejects with GatewayErrors `gateway.proxy.*`, or `gateway.upstream.unreachable` when a name that is resolved here
 * does not resolve.
 */
export async function openSocksTunnel(
  route: ProxyRoute,
  target: Target,
  { attempt, lookup }: { attempt: Attempt; lookup: LookupFunction | undefined },
): Promise<Socket> {
  attempt.waitFor(
    'gateway.proxy.timeout',
    `the proxy ${routeName(route)}, asked for a tunnel to ${authority(target.host, target.port)}`,
  );
  const credentials = route.credentials();
  assertFits(credentials, route);
  const { proxies } = await import('proxy-agent');
  // Of a pair in its table the second is for tunnels.
  const SocksProxyAgent = (await proxies[route.protocol][1]()) as unknown as SocksAgent;
  const login = credentials
    ? `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}@`
    : '';
  // The library ends its own connection only by its own timer, which therefore runs as long as the dial.
  const agent = new SocksProxyAgent(`${route.protocol}://${login}${authority(route.host, route.port)}`, {
    timeout: Math.max(1, attempt.remainingMs()),
  });
  agent.proxy.host = route.host;
  const request = Object.assign(new EventEmitter(), { destroy() {} });
  const resolve = route.protocol === 'socks4' ? onlyIpv4(lookup ?? dnsLookup) : lookup;
  const options = { host: target.host, port: target.port, secureEndpoint: false, ...(resolve && { lookup: resolve }) };
  try {
    const socket = await agent.connect(request, options);
    // For life: the library has taken its own listeners off, and an error that nobody hears ends the process.
    socket.on('error', () => {});
    // That timer becomes an idle timeout that would end slow answers.
    socket.removeAllListeners('timeout');
    return socket.setTimeout(0);
  } catch (error) {
    const { hostname } = error as { hostname?: string };
    if (isNameError(error as Error) && hostname === target.host) throw upstreamError(error as Error, target);
    throw socksError(error as Error, { route, target, hadCredentials: credentials !== null });
  }
}

/**
 * The library notices too late: it throws while it reads the proxy's answer, where nobody catches, and that ends the
 * process.
 */
function assertFits(credentials: ProxyCredentials | null, route: ProxyRoute): void {
  if (credentials === null || route.protocol === 'socks4' || route.protocol === 'socks4a') return;
  const lengths = [credentials.username, credentials.password].map((text) => Buffer.byteLength(text));
  if (Math.max(...lengths) <= LONGEST_LOGIN_BYTES) return;
  throw new GatewayError(
    'gateway.proxy.auth',
    `the proxy ${routeName(route)} cannot be shown the credentials: SOCKS5 carries at most ${LONGEST_LOGIN_BYTES} ` +
      'octets each; check proxy.username and proxy.password',
  );
}

/** SOCKS4 carries IPv4 addresses alone: another would go out as if it were a name. */
function onlyIpv4(lookup: LookupFunction): LookupFunction {
  return (name, options, callback) => lookup(name, { ...options, family: 4 }, callback);
}
