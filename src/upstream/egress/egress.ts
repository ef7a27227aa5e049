// The one way out: API calls, token calls and sockets are all dialled here, over the same route and the same TLS.
// Puts the steps together (route, tunnel, TLS) under one deadline; each step is a file of its own.

import type { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { Clock } from '../../clock.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { stripBrackets } from '../../config/listen-address.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { type Attempt, withinDeadline } from './attempt.ts';
import { createDialAgent } from './dial-agent.ts';
import { upstreamError } from './dial-error.ts';
import { hostsLookup } from './hosts.ts';
import { createPac, type Pac } from './pac.ts';
import { markResets } from './reset.ts';
import { DIRECT, type Route, routeName } from './route.ts';
import { createRouteOpener } from './route-opener.ts';
import { createRouting } from './routing.ts';
import { authority, type Target, targetOf } from './target.ts';
import { createTlsLayer, type TlsLayer } from './tls-layer.ts';
import { createTrust } from './trust.ts';

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
   * For `new Agent({ connect, allowH2: false })`. Calls back with a connected (for https: verified) socket, or with a GatewayError:
   * `gateway.upstream.{unreachable,timeout,tls}` or `gateway.proxy.{refused,auth,timeout}`. Nothing of a request was sent then.
   */
  readonly connect: buildConnector.connector;
  /** The same for other protocols, WebSockets above all. The socket is the caller's; the errors are those of `connect`. */
  dial(target: Target): Promise<Socket>;
  /** Which setting decides about the URL, and for what; asks no PAC file. Throws GatewayError when that setting is not usable. */
  describe(url: URL | string): RouteDescription;
  /** The routes that would be tried, in order (`http://proxy:3128`, `direct`); a PAC file is asked, for which the caller has the deadline. */
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

  const dialOver = async (target: Target, routesTo: (attempt: Attempt) => Promise<readonly Route[]>, tlsLayer: TlsLayer): Promise<Socket> => {
    const socket = await withinDeadline({ clock, limitMs: timeouts.connectMs, closed: closing.signal }, async (attempt) => {
      const material = target.secure ? trust.current() : null;
      const routes = await routesTo(attempt);
      const raw = await opener.open(routes, target, { attempt, lookup });
      if (!material) return raw;
      attempt.waitFor('gateway.upstream.timeout', `${authority(target.host, target.port)}, in the TLS handshake`);
      return tlsLayer.secure(raw, target, material, { attempt, failure: (error, leaf) => upstreamError(error, target, leaf) });
    }).catch((error) => {
      throw isGatewayError(error) ? error : unexpected(error, log);
    });
    return markResets(socket.setNoDelay(true).setKeepAlive(true, 60_000));
  };
  const connector =
    (dial: (target: Target) => Promise<Socket>): buildConnector.connector =>
    ({ hostname, port, protocol, servername }, callback) => {
      const secure = protocol === 'https:';
      const target = { host: stripBrackets(hostname), port: Number(port) || (secure ? 443 : 80), secure, ...(servername && { servername }) };
      dial(target).then(
        (socket) => callback(null, socket),
        (error: GatewayError) => callback(error, null),
      );
    };

  const pacFor = (url: URL): Pac => {
    let pac = pacs.get(url.href);
    if (!pac) {
      const connect = connector((target) => dialOver(target, async () => [DIRECT], plainTls));
      pac = createPac({ url, connect, credentials: routing.credentialsBy(url), limitMs: timeouts.connectMs, clock, log });
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
      return { via: choice.kind === 'route' ? routeName(choice.route) : `PAC file ${pacFor(choice.url).name}`, reason: choice.reason };
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
