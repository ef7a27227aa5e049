// The simulated Genesys Cloud: login, API and streaming on one loopback listener. Puts the parts together and owns the
// sockets. A simulation and nothing more: no security of its own, no persistence, and only the routes listed in
// routes/.

import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { createApi } from './api.ts';
import { createChannelStore } from './channels.ts';
import { createClientRegistry, DEMO_CLIENTS, type SandboxClient } from './clients.ts';
import { answerControls } from './controls.ts';
import {
  createDirectory,
  createUsers,
  DEFAULT_ORGANIZATION,
  type SandboxOrganization,
  type SandboxUser,
} from './directory.ts';
import { createEventLog, createStats, type EventLog, type SandboxRequest, type SandboxStats } from './events.ts';
import { SIMULATION_HEADER, splitTarget } from './exchange.ts';
import { createHoldingPlace } from './hold.ts';
import { createLogin } from './login.ts';
import { createRandomSource, createUuid, type RandomSource } from './random.ts';
import { createRateLimiter } from './rate-limiter.ts';
import { createRouteTable } from './route-table.ts';
import { notificationRoutes } from './routes/notifications.ts';
import { organizationRoutes } from './routes/organization.ts';
import { trafficRoutes } from './routes/traffic.ts';
import { userRoutes } from './routes/users.ts';
import type { SandboxClock, SandboxState } from './state.ts';
import { createStreaming } from './streaming.ts';
import { createSwitchBoard, type Switches } from './switches.ts';
import { answerToken } from './token-endpoint.ts';
import { type AccessToken, createCodeStore, createRefreshTokenStore, createTokenStore } from './tokens.ts';
import type { ServerSocket } from './websocket.ts';

/** What a simulation starts with. Everything has a default. */
export interface SandboxOptions {
  /** Default: `DEMO_CLIENTS`. */
  clients?: readonly SandboxClient[];
  /** Default: 60 invented persons. */
  users?: readonly SandboxUser[];
  organization?: SandboxOrganization;
  /** Default: the system's clock. */
  clock?: SandboxClock;
  /** Makes every id and token of a run repeat. */
  seed?: string;
  /** Instead of `seed`. */
  random?: RandomSource;
  switches?: Partial<Switches>;
  /** Offers /sandbox/controls. */
  controls?: boolean;
  /** Real milliseconds between heartbeats on sockets. Default 30 s, as the platform. */
  heartbeatMs?: number;
  /** What a channel's connectUri begins with, as `wss://streaming.example`. Default: the listener's own address. */
  streamingBase?: string;
}

/** Where to listen. Port 0 takes a free one. With `tls` (PEM) all three hosts are TLS. */
export interface SandboxListenOptions {
  host?: string;
  port?: number;
  tls?: { key: string | Buffer; cert: string | Buffer };
}

/** A listener's address; `origin` has no trailing slash. */
export interface SandboxAddress {
  origin: string;
  host: string;
  port: number;
}

/** A running, or not yet listening, simulation. */
export interface Sandbox {
  listen(options?: SandboxListenOptions): Promise<SandboxAddress>;
  /**
   * Stops listening and ends every socket; held requests are dropped. What is known stays: it may listen again, on the
   * same port too.
   */
  close(): Promise<void>;
  /** Turns switches on and off; those not named stay. */
  set(changes: Partial<Switches>): void;
  readonly switches: Readonly<Switches>;
  readonly stats: SandboxStats;
  resetStats(): void;
  readonly events: EventLog;
  /** Lets go everything held by `tokenEndpoint` `hang` and `holdApi`; gives how many. */
  release(): number;
  /** Makes a token without a request. */
  issueToken(options?: {
    clientId?: string;
    userId?: string;
    lifetimeS?: number;
    scope?: readonly string[];
  }): AccessToken;
  /** All valid tokens, or those that match, read as expired from now on; gives how many. */
  expireTokens(matches?: (token: AccessToken) => boolean): number;
  /** Revokes one token, or all that match; gives how many. */
  revokeTokens(which: string | ((token: AccessToken) => boolean)): number;
  /** Sends a heartbeat on every socket now, and closes those whose token has ended. */
  heartbeat(): Promise<void>;
  /** Sends an event to the sockets subscribed to a topic; gives how many. */
  notify(topicName: string, eventBody: unknown): Promise<number>;
  /** The live socket of a channel. */
  socketOf(channelId: string): ServerSocket | undefined;
}

const MAX_HEADER_BYTES = 32 * 1024;

