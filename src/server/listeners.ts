// The gateway's own listening sockets: TCP on one or both loopback families, Unix sockets, inherited descriptors. Knows
// no routes.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, isIP, type Socket, Server as TcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ListenAddress } from '../config/gateway-config.ts';
import { isLoopbackHost, stripBrackets } from '../config/listen-address.ts';
import { endAfterResponses } from './connection.ts';
import { refuseUpgrade, respondToBrokenRequest, respondToPlainRequest, respondToTlsHello } from './responses.ts';
import { connectionName, type ServerTls } from './tls.ts';
import { isPlainRequest, isTlsHello, type SpokenProtocol } from './wrong-protocol.ts';

/** One socket to open, and what handles its requests. */
export interface ListenerSpec {
  readonly address: ListenAddress;
  readonly handler: RequestListener;
  /** Takes upgrade requests; without it they are refused. */
  readonly onUpgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /**
   * Told what the socket is bound to, an address or the name of a Unix socket, before it takes a connection. When it
   * throws, the socket is not opened.
   */
  readonly onBound?: (bound: AddressInfo | string) => void;
  /** Told of callers that speak TLS where the listener has none, or plain HTTP where it has; they get a 400 in clear. */
  readonly onWrongProtocol?: (spoken: SpokenProtocol, socket: Socket) => void;
  /** TLS, on all but Unix sockets. */
  readonly tls?: ServerTls | null;
}

/** Limits of the listening side, ms. */
export interface ListenerLimits {
  readonly headerTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
}

/** Open listeners. */
export interface Listeners {
  /**
   * `http://127.0.0.1:8080`, `https://…`, `unix:/path`, in the order of the specs; the implied IPv6 twin is not listed.
   */
  readonly addresses: readonly string[];
  /** Stops taking connections and ends idle ones; resolves when the last connection has ended, or was cut. */
  close(): Promise<void>;
  /** Ends all connections at once. */
  cut(): void;
}

/** Opens all or none. Rejects with the system's error, `address` in it, when one cannot be opened. */
export async function openListeners(specs: readonly ListenerSpec[], limits: ListenerLimits): Promise<Listeners> {
  const servers: Server[] = [];
  const addresses: string[] = [];
  try {
    for (const spec of specs) {
      const server = createHttpServer(spec, limits);
      await listenAnew(server, spec);
      servers.push(server);
      addresses.push(describe(server, spec));
      const twin = await listenOnTwin(server, spec, specs, limits);
      if (twin) servers.push(twin);
    }
  } catch (error) {
    const closed = closeAll(servers);
    cutAll(servers);
    await closed;
    throw error;
  }
  return { addresses, close: () => closeAll(servers), cut: () => cutAll(servers) };
}

/**
 * So much of a body may wait in each direction: four of the largest pieces that a socket hands out. With one, Node's
 * own mark, each piece stops the stream that it came from until it is written.
 */
const STREAM_BUFFER_BYTES = 256 * 1024;

function createHttpServer(spec: ListenerSpec, limits: ListenerLimits): Server {
  const options: ServerOptions = {
    headersTimeout: limits.headerTimeoutMs,
    // A large upload may take as long as it keeps moving: its idle time is bounded where it is read.
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Node looks at the two timeouts above only so often, 30 s if not told.
    connectionsCheckingInterval: Math.min(1000, limits.headerTimeoutMs),
    maxHeaderSize: 64 * 1024,
    // A missing Host is refused in our own words.
    requireHostHeader: false,
    noDelay: true,
    highWaterMark: STREAM_BUFFER_BYTES,
    // Java's client offers HTTP/2 on every plain connection. An offer may be passed over (RFC 9110, section 7.8).
    shouldUpgradeCallback: ({ headers }) => headers.upgrade?.trim().toLowerCase() !== 'h2c',
  };
  const tls = spec.address.kind === 'unix' ? null : (spec.tls ?? null);
  const server = tls === null ? createServer(options, spec.handler) : createSecureServer(spec, options, tls);
  // Bounded by their size. Beyond 2,000 Node refuses the request, in older versions it leaves the rest out: a second
  // Host among them.
  server.maxHeadersCount = 0;
  // Whoever is about to read the body sends the 100: a refusal then costs the caller no upload.
  server.on('checkContinue', spec.handler);
  server.on('checkExpectation', spec.handler);
  server.on('connect', (_request: IncomingMessage, socket: Duplex) =>
    refuseUpgrade(socket, 405, 'CONNECT is not served here'),
  );
  server.on(
    'upgrade',
    spec.onUpgrade ?? ((_request, socket) => refuseUpgrade(socket, 400, 'this address takes no upgrade')),
  );
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (tls !== null || !isTlsHello(error, socket)) return respondToBrokenRequest(error, socket);
    spec.onWrongProtocol?.('tls', socket);
    respondToTlsHello(socket);
  });
  server.on('connection', (socket) => noteSocket(server, socket));
  server.on('secureConnection', (socket) => noteSocket(server, socket));
  return server;
}

