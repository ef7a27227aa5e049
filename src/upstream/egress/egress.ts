// The one connector for API calls, token requests and sockets: proxy, TLS, deadlines.

import { lookup as dnsLookup } from 'node:dns';
import { Agent, type ClientRequestArgs } from 'node:http';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { Clock } from '../../clock.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { stripBrackets } from '../../config/listen-address.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { upstreamError } from '../errors.ts';
import { type Attempt, withinDeadline } from './dial-context.ts';
import { createPac, type Pac } from './pac.ts';
import { authority, createRouting, DIRECT, type Route, routeName, type Target, targetOf } from './proxy-route.ts';
import { createRouteOpener } from './route-opener.ts';
import { createTlsLayer, createTrust, markResets, type TlsLayer } from './tls.ts';

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

export interface Egress {
  /**
   * For `new Agent({ connect, allowH2: false })`. Calls back with a connected (for https: verified) socket, or with a
   * GatewayError: `gateway.upstream.{unreachable,timeout,tls}` or `gateway.proxy.{refused,auth,timeout}`. Nothing of a
   * request was sent then.
   */
  readonly connect: buildConnector.connector;
  /**
   * The same for other protocols, WebSockets above all. The socket is the caller's; the errors are those of `connect`.
   */
  dial(target: Target): Promise<Socket>;
  /**
   * Which setting decides about the URL, and for what; asks no PAC file. Throws GatewayError when that setting is not
   * usable.
   */
  describe(url: URL | string): RouteDescription;
  /**
   * The routes that would be tried, in order (`http://proxy:3128`, `direct`); a PAC file is asked, for which the caller
   * has the deadline.
   */
  routes(url: URL | string): Promise<readonly string[]>;
  /** A node:http agent that dials here and keeps no connections; `secure` for wss and https. */
  agent(options: { secure: boolean }): Agent;
  /** Ends dials under way; connections already handed out are their owners'. */
  close(): void;
}

/** Opens nothing and reads no file until the first dial. */
export function createEgress({ proxy, tls, timeouts, env, clock, log, hosts }: EgressOptions): Egress {
  const closing = new AbortController();
  const lookup = hosts && hostsLookup(hosts);
  const trust = createTrust({ tls, log });
  const upstreamTls = createTlsLayer((material) => material.upstream);
  const plainTls = createTlsLayer((material) => material.plain);
  const opener = createRouteOpener({ clock, tls: plainTls, trust });
  const routing = createRouting({ proxy, env, log });
  const pacs = new Map<string, Pac>();

  const dialOver = async (
    target: Target,
    routesTo: (attempt: Attempt) => Promise<readonly Route[]>,
    tlsLayer: TlsLayer,
  ): Promise<Socket> => {
    const socket = await withinDeadline(
      { clock, limitMs: timeouts.connectMs, closed: closing.signal },
      async (attempt) => {
        const material = target.secure ? trust.current() : null;
        const routes = await routesTo(attempt);
        const raw = await opener.open(routes, target, { attempt, lookup });
        if (!material) return raw;
        attempt.waitFor('gateway.upstream.timeout', `${authority(target.host, target.port)}, in the TLS handshake`);
        return tlsLayer.secure(raw, target, material, {
          attempt,
          failure: (error, leaf) => upstreamError(error, target, leaf),
        });
      },
    ).catch((error) => {
      throw isGatewayError(error) ? error : unexpected(error, log);
    });
    return markResets(socket.setNoDelay(true).setKeepAlive(true, 60_000));
  };
  const connector =
    (dial: (target: Target) => Promise<Socket>): buildConnector.connector =>
    ({ hostname, port, protocol, servername }, callback) => {
      const secure = protocol === 'https:';
      const target = {
        host: stripBrackets(hostname),
        port: Number(port) || (secure ? 443 : 80),
        secure,
        ...(servername && { servername }),
      };
      dial(target).then(
        (socket) => callback(null, socket),
        (error: GatewayError) => callback(error, null),
      );
    };

  const pacFor = (url: URL): Pac => {
    let pac = pacs.get(url.href);
    if (!pac) {
      const connect = connector((target) => dialOver(target, async () => [DIRECT], plainTls));
      pac = createPac({
        url,
        connect,
        credentials: routing.credentialsBy(url),
        limitMs: timeouts.connectMs,
        clock,
        log,
      });
      pacs.set(url.href, pac);
    }
    return pac;
  };
  const routesTo = async (target: Target, attempt?: Attempt): Promise<readonly Route[]> => {
    const choice = routing.choose(target);
    if (choice.kind === 'route') return [choice.route];
    const pac = pacFor(choice.url);
    attempt?.waitFor('gateway.proxy.timeout', `the PAC file ${pac.name}`);
    return pac.routesTo(target);
  };
  const dial = (target: Target) => dialOver(target, (attempt) => routesTo(target, attempt), upstreamTls);

  return {
    connect: connector(dial),
    dial,
    describe(url) {
      const choice = routing.choose(targetOf(new URL(url)));
      return {
        via: choice.kind === 'route' ? routeName(choice.route) : `PAC file ${pacFor(choice.url).name}`,
        reason: choice.reason,
      };
    },
    routes: async (url) => (await routesTo(targetOf(new URL(url)))).map(routeName),
    agent: ({ secure }) => createDialAgent(dial, secure),
    close() {
      closing.abort();
      for (const pac of pacs.values()) pac.close();
    },
  };
}

/** A fault of ours on the way out; the log gets its class and stack, the caller neither. */
function unexpected(error: unknown, log: Log): GatewayError {
  log.error({ stack: error instanceof Error ? error.stack : String(error) }, 'dialling failed unexpectedly');
  return new GatewayError('gateway.internal', 'the connection could not be made because of a fault in the gateway');
}

type Created = (error: Error | null, socket?: Socket) => void;

/** The agent fits `http.request` and, with `secure`, `https.request`. */
export function createDialAgent(dial: (target: Target) => Promise<Socket>, secure: boolean): Agent {
  const agent = new Agent({ keepAlive: false });
  return Object.assign(agent, {
    protocol: secure ? 'https:' : 'http:',
    defaultPort: secure ? 443 : 80,
    createConnection({ host, port, servername }: ClientRequestArgs & { servername?: string }, created: Created) {
      const target = {
        host: stripBrackets(host ?? 'localhost'),
        port: Number(port) || (secure ? 443 : 80),
        secure,
        ...(servername && { servername }),
      };
      dial(target).then(
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
