// The simulated Genesys Cloud: login, API and streaming on one loopback listener, and its controls over HTTP. Puts the
// parts together and owns the sockets. It has no security of its own, no persistence, and only the routes of routes/.

import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Answer, createApi } from './api.ts';
import { createChannelStore } from './channels.ts';
import { createClientRegistry, DEMO_CLIENTS, type SandboxClient } from './clients.ts';
import {
  createDirectory,
  createUsers,
  DEFAULT_ORGANIZATION,
  type SandboxOrganization,
  type SandboxUser,
} from './directory.ts';
import { createEventLog, createStats, type EventLog, type SandboxRequest, type SandboxStats } from './events.ts';
import { readJson, SIMULATION_HEADER, sendJson, splitTarget } from './exchange.ts';
import { isPlatformError, PlatformError } from './faults.ts';
import { createHoldingPlace } from './hold.ts';
import { Login } from './login.ts';
import { createRandomSource, createUuid, type RandomSource } from './random.ts';
import { createRateLimiter } from './rate-limiter.ts';
import { createRouteTable } from './route-table.ts';
import { authorizationRoutes } from './routes/authorization.ts';
import { notificationRoutes } from './routes/notifications.ts';
import { organizationRoutes } from './routes/organization.ts';
import { trafficRoutes } from './routes/traffic.ts';
import { userRoutes } from './routes/users.ts';
import type { SandboxClock, SandboxState } from './state.ts';
import { createStreaming, type Streaming } from './streaming.ts';
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

const MAX_HEADER_BYTES = 32 * 1024;

/** Makes a simulation that does not listen yet. Whoever makes it closes it. */
export function createSandbox(options: SandboxOptions = {}): Sandbox {
  return new Sandbox(options);
}

/** A simulation, listening or not. */
export class Sandbox {
  readonly #state: SandboxState;
  readonly #hasControls: boolean;
  readonly #streamingBase: string | undefined;
  readonly #answerApi: Answer;
  readonly #login: Login;
  readonly #streaming: Streaming;
  /** Exists while it listens. */
  #server: Server | undefined;
  /** Where it listens, or listened last. */
  #address: SandboxAddress | undefined;

  constructor(options: SandboxOptions) {
    const state = createState(options);
    const routes = createRouteTable([
      ...organizationRoutes,
      ...authorizationRoutes,
      ...userRoutes,
      ...notificationRoutes,
      ...trafficRoutes,
    ]);
    this.#state = state;
    this.#hasControls = options.controls === true;
    this.#streamingBase = options.streamingBase;
    this.#answerApi = createApi(state, routes, () => this.#channelBase());
    this.#login = new Login(state);
    this.#streaming = createStreaming(state, options.heartbeatMs ?? 30_000);
  }

