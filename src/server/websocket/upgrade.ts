// GET [/NAME]/streaming/channels/{id} as an upgrade: admitted like every request, then to a channel of this caller's,
// then to the upstream, and only when that has accepted is the client told so. Any other upgrade is refused.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Caller } from '../../auth/callers/caller.ts';
import { isHandle } from '../../auth/callers/client-handle.ts';
import { sessionEnded } from '../../auth/callers/session.ts';
import { withFetchedSession } from '../../auth/callers/session-fetches.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { type ExchangeRecord, noteError } from '../../logging/exchange-record.ts';
import { ClientClosedRequest, failureReason } from '../../upstream/errors.ts';
import { openSocket } from '../../upstream/websocket/open-socket.ts';
import { Tunnel, type TunnelEnd } from '../../upstream/websocket/tunnel.ts';
import { delayFor } from '../accept.ts';
import { admit } from '../admission.ts';
import { guessIn } from '../authenticate.ts';
import { isFailedAuthentication } from '../authentication-error.ts';
import { chooseCredential, namedCredential } from '../authorize.ts';
import { claimedClient, isRefusedProof } from '../claimed-client.ts';
import { isQuiet, respondLast, wasRefused } from '../connection.ts';
import type { ServerContext, ServerRuntime } from '../context.ts';
import { beginSpans, CUT, noteCaller, openRecord } from '../exchange.ts';
import { assertFraming } from '../framing.ts';
import { cleanResponseHeaders, setOwnHeaders } from '../headers.ts';
import type { ListenerRole } from '../listener-plan.ts';
import { noteRoute, parseTarget, type Route } from '../request-target.ts';
import { draining, endWith, endWithError, tooManyGuesses } from '../responses.ts';
import { type IssuedChannel, isSameCaller, showsToken } from './channels.ts';
import type { SocketOwner } from './open-sockets.ts';

/** The call that makes a channel, for the rules of clients: a channel's events are for who may make channels. */
const MAKE_CHANNEL = {
  method: 'POST',
  target: '/api/v2/notifications/channels',
  operation: 'postNotificationsChannels',
} as const;

/**
 * Name of the credential that serves a caller who named one, or none. Throws what chooseCredential throws, and
 * gateway.client.forbidden to who may not make channels. Headers and record are those of the upgrade; without them
 * nobody asks just now.
 */
function credentialFor(
  runtime: ServerRuntime,
  caller: Caller,
  named: string | null,
  headers: IncomingHttpHeaders = {},
  record: ExchangeRecord | null = null,
): string {
  runtime.rules.assertPermitted(caller.client, { ...MAKE_CHANNEL, headers, record });
  return chooseCredential(caller, named, runtime).config.name;
}

/** Why a configuration would not serve the owner of an open socket; null where it would. */
export function whyNotServed(
  runtime: ServerRuntime,
  { caller, arrival, peer, credential }: SocketOwner,
): GatewayError | null {
  const { authenticator, clients } = runtime;
  const gone = authenticator.revalidate(caller, arrival, peer);
  if (gone !== null) return gone;
  const current = { ...caller, client: caller.client && (clients.get(caller.client.name)?.client ?? null) };
  try {
    // What a session is for, its owner says.
    credentialFor(runtime, current, caller.session === null ? credential : null);
    return null;
  } catch (error) {
    if (isGatewayError(error)) return error;
    throw error;
  }
}

type RefusedSocket = Extract<Awaited<ReturnType<typeof openSocket>>, { kind: 'refused' }>;

/** Takes an upgrade that came in by a listener of `role`, until its socket has ended. Its record is finished then. */
export function acceptUpgrade(
  gateway: ServerContext,
  role: ListenerRole,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  socket.on('error', () => {
    // The caller is gone; the close that follows ends what there is to end.
  });
  if (wasRefused(socket)) return;
  void new Upgrade(gateway, role, request, socket, head).run();
}

/** One upgrade and, once it is admitted and the upstream has accepted, its socket. */
class Upgrade {
  readonly #gateway: ServerContext;
  readonly #role: ListenerRole;
  readonly #request: IncomingMessage;
  readonly #socket: Duplex;
  /** What the caller sent behind its handshake. */
  readonly #head: Buffer;
  readonly #record: ExchangeRecord;
  /** The parts of the configuration that it is admitted by. */
  #runtime: ServerRuntime;

