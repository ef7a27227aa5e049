// GET [/NAME]/streaming/channels/{id} as an upgrade: admitted like every request, then to a channel of this caller's,
// then to the upstream, and only when that has accepted is the client told so. Any other upgrade is refused.

import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Caller } from '../../auth/callers/caller.ts';
import { isHandle } from '../../auth/callers/client-handle.ts';
import { sessionEnded } from '../../auth/callers/session.ts';
import type { Clock } from '../../clock.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { createExchangeRecord, type ExchangeRecord } from '../../logging/exchange-record.ts';
import { openSocket } from '../../upstream/websocket/open-socket.ts';
import { Tunnel, type TunnelEnd } from '../../upstream/websocket/tunnel.ts';
import { type AcceptOptions, delayGuess } from '../accept.ts';
import type { ListenerRole } from '../admission.ts';
import { admit } from '../admission.ts';
import { guessIn, isFailedAuthentication } from '../authenticate.ts';
import { chooseCredential, namedCredential } from '../authorize.ts';
import { answerLast, isQuiet, wasRefused } from '../connection.ts';
import type { ServerRuntime } from '../context.ts';
import { assertFraming } from '../framing.ts';
import { cleanResponseHeaders, setOwnHeaders } from '../headers.ts';
import { noteRoute, parseTarget, type Route } from '../request-target.ts';
import { endWith, endWithError } from '../responses.ts';
import { type IssuedChannel, isSameCaller, showsToken } from './channels.ts';
import type { OpenSockets, SocketOwner } from './open-sockets.ts';

/** The call that makes a channel: a channel's events are for who may make channels. */
const MAKE_CHANNEL = { method: 'POST', target: '/api/v2/notifications/channels' } as const;

/**
 * Name of the credential that serves a caller who named one, or none. Throws what chooseCredential throws, and
 * gateway.client.forbidden to who may not make channels. Headers and request id are those of the upgrade; without them
 * nobody asks just now.
 */
function credentialFor(
  { assertRules, choice }: ServerRuntime,
  caller: Caller,
  named: string | null,
  headers: IncomingHttpHeaders = {},
  requestId = '',
) {
  assertRules(caller.client, { ...MAKE_CHANNEL, headers, requestId });
  return chooseCredential(caller, named, choice).config.name;
}

/** Why a configuration would not serve somebody who listens already; null where it would. */
export function whyNotServed(
  runtime: ServerRuntime,
  { caller, arrival, credential }: SocketOwner,
): GatewayError | null {
  const { authenticator, facade } = runtime;
  const gone = authenticator.revalidate(caller, arrival);
  if (gone !== null) return gone;
  const present = { ...caller, client: caller.client && (facade.clients.get(caller.client.name)?.client ?? null) };
  try {
    // What a session is for, its owner says.
    credentialFor(runtime, present, caller.session === null ? credential : null);
    return null;
  } catch (error) {
    if (isGatewayError(error)) return error;
    throw error;
  }
}

/** What upgrades need of the rest of the server. */
export interface UpgradeOptions
  extends Pick<AcceptOptions, 'runtime' | 'throttle' | 'isDraining' | 'begun' | 'finish'> {
  readonly live: OpenSockets;
  readonly clock: Clock;
}

/** Listener of node:http's `upgrade`. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Makes the listener for a server of the given role. Each upgrade gets one record, when the socket has ended. */
export function createUpgrade(options: UpgradeOptions): (role: ListenerRole) => UpgradeListener {
  return (role) => (request, socket, head) => {
    socket.on('error', () => {
      // The caller is gone; the close that follows ends what there is to end.
    });
    if (wasRefused(socket)) return;
    const record = openRecord(request);
    options.begun();
    accept(request, socket, head, role, record, options)
      .catch((error: unknown) => refuse(request, socket, record, error, options))
      .finally(() => options.finish(record));
  };
}

function openRecord(request: IncomingMessage): ExchangeRecord {
  const record = createExchangeRecord();
  record.requestId = randomUUID();
  record.method = request.method ?? '';
  record.target = request.url ?? '';
  record.requestHeaders = request.rawHeaders;
  return record;
}

