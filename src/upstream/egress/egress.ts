// The one connector for API calls, token requests and sockets: proxy, TLS, deadlines. It keeps no connections.

import { lookup as dnsLookup } from 'node:dns';
import { Agent, type ClientRequestArgs } from 'node:http';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import type { DetailedPeerCertificate } from 'node:tls';
import type { buildConnector } from 'undici';
import type { Clock } from '../../clock.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { stripBrackets } from '../../config/listen-address.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { sourceStack } from '../../source-stack.ts';
import { upstreamError } from '../errors.ts';
import { ConnectionTimes, keepTimes } from './connection-times.ts';
import { type DialContext, withinDeadline } from './dial-context.ts';
import { Pac } from './pac.ts';
import {
  authority,
  createRouting,
  DIRECT,
  type Endpoint,
  endpointOf,
  type ProxyRoute,
  type Routing,
  routeName,
} from './proxy-route.ts';
import { createRouteOpener, type RouteOpener } from './route-opener.ts';
import { createTlsLayer, createTrust, markResets, type TlsLayer, type TlsMaterial, type Trust } from './tls.ts';

/** What an egress is made of. */
export interface EgressOptions {
  readonly proxy: GatewayConfig['proxy'];
  readonly tls: GatewayConfig['tls'];
  readonly timeouts: Pick<GatewayConfig['timeouts'], 'connectMs'>;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly log: Log;
  /** Names that resolve to fixed addresses, as in /etc/hosts; they win over DNS. */
  readonly hosts?: Readonly<Record<string, string>> | undefined;
}

/** How a URL leaves this network, for people: no credentials in it. */
interface RouteDescription {
  /** `direct`, `http://proxy:3128`, or the PAC file's URL. */
  readonly via: string;
  /** The setting that decided: `proxy.url`, `HTTPS_PROXY`, `no proxy is configured`. */
  readonly reason: string;
}

/**
 * How long a connection is silent before the system asks whether the other side is still there. The packets without
 * content keep it alive in routers and proxies, which forget silent ones without telling; one that does not answer is
 * ended within ten seconds more.
 */
const PROBE_MS = 15_000;

/**
 * The way out that one configuration describes, for all traffic. Opens nothing and reads no file until the first dial.
 * Whoever makes it closes it.
 */
export class Egress {
  readonly #options: EgressOptions;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();
  readonly #lookup: LookupFunction | undefined;
  readonly #trust: Trust;
  readonly #upstreamTls: TlsLayer;
  /** For proxies and PAC files: never with our client certificate. */
  readonly #plainTls: TlsLayer;
  readonly #opener: RouteOpener;
  readonly #routing: Routing;
  /** What each connection was verified by. */
  readonly #verifiedBy = new WeakMap<Socket, TlsMaterial>();
  #hasVerified = false;
  /** By their URLs. */
  readonly #pacs = new Map<string, Pac>();

  constructor(options: EgressOptions) {
    const { proxy, tls, env, clock, log, hosts } = options;
    this.#options = options;
    this.#lookup = hosts && hostsLookup(hosts);
    this.#trust = createTrust({ tls, log });
    this.#upstreamTls = createTlsLayer((material) => material.upstream, clock.now);
    this.#plainTls = createTlsLayer((material) => material.plain, clock.now);
    this.#opener = createRouteOpener({ clock, tls: this.#plainTls, trust: this.#trust });
    this.#routing = createRouting({ proxy, env, log });
  }

  /**
   * For `new Agent({ connect, allowH2: false })`. Calls back with a connected (for https: verified) socket, or with a
   * GatewayError: `gateway.upstream.{unreachable,timeout,tls}` or `gateway.proxy.{refused,auth,timeout}`. Nothing of a
   * request was sent then.
   */
  readonly connect: buildConnector.connector = connectorOver((endpoint) => this.dial(endpoint));

  /** The same for hosts that are not Genesys Cloud's: they are not shown our client certificate. */
  readonly connectAside: buildConnector.connector = connectorOver((endpoint) =>
    this.#dialOver(endpoint, (context) => this.#routesTo(endpoint, context), this.#plainTls),
  );

  /**
   * The same for other protocols, WebSockets above all. The socket is the caller's; the errors are those of `connect`.
   */
  dial(endpoint: Endpoint): Promise<Socket> {
    return this.#dialOver(endpoint, (context) => this.#routesTo(endpoint, context), this.#upstreamTls);
  }

  /** The connection below TLS, by the route that the endpoint has: how far one gets without certificates. */
  dialBelowTls(endpoint: Endpoint): Promise<Socket> {
    return this.#dialOver(endpoint, (context) => this.#routesTo(endpoint, context), null);
  }

  /**
   * Which setting decides about the URL, and for what; asks no PAC file. Throws GatewayError when that setting is not
   * usable.
   */
  describe(url: URL | string): RouteDescription {
    const choice = this.#routing.choose(endpointOf(new URL(url)));
    return {
      via: choice.kind === 'route' ? routeName(choice.route) : `PAC file ${this.#pacFor(choice.url).name}`,
      reason: choice.reason,
    };
  }