  constructor(gateway: ServerContext, role: ListenerRole, request: IncomingMessage, socket: Duplex, head: Buffer) {
    this.#gateway = gateway;
    this.#runtime = gateway.runtime;
    this.#role = role;
    this.#request = request;
    this.#socket = socket;
    this.#head = head;
    this.#record = openRecord(request, role, gateway.runtime);
  }

  /** Resolves when the socket has ended and the record is finished. Never rejects. */
  async run(): Promise<void> {
    const { observer } = this.#gateway;
    observer.begun();
    try {
      await this.#accept();
    } catch (error) {
      await this.#refuse(error);
    } finally {
      observer.ended(this.#record);
    }
  }

  /** Admits the upgrade and carries the socket; resolves when that has ended. */
  async #accept(): Promise<void> {
    const request = this.#request;
    const record = this.#record;
    const { host, target } = assertFraming(request);
    const route = parseTarget(target);
    noteRoute(record, route);
    const asked = this.#role.data ? channelOf(route) : null;
    // Behind a request whose response is not complete the octets of a socket would mix with the response.
    if (asked === null || !isQuiet(this.#socket))
      throw new GatewayError('gateway.request.invalid', 'this address takes no upgrade');
    const handshake = readHandshake(request);
    // A handle is shown in a header; in an address it proves nothing, and is not passed over either.
    if (asked.token !== null && isHandle(asked.token)) throw sessionEnded();
    const channel = await this.#runtime.channels.find(asked.id);
    const hash = channel?.owner.session?.owner.hash;
    if (hash !== undefined) await this.#runtime.sessions.fetch(hash);
    let caller = await withFetchedSession(() => this.#admit(host, route, channel, asked.token));
    const guess = guessIn(request);
    if (guess !== null) {
      if (await this.#isDropped(guess)) return;
      // Who may call anonymously may have changed meanwhile.
      this.#runtime = this.#gateway.runtime;
      caller = await withFetchedSession(() => this.#admit(host, route, channel, asked.token));
    }
    noteCaller(record, caller);
    beginSpans({ gateway: this.#gateway, record, request, caller, role: this.#role });
    this.#gateway.activity.seen(caller, record.peer);
    if (this.#gateway.phase === 'draining') throw draining();
    const named = namedCredential({ route, request });
    const credential = credentialFor(this.#runtime, caller, named, request.headers, record);
    record.credential = credential;
    const owner = { caller, arrival: this.#role, peer: this.#peer(), credential, channelId: asked.id };
    await this.#carry(assertOwn(channel, caller, credential), owner, handshake);
  }

  #peer(): string | null {
    return this.#runtime.authenticator.peerOf(this.#request, this.#role);
  }

  /** A channel's token authenticates its owner, where nothing else does. */
  #admit(host: string, route: Route, channel: IssuedChannel | null, token: string | null): Caller {
    const { authenticator } = this.#runtime;
    const byToken = () =>
      channel !== null && showsToken(channel, token)
        ? authenticator.renew(channel.owner, this.#role, this.#peer())
        : null;
    return admit(this.#request, host, route, this.#role, this.#runtime, byToken);
  }

  async #carry(channel: IssuedChannel, owner: SocketOwner, handshake: Handshake): Promise<void> {
    const socket = this.#socket;
    const record = this.#record;
    const { clock, openSockets } = this.#gateway;
    const slot = openSockets.acquire(owner);
    const waiting = watchWaiting(socket, this.#head, () => slot.abortHandshake(new ClientClosedRequest()));
    try {
      const upstreamResponse = await this.#openUpstream(channel, handshake, slot.signal);
      record.source = 'upstream';
      record.responseHeaders = upstreamResponse.rawHeaders;
      if (upstreamResponse.kind === 'refused') return this.#passRefusal(upstreamResponse);
      const own = ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'X-Gateway-Request-Id', record.requestId];
      const head = responseHead('101 Switching Protocols', upstreamResponse.rawHeaders, own);
      record.correlationId = head.correlationId;
      record.status = 101;
      detectDeadPeer(socket);
      socket.write(head.text, 'latin1');
      const tunnel = new Tunnel(
        {
          client: socket,
          clientHead: waiting.stop(),
          upstream: upstreamResponse.socket,
          upstreamHead: upstreamResponse.head,
        },
        { stalledMs: this.#runtime.config.timeouts.bodyMs },
        clock,
      );
      slot.attach(tunnel);
      noteEnd(record, await tunnel.done, slot.closeReason);
      if (record.aborted && this.#gateway.isCutting) noteError(record, CUT);
    } finally {
      waiting.stop();
      slot.release();
    }
  }

  async #openUpstream({ url }: IssuedChannel, { key, headers }: Handshake, signal: AbortSignal) {
    const record = this.#record;
    const { ownHeaders, upstream, config } = this.#runtime;
    record.attempts = 1;
    const startedAt = performance.now();
    const attempt = record.trace?.attempt() ?? null;
    if (record.trace !== null && record.trace.span !== null) record.trace.span.upstreamOrigin = new URL(url).origin;
    try {
      const response = await openSocket(
        { url, key, headers: setOwnHeaders(headers, ownHeaders) },
        { egress: upstream.egress, clock: this.#gateway.clock, headersMs: config.timeouts.headersMs, signal },
      );
      attempt?.answered(response.kind === 'refused' ? response.statusCode : 101);
      attempt?.ended();
      return response;
    } catch (error) {
      attempt?.ended(failureReason(error as GatewayError));
      throw error;
    } finally {
      record.upstreamMs = performance.now() - startedAt;
    }
  }

  #passRefusal({ statusCode, statusText, rawHeaders, body }: RefusedSocket): void {
    const record = this.#record;
    const own = [
      'Content-Length',
      String(body.length),
      'Connection',
      'close',
      'X-Gateway-Request-Id',
      record.requestId,
    ];
    const { text, correlationId } = responseHead(`${statusCode} ${statusText}`, rawHeaders, own);
    record.correlationId = correlationId;
    record.status = statusCode;
    record.responseBytes = body.length;
    endWith(this.#socket, Buffer.concat([Buffer.from(text, 'latin1'), body]));
  }

  /**
   * Waits until a guess may be responded to. True when there are too many of its peer: then the connection is closed
   * without a response.
   */
  async #isDropped(served: string | null): Promise<boolean> {
    const request = this.#request;
    const { until, isOverflow } = delayFor({ gateway: this.#gateway, runtime: this.#gateway.runtime, request }, served);
    await until;
    if (!isOverflow) return false;
    this.#record.status = 0;
    noteError(this.#record, tooManyGuesses());
    this.#record.heldBy = 'wrong secrets';
    this.#socket.destroy();
    return true;
  }

  async #refuse(error: unknown): Promise<void> {
    const socket = this.#socket;
    const record = this.#record;
    const failure = isGatewayError(error)
      ? error
      : new GatewayError('gateway.internal', 'the socket could not be opened: please report it with the request id');
    record.source = 'gateway';
    noteError(record, failure);
    if (isRefusedProof(failure)) record.claimedClient = claimedClient(this.#request, this.#runtime);
    if (socket.destroyed) {
      record.aborted = true;
      return;
    }
    record.status = failure.statusCode;
    // One that is served without its wrong secret has waited for it before.
    if (isFailedAuthentication(failure) && (await this.#isDropped(null))) return;
    const extra = failure.statusCode === 426 ? ['Sec-WebSocket-Version', '13'] : [];
    respondLast(socket, () => endWithError(socket, failure, record.requestId, extra));
  }
}

/** Throws for a channel that is not this caller's, in the same words as for one that does not exist. */
function assertOwn(channel: IssuedChannel | null, caller: Caller, credential: string): IssuedChannel {
  if (channel !== null && channel.credential === credential && isSameCaller(channel.owner, caller)) return channel;
  throw new GatewayError(
    'gateway.route.not.found',
    'no such channel was made here by this caller: make one with POST /api/v2/notifications/channels and use its ' +
      'connectUri',
  );
}

/**
 * A caller that waits may say so much; what is more stays with the system, and then its leaving is not seen before the
 * upstream's response.
 */
const EARLY_BYTES = 64 * 1024;

/**
 * Watches a caller that waits for the upstream's response. One that ends its side, or is gone, is given up: it could
 * respond to no ping. `stop` gives what it has said so far; an end is seen only behind that.
 */
function watchWaiting(socket: Duplex, head: Buffer, onDisconnect: () => void): { stop(): Buffer } {
  const said = [head];
  let bytes = head.length;
  const readAhead = () => {
    while (bytes < EARLY_BYTES) {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      said.push(chunk);
      bytes += chunk.length;
    }
  };
  const disconnect = () => {
    socket.destroy();
    onDisconnect();
  };
  socket.on('readable', readAhead).once('end', disconnect).once('close', disconnect);
  return {
    stop() {
      socket.off('readable', readAhead).off('end', disconnect).off('close', disconnect);
      return Buffer.concat(said);
    },
  };
}

/** Keep-alive probes notice a caller whose machine went away, though nothing is sent to it. */
function detectDeadPeer(
  socket: Duplex & { setKeepAlive?: (on: boolean, ms: number) => void; setTimeout?: (ms: number) => void },
): void {
  socket.setTimeout?.(0);
  socket.setKeepAlive?.(true, 30_000);
}

const SILENT = new GatewayError('gateway.upstream.timeout', 'one side of the socket took nothing for timeouts.body');
const BROKEN_OFF = new GatewayError('gateway.upstream.unreachable', 'the upstream ended the socket without a word');

function noteEnd(record: ExchangeRecord, end: TunnelEnd, closeReason: GatewayError | null): void {
  record.requestBytes = end.fromClientBytes;
  record.responseBytes = end.fromUpstreamBytes;
  record.closeCode = end.closeCode;
  record.aborted = end.by === 'client' && end.closeCode === 1006;
  if (end.by === 'gateway' && closeReason !== null) noteError(record, closeReason);
  else if (end.by === 'silence') noteError(record, SILENT);
  else if (end.by === 'upstream' && end.closeCode === 1006) noteError(record, BROKEN_OFF);
}

/** A handshake that is in order. */
export interface Handshake {
  readonly key: string;
  /**
   * Sec-WebSocket-* and User-Agent, as they came. Nothing else of the caller's goes upstream: the channel id is all the
   * platform asks for.
   */
  readonly headers: string[];
}

const KEY = /^[A-Za-z0-9+/]{22}==$/;
const PASSED = /^(?:sec-websocket-(?:key|version|protocol|extensions)|user-agent)$/i;

/** Throws gateway.request.invalid: 400, or 426 for another version of the protocol. */
export function readHandshake({ method, headers, rawHeaders, httpVersionMinor }: IncomingMessage): Handshake {
  const key = headers['sec-websocket-key'];
  const isWebSocket = headers.upgrade?.trim().toLowerCase() === 'websocket';
  if (method !== 'GET' || httpVersionMinor !== 1 || !isWebSocket || key === undefined || !KEY.test(key)) {
    throw new GatewayError('gateway.request.invalid', 'this is not the handshake of a WebSocket (RFC 6455)');
  }
  if (headers['sec-websocket-version'] !== '13') {
    throw new GatewayError('gateway.request.invalid', 'only version 13 of the WebSocket protocol is spoken here', {
      statusCode: 426,
    });
  }
  if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0') {
    throw new GatewayError('gateway.request.invalid', 'the handshake of a WebSocket has no body');
  }
  const passed: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (PASSED.test(rawHeaders[i] as string)) passed.push(rawHeaders[i] as string, rawHeaders[i + 1] as string);
  }
  return { key, headers: passed };
}

const CHANNEL = /^\/streaming\/channels\/([^/]+)$/;

/** The channel a route leads to, with the token its address carries; null for any other route. */
export function channelOf(route: Route): { readonly id: string; readonly token: string | null } | null {
  if (route.kind !== 'local') return null;
  const id = CHANNEL.exec(route.path)?.[1];
  return id === undefined ? null : { id, token: new URLSearchParams(route.query).get('token') };
}

/** The head of the response to the caller, made of the upstream's. `own` goes behind its lines. */
export function responseHead(
  status: string,
  rawHeaders: readonly string[],
  own: readonly string[],
): { text: string; correlationId: string | null } {
  const octets = rawHeaders.map((text) => Buffer.from(text, 'latin1'));
  const { headers, correlationId } = cleanResponseHeaders(octets, Number.parseInt(status, 10), (location) => location);
  let text = `HTTP/1.1 ${status}\r\n`;
  const lines = [...headers, ...own];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const isOwn = i >= headers.length;
    if (isOwn || (lines[i] as string).toLowerCase() !== 'content-length') text += `${lines[i]}: ${lines[i + 1]}\r\n`;
  }
  return { text: `${text}\r\n`, correlationId };
}
