// The one way out: API calls, token calls and sockets are all dialled here, over the same route and the same TLS.
// Puts the steps together (route, tunnel, TLS) under one deadline; each step is a file of its own.

import type { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { Clock } from '../../clock.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { withinDeadline } from './attempt.ts';
import { createDialAgent } from './dial-agent.ts';
import { hostsLookup } from './hosts.ts';
import { markResets } from './reset.ts';
import { DIRECT, routeName } from './route.ts';
import { openRoute } from './route-opener.ts';
import { stripBrackets, type Target } from './target.ts';
import { createTlsLayer } from './tls-layer.ts';
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
export interface RouteDescription {
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
  /** Which way the URL takes, without dialling. */
  describe(url: URL | string): RouteDescription;
  /** A node:http agent that dials here and keeps no connections; `secure` for wss and https. */
  agent(options: { secure: boolean }): Agent;
  /** Ends dials under way; connections already handed out are their owners'. */
  close(): void;
}

/** Opens nothing and reads no file until the first dial. */
export function createEgress({ proxy, tls, timeouts, env, clock, log, hosts }: EgressOptions): Egress {
  void proxy;
  void env;
  const closing = new AbortController();
  const lookup = hosts && hostsLookup(hosts);
  const trust = createTrust({ tls, log });
  const tlsLayer = createTlsLayer();

  const dial = async (target: Target): Promise<Socket> => {
    const socket = await withinDeadline({ clock, limitMs: timeouts.connectMs, closed: closing.signal }, async (attempt) => {
      const material = target.secure ? trust.current() : null;
      const raw = await openRoute(DIRECT, target, { attempt, lookup });
      return material ? await tlsLayer.secure(raw, target, material, attempt) : raw;
    });
    return markResets(socket.setNoDelay(true).setKeepAlive(true, 60_000));
  };

  return {
    connect({ hostname, port, protocol, servername }, callback) {
      const secure = protocol === 'https:';
      const target = { host: stripBrackets(hostname), port: Number(port) || (secure ? 443 : 80), secure, ...(servername && { servername }) };
      dial(target).then(
        (socket) => callback(null, socket),
        (error) => callback(isGatewayError(error) ? error : unexpected(error, log), null),
      );
    },
    dial,
    describe: () => ({ via: routeName(DIRECT), reason: 'no proxy is configured' }),
    agent: ({ secure }) => createDialAgent(dial, secure),
    close: () => closing.abort(),
  };
}

/** A fault of ours on the way out; the log gets its class and stack, the caller neither. */
function unexpected(error: unknown, log: Log): GatewayError {
  log.error({ stack: error instanceof Error ? error.stack : String(error) }, 'dialling failed unexpectedly');
  return new GatewayError('gateway.internal', 'the connection could not be made because of a fault in the gateway');
}
