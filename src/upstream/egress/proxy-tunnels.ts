// Tunnels through forward proxies: by CONNECT (RFC 9110, section 9.3.6), with Basic credentials where the proxy asks
// for them, and by SOCKS, where 4 and 5 resolve the name here, 4a and 5h leave it to the proxy. They yield the raw
// connection; TLS to the endpoint comes on top.

import { lookup as dnsLookup } from 'node:dns';
import { EventEmitter } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { LookupFunction, Socket } from 'node:net';
import type { DetailedPeerCertificate } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { bareCause, errorCode, isNameError } from '../errors.ts';
import { type DialContext, destroyOnAbort, openTcp } from './dial-context.ts';
import {
  asksForBasic,
  connectRefusal,
  PROXY_SPEAKS_SOCKS,
  PROXY_SPEAKS_TLS,
  proxyConnectError,
  RESPONSE_TOO_LONG,
  socksError,
  unresolvedName,
} from './proxy-error.ts';
import { authority, type Endpoint, type ForwardProxy, type ProxyCredentials, routeName } from './proxy-route.ts';
import type { TlsLayer, Trust } from './tls.ts';

/** Opens tunnels by CONNECT, and remembers which proxies ask for credentials. */
export interface HttpTunnels {
  /**
   * Rejects with GatewayErrors `gateway.proxy.*`; with `gateway.upstream.tls` where our own TLS files cannot be read.
   */
  open(proxy: ForwardProxy, endpoint: Endpoint, dial: DialContext): Promise<Socket>;
}

/** A proxy's response to CONNECT has no reason to have a longer head, nor more responses before it. */
const LARGEST_HEAD_BYTES = 64 * 1024;
const MOST_INFORMATIONAL = 16;
/** How many proxies are remembered to ask for credentials. */
const MOST_ASKING = 100;

/** `tls` and `trust` are for proxies that are spoken to over TLS. */
export function createHttpTunnels({ tls, trust }: { tls: TlsLayer; trust: Trust }): HttpTunnels {
  /** Proxies that have asked for credentials: these are shown at once from then on, others are not shown any. */
  const asking = new LRUCache<string, true>({ max: MOST_ASKING });

  const reach = async (proxy: ForwardProxy, dial: DialContext): Promise<Socket> => {
    const { host, port } = proxy;
    const open = async () => {
      const tcp = await openTcp({ host, port, dial });
      dial.times.enter('proxy');
      return tcp;
    };
    if (proxy.protocol !== 'https') return open();
    const failure = (error: Error, leaf?: DetailedPeerCertificate) => proxyConnectError(error, proxy, leaf);
    return trust.verify(async (material) =>
      tls.secure(await open(), { host, port, secure: true }, material, { dial, failure }),
    );
  };
  const ask = async (
    proxy: ForwardProxy,
    endpoint: Endpoint,
    credentials: ProxyCredentials | null,
    dial: DialContext,
  ): Promise<ConnectResponse> => {
    const socket = await reach(proxy, dial);
    const release = destroyOnAbort(dial.signal, socket);
    try {
      return await connectOver(socket, endpoint, credentials);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      release();
    }
  };

  return {
    async open(proxy, endpoint, dial) {
      dial.waitFor(
        'gateway.proxy.timeout',
        `the proxy ${routeName(proxy)}, asked for a tunnel to ${authority(endpoint.host, endpoint.port)}`,
      );
      try {
        let credentials = asking.has(routeName(proxy)) ? proxy.credentials() : null;
        let response = await ask(proxy, endpoint, credentials, dial);
        if (credentials === null && asksForBasic(response)) {
          credentials = proxy.credentials();
          if (credentials !== null) {
            asking.set(routeName(proxy), true);
            response.socket.destroy();
            response = await ask(proxy, endpoint, credentials, dial);
          }
        }
        if (response.statusCode >= 200 && response.statusCode < 300) return response.socket;
        response.socket.destroy();
        throw connectRefusal(response, { proxy, endpoint, hadCredentials: credentials !== null });
      } catch (error) {
        throw isGatewayError(error) ? error : proxyConnectError(error as Error, proxy);
      }
    },
  };
}

/** What a proxy said to CONNECT; after a 2xx `socket` leads to the endpoint. */
interface ConnectResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
  readonly socket: Socket;
}

/** Sends CONNECT over `socket`, which stays the caller's to end. Rejects with an Error that has a code. */
function connectOver(
  socket: Socket,
  endpoint: Endpoint,
  credentials: ProxyCredentials | null,
): Promise<ConnectResponse> {
  return new Promise((resolve, reject) => {
    const where = authority(endpoint.host, endpoint.port);
    const request = httpRequest({
      method: 'CONNECT',
      path: where,
      createConnection: () => socket,
      maxHeaderSize: LARGEST_HEAD_BYTES,
      headers: {
        Host: where,
        'User-Agent': 'genesys-cloud-gateway',
        'Proxy-Connection': 'Keep-Alive',
        ...(credentials && basic(credentials)),
      },
    });
    // What proxies expect is Proxy-Connection; Node would add `Connection: close`.
    request.removeHeader('Connection');
    let informational = 0;
    request.on('information', () => {
      informational += 1;
      if (informational > MOST_INFORMATIONAL) socket.destroy(bareCause(RESPONSE_TOO_LONG));
    });
    // Any status: after CONNECT Node takes whatever follows the head for the tunnel's.
    request.once('connect', ({ statusCode = 0, headersDistinct }: IncomingMessage, _socket: unknown, head: Buffer) => {
      if (head.length > 0) socket.unshift(head);
      resolve({ statusCode, headers: headersDistinct, socket });
    });
    request.on('error', (error) => reject(responseError(error)));
    request.end();
  });
}

