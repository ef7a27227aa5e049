// A tunnel through a SOCKS proxy: 4 and 5 resolve the name here, 4a and 5h leave it to the proxy. Yields the raw connection.

import { EventEmitter } from 'node:events';
import type { ClientRequest } from 'node:http';
import type { LookupFunction, Socket } from 'node:net';
import type { Attempt } from './attempt.ts';
import { isNameError, upstreamError } from './dial-error.ts';
import { socksAgent } from './proxy-agents.ts';
import { socksError } from './proxy-error.ts';
import { type ProxyRoute, routeName } from './route.ts';
import { authority, type Target } from './target.ts';

/** Rejects with GatewayErrors `gateway.proxy.*`, or `gateway.upstream.unreachable` when a name that is resolved here does not resolve. */
export async function openSocksTunnel(
  route: ProxyRoute,
  target: Target,
  { attempt, lookup }: { attempt: Attempt; lookup: LookupFunction | undefined },
): Promise<Socket> {
  attempt.waitFor('gateway.proxy.timeout', `the proxy ${routeName(route)}, asked for a tunnel to ${authority(target.host, target.port)}`);
  const credentials = route.credentials();
  const SocksProxyAgent = await socksAgent(route.protocol as Parameters<typeof socksAgent>[0]);
  const login = credentials ? `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}@` : '';
  // The library ends its own connection only by its own timer, which therefore runs as long as the dial.
  const agent = new SocksProxyAgent(`${route.protocol}://${login}${authority(route.host, route.port)}`, {
    timeout: Math.max(1, attempt.remainingMs()),
  });
  agent.proxy.host = route.host;
  const request = Object.assign(new EventEmitter(), { destroy() {} }) as unknown as ClientRequest;
  const options = { host: target.host, port: target.port, secureEndpoint: false, ...(lookup && { lookup }) } as Parameters<typeof agent.connect>[1];
  try {
    const socket = await agent.connect(request, options);
    // That timer becomes an idle timeout that would end slow answers.
    socket.removeAllListeners('timeout');
    return socket.setTimeout(0);
  } catch (error) {
    const { hostname } = error as { hostname?: string };
    if (isNameError(error as Error) && hostname === target.host) throw upstreamError(error as Error, target);
    throw socksError(error as Error, { route, target, hadCredentials: credentials !== null });
  }
}