export function createSandbox(options: SandboxOptions = {}): Sandbox {
  const clock = options.clock ?? { now: Date.now };
  const random = options.random ?? createRandomSource(options.seed);
  const state: SandboxState = {
    clock,
    random,
    directory: createDirectory(options.organization ?? DEFAULT_ORGANIZATION, options.users ?? createUsers(60), random),
    clients: createClientRegistry(options.clients),
    tokens: createTokenStore(clock, random),
    refreshTokens: createRefreshTokenStore(clock, random),
    codes: createCodeStore(clock, random),
    channels: createChannelStore(clock, random),
    rateLimiter: createRateLimiter(clock),
    switches: createSwitchBoard(options.switches),
    stats: createStats(),
    events: createEventLog(),
    holding: createHoldingPlace(),
  };
  let server: Server | undefined;
  let address: SandboxAddress | undefined;
  const routes = createRouteTable([...organizationRoutes, ...userRoutes, ...notificationRoutes, ...trafficRoutes]);
  const answerApi = createApi(
    state,
    routes,
    () => options.streamingBase ?? address?.origin.replace(/^http/, 'ws') ?? '',
  );
  const answerLogin = createLogin(state);
  const streaming = createStreaming(state, options.heartbeatMs ?? 30_000);

  function recordRequest(req: IncomingMessage, kind: SandboxRequest['kind']): SandboxRequest {
    const { method = '', url: target = '', rawHeaders } = req;
    return state.events.record({ kind, method, target, rawHeaders, correlationId: createUuid(random) });
  }

  function dispatch(req: IncomingMessage, res: ServerResponse): void {
    res.setHeader(SIMULATION_HEADER.name, SIMULATION_HEADER.value);
    const record = recordRequest(req, kindOf(splitTarget(req.url ?? '').path));
    res.once('close', () => {
      record.status = res.writableFinished ? res.statusCode : 0;
      // One turn later, so that whoever waits for it reads counters that include it.
      setImmediate(() => state.events.emitter.emit('answer', record));
    });
    if (record.kind === 'api') void answerApi(req, res, record);
    else if (record.kind === 'token' && req.method === 'POST') void answerToken(state, req, res, record);
    else if (record.kind === 'login') void answerLogin(req, res, record);
    else if (record.kind === 'control' && options.controls) void answerControls(sandbox, req, res);
    else res.writeHead(404, { 'Content-Type': 'text/plain' }).end('The simulation has no such page.\n');
  }

  const sandbox: Sandbox = {
    async listen({ host = '127.0.0.1', port = 0, tls } = {}) {
      if (server) throw new Error('the simulation is already listening');
      const started = createListener(dispatch, tls);
      server = started;
      started.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) =>
        streaming.upgrade(req, socket, head, recordRequest(req, 'socket')),
      );
      await new Promise<void>((resolve, reject) => {
        started.once('error', (error) => {
          server = undefined;
          reject(error);
        });
        started.listen(port, host, () => resolve());
      });
      streaming.start();
      const bound = started.address() as AddressInfo;
      const name = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
      address = { origin: `${tls ? 'https' : 'http'}://${name}:${bound.port}`, host: bound.address, port: bound.port };
      return address;
    },
    async close() {
      const ending = server;
      server = undefined;
      const closed = ending?.listening ? new Promise<void>((resolve) => ending.close(() => resolve())) : undefined;
      ending?.closeAllConnections();
      streaming.close();
      state.holding.close();
      state.events.close();
      await closed;
    },
    set: (changes) => state.switches.set(changes),
    get switches() {
      return state.switches.now;
    },
    get stats() {
      return state.stats.snapshot({
        tokensIssued: state.tokens.issued(),
        validTokens: state.tokens.valid(),
        sockets: streaming.count(),
      });
    },
    resetStats: () => state.stats.reset(),
    events: state.events,
    release: () => state.holding.release(),
    issueToken({ clientId = DEMO_CLIENTS.clientCredentials.id, userId, lifetimeS = 86_400, scope } = {}) {
      return state.tokens.issue({ clientId, grant: 'issued', userId, scope }, lifetimeS);
    },
    expireTokens(matches) {
      const count = state.tokens.expire(matches);
      state.channels.closeOrphans(state.tokens);
      return count;
    },
    revokeTokens(which) {
      const count = state.tokens.revoke(typeof which === 'string' ? (token) => token.value === which : which);
      state.channels.closeOrphans(state.tokens);
      return count;
    },
    heartbeat: () => streaming.heartbeat(),
    notify: (topicName, eventBody) => streaming.notify(topicName, eventBody),
    socketOf: (channelId) => streaming.socketOf(channelId),
  };
  return sandbox;
}

function createListener(dispatch: RequestListener, tls: SandboxListenOptions['tls']): Server {
  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    shouldUpgradeCallback: isChannelUpgrade,
  };
  return tls ? createTlsServer({ ...limits, ...tls }, dispatch) : createServer(limits, dispatch);
}

/** Any other request to upgrade is answered as if it had not asked. */
function isChannelUpgrade(req: IncomingMessage): boolean {
  return (req.url ?? '').startsWith('/channels/');
}

function kindOf(path: string): SandboxRequest['kind'] {
  if (path === '/oauth/token') return 'token';
  if (path === '/api/v2' || path.startsWith('/api/v2/')) return 'api';
  if (path === '/oauth/authorize' || path === '/logout') return 'login';
  if (path === '/sandbox/controls') return 'control';
  return 'other';
}