function basic({ username, password }: ProxyCredentials): Record<string, string> {
  return { 'Proxy-Authorization': `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

/** In octets: RFC 1928, section 6, with an IPv6 address. */
const LONGEST_SOCKS_REPLY = 22;

/** Node's error of a response that was not one, as the codes that proxyConnectError knows. */
function responseError(error: Error): Error {
  const code = errorCode(error);
  if (code === 'HPE_HEADER_OVERFLOW') return bareCause(RESPONSE_TOO_LONG);
  // An end without a response has the code of a reset, but no system call.
  const { rawPacket } = error as Error & { readonly rawPacket?: unknown };
  if (rawPacket instanceof Uint8Array && code.startsWith('HPE_')) {
    // A TLS alert; and the replies of SOCKS 5 (version 5) and 4 (version 0), which are short.
    if (rawPacket[0] === 0x15 && rawPacket[1] === 0x03) return bareCause(PROXY_SPEAKS_TLS);
    if ((rawPacket[0] === 5 || rawPacket[0] === 0) && rawPacket.length <= LONGEST_SOCKS_REPLY)
      return bareCause(PROXY_SPEAKS_SOCKS);
  }
  const isHangUp = code === 'ECONNRESET' && (error as NodeJS.ErrnoException).syscall === undefined;
  return isHangUp || code.startsWith('HPE_') ? bareCause('unknown') : error;
}

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
  proxy: ForwardProxy,
  endpoint: Endpoint,
  { dial, lookup }: { dial: DialContext; lookup: LookupFunction | undefined },
): Promise<Socket> {
  dial.waitFor(
    'gateway.proxy.timeout',
    `the proxy ${routeName(proxy)}, asked for a tunnel to ${authority(endpoint.host, endpoint.port)}`,
  );
  const credentials = proxy.credentials();
  assertFits(credentials, proxy);
  dial.times.enter('proxy');
  const { proxies } = await import('proxy-agent');
  // Of a pair in its table the second is for tunnels.
  const SocksProxyAgent = (await proxies[proxy.protocol][1]()) as unknown as SocksAgent;
  const login = credentials
    ? `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}@`
    : '';
  // The library ends its own connection only by its own timer, which therefore runs as long as the dial.
  const agent = new SocksProxyAgent(`${proxy.protocol}://${login}${authority(proxy.host, proxy.port)}`, {
    timeout: Math.max(1, dial.remainingMs()),
  });
  agent.proxy.host = proxy.host;
  const request = Object.assign(new EventEmitter(), { destroy() {} });
  const resolve = proxy.protocol === 'socks4' ? onlyIpv4(lookup ?? dnsLookup) : lookup;
  const options = {
    host: endpoint.host,
    port: endpoint.port,
    secureEndpoint: false,
    ...(resolve && { lookup: resolve }),
  };
  try {
    const socket = await agent.connect(request, options);
    // For life: the library has taken its own listeners off, and an error that nobody hears ends the process.
    socket.on('error', () => {});
    // That timer becomes an idle timeout that would end slow responses.
    socket.removeAllListeners('timeout');
    return socket.setTimeout(0);
  } catch (error) {
    const { hostname } = error as { hostname?: string };
    if (isNameError(error as Error) && hostname === endpoint.host)
      throw unresolvedName(error as Error, proxy, endpoint);
    throw socksError(error as Error, { proxy, endpoint, hadCredentials: credentials !== null });
  }
}

/**
 * The library notices too late: it throws while it reads the proxy's response, where nobody catches, and that ends the
 * process.
 */
function assertFits(credentials: ProxyCredentials | null, proxy: ForwardProxy): void {
  if (credentials === null || proxy.protocol === 'socks4' || proxy.protocol === 'socks4a') return;
  const lengths = [credentials.username, credentials.password].map((text) => Buffer.byteLength(text));
  if (Math.max(...lengths) <= LONGEST_LOGIN_BYTES) return;
  throw new GatewayError(
    'gateway.proxy.auth',
    `the proxy ${routeName(proxy)} cannot be shown the credentials: SOCKS5 carries at most ${LONGEST_LOGIN_BYTES} ` +
      'octets each; check proxy.username and proxy.password',
  );
}

/** SOCKS4 carries IPv4 addresses alone: another would go out as if it were a name. */
function onlyIpv4(lookup: LookupFunction): LookupFunction {
  return (name, options, callback) => lookup(name, { ...options, family: 4 }, callback);
}