/** Resolves when the socket has ended. */
async function accept(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  role: ListenerRole,
  record: ExchangeRecord,
  options: UpgradeOptions,
): Promise<void> {
  const framing = assertFraming(request);
  const route = parseTarget(framing.target);
  noteRoute(record, route);
  const asked = role.data ? channelOf(route) : null;
  // Behind a request that is not answered yet the octets of a socket would mix with the answer.
  if (asked === null || !isQuiet(socket))
    throw new GatewayError('gateway.request.invalid', 'this address takes no upgrade');
  const handshake = readHandshake(request);
  // A handle is shown in a header; in an address it proves nothing, and is not passed over either.
  if (asked.token !== null && isHandle(asked.token)) throw sessionEnded();
  let runtime = options.runtime();
  const channel = runtime.channels.find(asked.id);
  const letIn = () => {
    const byToken = () =>
      channel !== null && showsToken(channel, asked.token) ? runtime.authenticator.renew(channel.owner, role) : null;
    return admit(request, framing.host, route, role, runtime, byToken);
  };
  let caller = letIn();
  const guess = guessIn(request);
  if (guess !== null) {
    if (await isDropped(request, socket, record, guess, options)) return;
    // Who may call without proof may have changed meanwhile.
    runtime = options.runtime();
    caller = letIn();
  }
  record.client = caller.client?.name ?? null;
  if (options.isDraining()) throw new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
  const credential = credentialFor(
    runtime,
    caller,
    namedCredential({ route, request }),
    request.headers,
    record.requestId,
  );
  record.credential = credential;
  await carry(
    {
      channel: assertOwn(channel, caller, credential),
      listener: { caller, arrival: role, credential, channelId: asked.id },
      handshake,
      socket,
      head,
      record,
      runtime,
    },
    options,
  );
}

/** Whether a channel exists that is not this caller's is not told. */
function assertOwn(channel: IssuedChannel | null, caller: Caller, credential: string): IssuedChannel {
  if (channel !== null && channel.credential === credential && isSameCaller(channel.owner, caller)) return channel;
  throw new GatewayError(
    'gateway.route.not.found',
    'no such channel was made here by this caller: make one with POST /api/v2/notifications/channels and use its ' +
      'connectUri',
  );
}

interface Carried {
  readonly channel: IssuedChannel;
  readonly listener: SocketOwner;
  readonly handshake: Handshake;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly record: ExchangeRecord;
  readonly runtime: ServerRuntime;
}

async function carry(
  { channel, listener, handshake, socket, head, record, runtime }: Carried,
  { live, clock }: UpgradeOptions,
): Promise<void> {
  const place = live.take(listener);
  const waiting = watchWaiting(socket, head, () =>
    place.giveUp(new GatewayError('gateway.request.invalid', 'the caller left', { statusCode: 499 })),
  );
  try {
    record.attempts = 1;
    const headers = setOwnHeaders(handshake.headers, runtime.ownHeaders);
    const startedAt = performance.now();
    const answer = await openSocket(
      { url: channel.url, key: handshake.key, headers },
      { egress: runtime.upstream.egress, clock, headersMs: runtime.config.timeouts.headersMs, signal: place.signal },
    ).finally(() => {
      record.upstreamMs = performance.now() - startedAt;
    });
    record.source = 'upstream';
    record.responseHeaders = answer.rawHeaders;
    if (answer.kind === 'refused') {
      const { text, correlationId } = refusalHead(answer, record.requestId);
      record.correlationId = correlationId;
      record.status = answer.statusCode;
      record.responseBytes = answer.body.length;
      endWith(socket, Buffer.concat([Buffer.from(text, 'latin1'), answer.body]));
      return;
    }
    const own = ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'X-Gateway-Request-Id', record.requestId];
    const { text, correlationId } = answerHead('101 Switching Protocols', answer.rawHeaders, own);
    record.correlationId = correlationId;
    record.status = 101;
    quicken(socket);
    socket.write(text, 'latin1');
    const ends = { client: socket, clientHead: waiting.stop(), upstream: answer.socket, upstreamHead: answer.head };
    const tunnel = new Tunnel(ends, { stalledMs: runtime.config.timeouts.bodyMs }, clock);
    place.hold(tunnel);
    noteEnd(record, await tunnel.done, place.lostBy);
  } finally {
    waiting.stop();
    place.free();
  }
}

/**
 * A caller that waits may say so much; what is more stays with the system, and then its leaving is not seen before the
 * upstream's answer.
 */