function createSecureServer(
  { handler, onWrongProtocol }: ListenerSpec,
  options: ServerOptions,
  tls: ServerTls,
): Server {
  const server = createTlsServer(
    { ...options, ...tls.options, handshakeTimeout: options.headersTimeout ?? 30_000 },
    handler,
  );
  // The connections beneath those in their handshake.
  const raw = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const name = connectionName(socket);
    raw.set(name, socket);
    socket.once('close', () => raw.delete(name));
  });
  // A failed handshake leaves nobody to respond to, save where it was an HTTP request.
  server.removeAllListeners('tlsClientError');
  server.on('tlsClientError', (error, socket) => {
    const beneath = raw.get(connectionName(socket));
    if (beneath !== undefined && isPlainRequest(error, beneath)) {
      onWrongProtocol?.('http', beneath);
      respondToPlainRequest(beneath);
    }
    socket.destroy();
  });
  tls.attach(server);
  return server;
}

function listen(server: Server, { address, onBound }: Pick<ListenerSpec, 'address' | 'onBound'>): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const done = () => {
      server.off('error', reject);
      // Only the user may use a local socket file: it is a way to the user's token.
      if (address.kind === 'unix') chmodSync(address.path, 0o600);
      try {
        // Still within the listening: whoever connects waits until this has been decided. Node knows the name of a Unix
        // socket only where it gave it; all else that it listens on has an address.
        onBound?.(server.address() ?? 'inherited');
        resolve();
      } catch (error) {
        server.close();
        reject(error);
      }
    };
    if (address.kind === 'tcp') server.listen({ host: address.host, port: address.port, exclusive: true }, done);
    else if (address.kind === 'fd') server.listen({ fd: address.fd }, done);
    else {
      const umask = process.umask(0o177);
      server.listen({ path: address.path }, done);
      process.umask(umask);
    }
  });
}

/**
 * As `listen`; a socket file that a killed process left behind is replaced. One on which somebody answers is in use,
 * like a port.
 */
async function listenAnew(server: Server, spec: ListenerSpec): Promise<void> {
  const { address } = spec;
  try {
    await listen(server, spec);
  } catch (error) {
    if (
      address.kind !== 'unix' ||
      (error as NodeJS.ErrnoException).code !== 'EADDRINUSE' ||
      !(await isStale(address.path))
    )
      throw error;
    unlinkSync(address.path);
    await listen(server, spec);
  }
}

async function isStale(path: string): Promise<boolean> {
  if (!lstatSync(path).isSocket()) return false;
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}

/**
 * `localhost` is two addresses: what listens on 127.0.0.1 listens on [::1] too, or another process could take that half
 * of the name.
 */
async function listenOnTwin(
  primary: Server,
  spec: ListenerSpec,
  specs: readonly ListenerSpec[],
  limits: ListenerLimits,
): Promise<Server | null> {
  if (spec.address.kind !== 'tcp' || spec.address.host !== '127.0.0.1') return null;
  const { port } = primary.address() as AddressInfo;
  if (spec.address.port !== 0 && specs.some(({ address }) => takesTwin(address, port))) return null;
  const twin = createHttpServer(spec, limits);
  try {
    await listen(twin, { address: { kind: 'tcp', host: '::1', port } });
    return twin;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // No IPv6 on this machine: then the name has one half only. A port chosen by the system may be taken on the other
    // side by chance.
    if (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT' || code === 'ENETUNREACH' || spec.address.port === 0)
      return null;
    throw error;
  }
}

/**
 * Whether an address that is to be opened for itself is the twin, in any of its spellings: then nothing is opened in
 * its place.
 */
function takesTwin(address: ListenAddress, port: number): boolean {
  return (
    address.kind === 'tcp' &&
    address.port === port &&
    isIP(stripBrackets(address.host)) !== 4 &&
    isLoopbackHost(address.host)
  );
}

function describe(server: Server, { address, tls }: ListenerSpec): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return bound ?? 'fd';
  return `${tls ? 'https' : 'http'}://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
}

/**
 * Every connection of a server, those among them that Node's own list leaves out: without a request yet, or in their
 * TLS handshake.
 */
const SOCKETS = Symbol('sockets');

type NotedServer = Server & { [SOCKETS]?: Set<Socket> };

function noteSocket(server: NotedServer, socket: Socket): void {
  const sockets = server[SOCKETS] ?? new Set();
  server[SOCKETS] = sockets;
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
}

function socketsOf(servers: readonly NotedServer[]): Socket[] {
  return servers.flatMap((server) => [...(server[SOCKETS] ?? [])]);
}

function cutAll(servers: readonly NotedServer[]): void {
  for (const socket of socketsOf(servers)) socket.destroy();
}

async function closeAll(servers: readonly NotedServer[]): Promise<void> {
  const sockets = () => socketsOf(servers);
  // The plain close, which only stops listening. Node's HTTP one also cuts idle connections at once, and with them
  // calls that are just on their way: for a moment callers that are busy get a response that tells them to go.
  const closed = Promise.all(
    servers.map(
      (server) => new Promise<void>((resolve) => void TcpServer.prototype.close.call(server, () => resolve())),
    ),
  );
  for (const socket of sockets()) endAfterResponses(socket);
  // Connections that become idle while draining are not closed by themselves, nor are those on which nothing was ever
  // sent.
  const sweep = setInterval(() => {
    for (const server of servers) server.close();
    for (const socket of sockets()) if (socket.bytesRead === 0) socket.destroy();
  }, SWEEP_MS);
  await closed;
  clearInterval(sweep);
  // A server counts a connection as gone before those who work for it have heard of it.
  await Promise.all(
    sockets().map((socket) => new Promise<void>((resolve) => void socket.once('close', () => resolve()))),
  );
  for (const server of servers) server.close();
}

const SWEEP_MS = 50;