  /**
   * The routes that would be tried, in order (`http://proxy:3128`, `direct`); a PAC file is asked, for which the caller
   * has the deadline.
   */
  async routes(url: URL | string): Promise<readonly string[]> {
    return (await this.#routesTo(endpointOf(new URL(url)))).map(routeName);
  }

  /**
   * Reads the trust files where they have changed. What it gives tells whether a connection from here was verified by them
   * as they are now.
   */
  readonly trusted = (): ((socket: Socket) => boolean) => {
    if (!this.#hasVerified) return () => true;
    const material = this.#trust.current();
    return (socket) => (this.#verifiedBy.get(socket) ?? material) === material;
  };

  /** A node:http agent that dials here and keeps no connections; `secure` for wss and https. */
  agent({ secure }: { secure: boolean }): Agent {
    return createDialAgent((endpoint) => this.dial(endpoint), secure);
  }

  /** Ends dials under way; connections already handed out are their owners'. */
  close(): void {
    this.#closing.abort();
    for (const pac of this.#pacs.values()) pac.close();
  }

  async #routesTo(endpoint: Endpoint, context?: DialContext): Promise<readonly ProxyRoute[]> {
    const choice = this.#routing.choose(endpoint);
    if (choice.kind === 'route') return [choice.route];
    const pac = this.#pacFor(choice.url);
    context?.waitFor('gateway.proxy.timeout', `the PAC file ${pac.name}`);
    context?.times.enter('proxy');
    return pac.routesTo(endpoint);
  }

  #pacFor(url: URL): Pac {
    const existing = this.#pacs.get(url.href);
    if (existing) return existing;
    const { clock, log, timeouts } = this.#options;
    const pac = new Pac({
      url,
      connect: connectorOver((endpoint) => this.#dialOver(endpoint, async () => [DIRECT], this.#plainTls)),
      credentials: this.#routing.credentialsBy(url),
      limitMs: timeouts.connectMs,
      clock,
      log,
    });
    this.#pacs.set(url.href, pac);
    return pac;
  }

  async #dialOver(
    endpoint: Endpoint,
    routesTo: (context: DialContext) => Promise<readonly ProxyRoute[]>,
    tlsLayer: TlsLayer | null,
  ): Promise<Socket> {
    const { clock, log, timeouts } = this.#options;
    const times = new ConnectionTimes(clock.monotonic);
    const limits = { clock, limitMs: timeouts.connectMs, closed: this.#closing.signal, times };
    const socket = await withinDeadline(limits, async (dial) => {
      const open = async () => this.#opener.open(await routesTo(dial), endpoint, { dial, lookup: this.#lookup });
      if (!endpoint.secure || tlsLayer === null) return open();
      return this.#trust.verify(async (material) => {
        const raw = await open();
        dial.waitFor('gateway.upstream.timeout', `${authority(endpoint.host, endpoint.port)}, in the TLS handshake`);
        times.enter('tls');
        const failure = (error: Error, leaf?: DetailedPeerCertificate) => upstreamError(error, endpoint, leaf);
        const secured = await tlsLayer.secure(raw, endpoint, material, { dial, failure });
        this.#verifiedBy.set(secured, material);
        this.#hasVerified = true;
        return secured;
      });
    }).catch((error) => {
      const failure = isGatewayError(error) ? error : unexpected(error, log);
      times.failed();
      keepTimes(failure, times);
      throw failure;
    });
    times.ready();
    keepTimes(socket, times);
    return markResets(socket.setNoDelay(true).setKeepAlive(true, PROBE_MS));
  }
}

/** `dial` as undici's connector. */
function connectorOver(dial: (endpoint: Endpoint) => Promise<Socket>): buildConnector.connector {
  return ({ hostname, port, protocol, servername }, callback) => {
    dial(endpointAt(hostname, port, protocol === 'https:', servername)).then(
      (socket) => callback(null, socket),
      (error: GatewayError) => callback(error, null),
    );
  };
}

function endpointAt(
  host: string,
  port: string | number | null | undefined,
  secure: boolean,
  servername: string | undefined,
): Endpoint {
  const numeric = Number(port) || (secure ? 443 : 80);
  return { host: stripBrackets(host), port: numeric, secure, ...(servername && { servername }) };
}

/** A fault of ours on the way out; the log gets its class and stack, the caller neither. */
function unexpected(error: unknown, log: Log): GatewayError {
  log.error(
    { stack: sourceStack(String((error instanceof Error && error.stack) || error)) },
    'dialling failed unexpectedly',
  );
  return new GatewayError('gateway.internal', 'the connection could not be made because of a fault in the gateway');
}

type Created = (error: Error | null, socket?: Socket) => void;

/** The agent fits `http.request` and, with `secure`, `https.request`. */
export function createDialAgent(dial: (endpoint: Endpoint) => Promise<Socket>, secure: boolean): Agent {
  const agent = new Agent({ keepAlive: false });
  return Object.assign(agent, {
    protocol: secure ? 'https:' : 'http:',
    defaultPort: secure ? 443 : 80,
    createConnection({ host, port, servername }: ClientRequestArgs & { servername?: string }, created: Created) {
      dial(endpointAt(host ?? 'localhost', port, secure, servername)).then(
        (socket) => created(null, socket),
        (error) => created(error),
      );
    },
  });
}

/** A `lookup` for node:net that knows `hosts` and asks the system for the rest. */
export function hostsLookup(hosts: Readonly<Record<string, string>>): LookupFunction {
  const known = new Map(Object.entries(hosts).map(([name, address]) => [name.toLowerCase(), address]));
  return (name, options, callback) => {
    const address = known.get(name.toLowerCase());
    if (address === undefined) return dnsLookup(name, options, callback);
    const family = isIP(address);
    if (options.family === 4 && family !== 4) return process.nextTick(() => callback(noAddress(name), '', 0));
    process.nextTick(() => (options.all ? callback(null, [{ address, family }]) : callback(null, address, family)));
  };
}

/** As the system says it of a name that has no address of the family that was asked for. */
function noAddress(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), {
    code: 'ENOTFOUND',
    syscall: 'getaddrinfo',
    hostname,
  });
}
