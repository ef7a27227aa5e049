// One request to a running gateway, over TCP or a Unix socket. What answers may be another program, or may never end its
// answer: time and size are bounded.

import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { request as requestTls, type RequestOptions as TlsOptions } from 'node:https';
import type { CallableAddress } from '../config/listen-address.ts';
import { onOneLine } from '../config/problem.ts';

/** Something answered that is no gateway of ours, or not in the protocol of the configuration. The message says what. */
export class OtherProgram extends Error {
  override readonly name = 'OtherProgram';
}

/** One request to a gateway. `timeoutMs` bounds it from the connection to the last byte of the response. */
export interface GatewayRequest {
  readonly address: CallableAddress;
  /** How its certificate is verified; null where the listener has no TLS. */
  readonly tls: Pick<TlsOptions, 'ca' | 'allowPartialTrustChain' | 'checkServerIdentity' | 'rejectUnauthorized'> | null;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | undefined;
  readonly timeoutMs: number;
  /** A larger response is refused. */
  readonly maxBytes?: number;
}

/** A complete response. */
export interface GatewayResponse {
  readonly status: number;
  readonly text: string;
}

/** The largest response is a status document with every session's limits. */
const LARGEST_RESPONSE_BYTES = 8 * 1024 * 1024;

/**
 * Sends one request and reads the whole response. Null: nothing listens there. Rejects with OtherProgram where what
 * answers is no gateway of ours; in words, when the response is incomplete or too large.
 */
export async function askGateway(gatewayRequest: GatewayRequest): Promise<GatewayResponse | null> {
  const { timeoutMs, maxBytes } = gatewayRequest;
  const deadline = AbortSignal.timeout(Math.max(1, Math.round(timeoutMs)));
  try {
    const response = await send(gatewayRequest, deadline);
    if (response === null) return null;
    return { status: response.statusCode ?? 0, text: await readWhole(response, maxBytes) };
  } catch (error) {
    if (deadline.aborted) throw new Unanswered(timeoutMs);
    throw error;
  }
}

/** What a request is rejected with whose time is over. */
export class Unanswered extends Error {
  constructor(timeoutMs: number) {
    super(`the gateway did not answer within ${timeoutMs / 1000} s`);
  }
}

/** Sends one request. Resolves with a response whose body is not read; null where nothing listens. */
export function send(
  { address, tls, method, path, headers, body }: GatewayRequest,
  signal: AbortSignal,
): Promise<IncomingMessage | null> {
  return new Promise((resolve, reject) => {
    // Without a name for TLS Node would work one out, by an expression for IPv6 that takes 6 ms to compile.
    const options: TlsOptions = { method, path, signal, agent: false, servername: '', ...connection(address) };
    options.headers = { ...(address.kind === 'unix' && { host: 'localhost' }), ...headers };
    const outgoing = tls === null ? request(options) : requestTls({ ...options, servername: undefined, ...tls });
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const isNobody = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
      if (isNobody) resolve(null);
      else reject(isAborted(error) ? error : (otherProtocol(error, tls !== null) ?? error));
    });
    outgoing.on('response', (response) => {
      if (response.headers['x-gateway-request-id'] !== undefined) return resolve(response);
      outgoing.destroy();
      const { statusCode, headers } = response;
      const server = headers.server ? `, Server: ${onOneLine(String(headers.server)).slice(0, LONGEST_NAME)}` : '';
      reject(new OtherProgram(`something else answers there (HTTP ${statusCode}${server})`));
    });
    // No request here asks for an upgrade.
    outgoing.on('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new OtherProgram('something else answers there (HTTP 101)'));
    });
    outgoing.end(body);
  });
}

/** As much of what another program says of itself is shown. */
const LONGEST_NAME = 60;

const isAborted = ({ name }: Error): boolean => name === 'AbortError' || name === 'TimeoutError';

/** What a failure says of the program that answers; undefined where it says nothing. */
function otherProtocol({ code = '', message }: NodeJS.ErrnoException, isTls: boolean): OtherProgram | undefined {
  if (
    isTls &&
    /WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST/.test(`${code} ${message}`.toUpperCase().replaceAll(' ', '_'))
  ) {
    return new OtherProgram(
      'what answers there speaks no TLS, and this configuration has [server.tls]: it counts after a restart, or ' +
        'something else answers',
    );
  }
  if (code.startsWith('HPE_')) return new OtherProgram('something else answers there, and not in HTTP');
  return code === 'ECONNRESET' && message === 'socket hang up'
    ? new OtherProgram('something else answers there, and ends the connection')
    : undefined;
}

function connection(address: CallableAddress): { socketPath: string } | { host: string; port: number } {
  if (address.kind === 'unix') return { socketPath: address.path };
  return { host: callableHost(address.host), port: address.port };
}

/** A wildcard address cannot be called: loopback is one of the addresses it stands for. */
export function callableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** The body of a response as text. Rejects in words when it is larger. */
export async function readWhole(response: IncomingMessage, maxBytes = LARGEST_RESPONSE_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new Error('the answer of the gateway is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