  async listen({ host = '127.0.0.1', port = 0, tls }: SandboxListenOptions = {}): Promise<SandboxAddress> {
    if (this.#server) throw new Error('the simulation is already listening');
    const server = createListener((req, res) => this.#answer(req, res), tls);
    this.#server = server;
    server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#streaming.upgrade(req, socket, head, this.#record(req, 'socket')),
    );
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        this.#server = undefined;
        reject(error);
      });
      server.listen(port, host, () => resolve());
    });
    this.#streaming.start();
    this.#address = addressOf(server, tls !== undefined);
    return this.#address;
  }

  /**
   * Stops listening and ends every socket; held requests are dropped. All state stays: it may listen again, on the same
   * port too.
   */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    const closed = server?.listening ? new Promise<void>((resolve) => server.close(() => resolve())) : undefined;
    server?.closeAllConnections();
    this.#streaming.close();
    this.#state.holding.close();
    this.#state.events.close();
    await closed;
  }

  /** Turns switches on and off; those not named stay. */
  set(changes: Partial<Switches>): void {
    this.#state.switches.set(changes);
  }

  get switches(): Readonly<Switches> {
    return this.#state.switches.now;
  }

  get stats(): SandboxStats {
    const { stats, tokens } = this.#state;
    return stats.snapshot({
      tokensIssued: tokens.issued(),
      validTokens: tokens.valid(),
      sockets: this.#streaming.count(),
    });
  }

  resetStats(): void {
    this.#state.stats.reset();
  }

  get events(): EventLog {
    return this.#state.events;
  }

  /** Lets everything go on that `tokenEndpoint` `hang` and `holdApi` hold; returns how many. */
  release(): number {
    return this.#state.holding.release();
  }

  /** Makes a token without a request. */
  issueToken({
    clientId = DEMO_CLIENTS.clientCredentials.id,
    userId,
    lifetimeS = 86_400,
    scope,
  }: {
    clientId?: string;
    userId?: string;
    lifetimeS?: number;
    scope?: readonly string[];
  } = {}): AccessToken {
    return this.#state.tokens.issue({ clientId, grant: 'issued', userId, scope }, lifetimeS);
  }

  /** Makes all valid tokens, or those that match, expired from now on; returns how many. */
  expireTokens(matches?: (token: AccessToken) => boolean): number {
    const { tokens, channels } = this.#state;
    const count = tokens.expire(matches);
    channels.closeOrphans(tokens);
    return count;
  }

  /** Revokes one token, or all that match; returns how many. */
  revokeTokens(which: string | ((token: AccessToken) => boolean)): number {
    const { tokens, channels } = this.#state;
    const count = tokens.revoke(typeof which === 'string' ? (token) => token.value === which : which);
    channels.closeOrphans(tokens);
    return count;
  }

  /** Sends a heartbeat on every socket now, and closes those whose token has ended. */
  heartbeat(): Promise<void> {
    return this.#streaming.heartbeat();
  }

  /** Sends an event to the sockets subscribed to a topic; returns how many. */
  notify(topicName: string, eventBody: unknown): Promise<number> {
    return this.#streaming.notify(topicName, eventBody);
  }

  /** The live socket of a channel. */
  socketOf(channelId: string): ServerSocket | undefined {
    return this.#streaming.socketOf(channelId);
  }

  #channelBase(): string {
    return this.#streamingBase ?? this.#address?.origin.replace(/^http/, 'ws') ?? '';
  }

  #record(req: IncomingMessage, kind: SandboxRequest['kind']): SandboxRequest {
    const { method = '', url: target = '', rawHeaders } = req;
    const { events, random } = this.#state;
    return events.record({ kind, method, target, rawHeaders, correlationId: createUuid(random) });
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    res.setHeader(SIMULATION_HEADER.name, SIMULATION_HEADER.value);
    const record = this.#record(req, kindOf(splitTarget(req.url ?? '').path));
    res.once('close', () => {
      record.status = res.writableFinished ? res.statusCode : 0;
      // One turn later, so that whoever waits for the event reads counters that include it.
      setImmediate(() => this.#state.events.emitter.emit('answer', record));
    });
    if (record.kind === 'api') void this.#answerApi(req, res, record);
    else if (record.kind === 'token' && req.method === 'POST') void answerToken(this.#state, req, res, record);
    else if (record.kind === 'login') void this.#login.answer(req, res, record);
    else if (record.kind === 'control' && this.#hasControls) void answerControls(this, req, res);
    else res.writeHead(404, { 'Content-Type': 'text/plain' }).end('The simulation has no such page.\n');
  }
}

function createState(options: SandboxOptions): SandboxState {
  const clock = options.clock ?? { now: Date.now };
  const random = options.random ?? createRandomSource(options.seed);
  return {
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
}

function addressOf(server: Server, isEncrypted: boolean): SandboxAddress {
  const { address, family, port } = server.address() as AddressInfo;
  const host = family === 'IPv6' ? `[${address}]` : address;
  return { origin: `${isEncrypted ? 'https' : 'http'}://${host}:${port}`, host: address, port };
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

/**
 * Answers GET and POST /sandbox/controls: the switches, for a simulation in another process. Not for web pages: a
 * request with an Origin is refused, and POST must be JSON. POST takes `{"set": {switch: value}, "do": [action]}`, does
 * both in that order, and answers with switches and stats, as GET does. Never rejects.
 */
async function answerControls(sandbox: Sandbox, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const actions: Record<string, () => unknown> = {
    expireTokens: () => sandbox.expireTokens(),
    revokeTokens: () => sandbox.revokeTokens(() => true),
    release: () => sandbox.release(),
    resetStats: () => sandbox.resetStats(),
    heartbeat: () => sandbox.heartbeat(),
  };
  try {
    if (req.headers.origin !== undefined)
      throw new PlatformError(403, 'not.authorized', 'Web pages may not use the controls.');
    if (req.method === 'POST') {
      const { set = {}, do: wanted = [], ...rest } = await readJson(req);
      const names: unknown[] = Array.isArray(wanted) ? wanted : [wanted];
      const unknown = [
        ...Object.keys(rest),
        ...names.filter((name) => typeof name !== 'string' || !Object.hasOwn(actions, name)),
      ];
      if (unknown.length > 0)
        throw new PlatformError(400, 'bad.request', `The controls do not know ${unknown.join(', ')}.`);
      if (typeof set !== 'object' || set === null) throw new PlatformError(400, 'bad.request', 'set is not an object.');
      setSwitches(sandbox, set);
      for (const name of names) await actions[String(name)]?.();
    } else if (req.method !== 'GET') throw new PlatformError(405, 'bad.request', 'The controls know GET and POST.');
    await sendJson(req, res, 200, { switches: sandbox.switches, stats: sandbox.stats });
  } catch (error) {
    const refusal = isPlatformError(error)
      ? error
      : new PlatformError(500, 'internal.server.error', 'The simulation failed.');
    if (!res.headersSent) await sendJson(req, res, refusal.status, refusal.body(''));
  }
}

function setSwitches(sandbox: Sandbox, changes: object): void {
  try {
    sandbox.set(changes);
  } catch (error) {
    throw new PlatformError(
      400,
      'bad.request',
      error instanceof TypeError ? error.message : 'A switch could not be set.',
    );
  }
}