const EARLY_BYTES = 64 * 1024;

/**
 * Watches a caller that waits for the upstream's answer. One that ends its side, or is gone, is given up: it could
 * answer no ping. `stop` gives what it has said so far; an end is seen only behind that.
 */
function watchWaiting(socket: Duplex, head: Buffer, onLeave: () => void): { stop(): Buffer } {
  const said = [head];
  let bytes = head.length;
  const take = () => {
    while (bytes < EARLY_BYTES) {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      said.push(chunk);
      bytes += chunk.length;
    }
  };
  const leave = () => {
    socket.destroy();
    onLeave();
  };
  socket.on('readable', take).once('end', leave).once('close', leave);
  return {
    stop() {
      socket.off('readable', take).off('end', leave).off('close', leave);
      return Buffer.concat(said);
    },
  };
}

function refusalHead(
  answer: { statusCode: number; statusText: string; rawHeaders: readonly string[]; body: Buffer },
  requestId: string,
) {
  const own = ['Content-Length', String(answer.body.length), 'Connection', 'close', 'X-Gateway-Request-Id', requestId];
  return answerHead(`${answer.statusCode} ${answer.statusText}`, answer.rawHeaders, own);
}

/** A caller whose machine went away is noticed, though nothing is sent to it. */
function quicken(
  socket: Duplex & { setKeepAlive?: (on: boolean, ms: number) => void; setTimeout?: (ms: number) => void },
): void {
  socket.setTimeout?.(0);
  socket.setKeepAlive?.(true, 30_000);
}

function noteEnd(record: ExchangeRecord, end: TunnelEnd, lostBy: GatewayError | null): void {
  record.requestBytes = end.fromClientBytes;
  record.responseBytes = end.fromUpstreamBytes;
  record.closeCode = end.closeCode;
  record.aborted = end.by === 'client' && end.closeCode === 1006;
  if (end.by === 'gateway' && lostBy !== null) record.errorCode = lostBy.code;
  else if (end.by === 'silence') record.errorCode = 'gateway.upstream.timeout';
  else if (end.by === 'upstream' && end.closeCode === 1006) record.errorCode = 'gateway.upstream.unreachable';
}

/**
 * Waits until a guess may be answered. True when there are too many of its peer: then the connection is closed without
 * an answer.
 */
async function isDropped(
  request: IncomingMessage,
  socket: Duplex,
  record: ExchangeRecord,
  served: string | null,
  options: UpgradeOptions,
) {
  const { until, isOverflow } = delayGuess(options.throttle, options.runtime().peerOf(request), served);
  await until;
  if (!isOverflow) return false;
  record.status = 0;
  record.heldBy = 'wrong secrets';
  socket.destroy();
  return true;
}

async function refuse(
  request: IncomingMessage,
  socket: Duplex,
  record: ExchangeRecord,
  error: unknown,
  options: UpgradeOptions,
): Promise<void> {
  const failure = isGatewayError(error)
    ? error
    : new GatewayError('gateway.internal', 'the socket could not be opened: please report it with the request id');
  record.source = 'gateway';
  record.errorCode = failure.code;
  if (socket.destroyed) {
    record.aborted = true;
    return;
  }
  record.status = failure.statusCode;
  // One that is served without its wrong secret has waited for it before.
  if (isFailedAuthentication(failure) && (await isDropped(request, socket, record, null, options))) return;
  answerLast(socket, () =>
    endWithError(socket, failure, record.requestId, failure.statusCode === 426 ? ['Sec-WebSocket-Version', '13'] : []),
  );
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

/** The head of the answer to the caller, made of the upstream's. `own` goes behind its lines. */
export function answerHead(
  status: string,
  rawHeaders: readonly string[],
  own: readonly string[],
): { text: string; correlationId: string | null } {
  const octets = rawHeaders.map((text) => Buffer.from(text, 'latin1'));
  const { headers, correlationId } = cleanResponseHeaders(octets, Number.parseInt(status, 10), (location) => location);
  let text = `HTTP/1.1 ${status}\r\n`;
  const lines = [...headers, ...own];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const isOurs = i >= headers.length;
    if (isOurs || (lines[i] as string).toLowerCase() !== 'content-length') text += `${lines[i]}: ${lines[i + 1]}\r\n`;
  }
  return { text: `${text}\r\n`, correlationId };
}
