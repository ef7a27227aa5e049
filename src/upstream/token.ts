// The layer that puts the token on a call and meets a 401 with one renewal and one replay (docs/tokens.md).

import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';
import type { Token } from '../auth/credentials/token-source.ts';
import { type Clock, withDeadline } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { noteRetry } from '../logging/exchange-record.ts';
import { type Send, type UpstreamRequest, type UpstreamResponse, waitFor, waitLeftMs } from './call.ts';
import { TOKEN_ENDED } from './response.ts';

/** Of an answer that the gateway must understand, so much is read and decoded in a copy. */
const INSPECTED_BYTES = 64 * 1024;
/** Its body is waited for so long, however late its head came. */
const SHORTEST_READ_MS = 1_000;

/** 401 codes of the platform that speak of the token; any other code with a 401 is not cured by a new one. */
const TOKEN_CODES = new Set(['authentication.required', 'bad.credentials', 'credentials.expired']);

/**
 * What the layer is made of. `routeOf` gives a target's route template: what is refused on two of them is not the
 * routes' fault.
 */
export interface TokenLayerDeps {
  readonly clock: Clock;
  readonly routeOf: (target: string) => string;
}

/**
 * Wraps `send`: no call leaves without a valid token; a 401 about the token costs one renewal and, where the body
 * allows, one replay.
 */
export function withToken(send: Send, { clock, routeOf }: TokenLayerDeps): Send {
  return async (request) => {
    const response = await sendWithToken(send, request, clock);
    if (response.statusCode !== 401) return response;
    // What breaks off has no code that could be read; where the answer is passed on the failure shows again.
    const code = await platformCode(response, clock, waitLeftMs(request, clock)).catch(() => null);
    if (code !== null && !TOKEN_CODES.has(code)) return response;
    const refused = request.token as Token;
    // The answer to HEAD has no body, so nobody can tell what it speaks of.
    const route = request.method === 'HEAD' ? null : routeOf(request.target);
    if (!request.source.invalidate(refused, route) || !request.body.canReplay) return response;
    response.discard();
    await awaitToken(request, clock, (withinMs) => request.source.successor(refused, withinMs));
    noteRetry(request.record, '401');
    return sendWithToken(send, request, clock);
  };
}

/** Sends with the present token, and with the next one where that ended before there was a connection to send it on. */
async function sendWithToken(send: Send, request: UpstreamRequest, clock: Clock): Promise<UpstreamResponse> {
  for (;;) {
    const token =
      request.source.current() ?? (await awaitToken(request, clock, (withinMs) => request.source.token(withinMs)));
    try {
      return await sendWith(send, request, token);
    } catch (error) {
      if (error !== TOKEN_ENDED) throw error;
    }
  }
}

function sendWith(send: Send, request: UpstreamRequest, token: Token): Promise<UpstreamResponse> {
  request.token = token;
  request.headers[request.headers.length - 1] = token.authorization;
  request.record.tokenFingerprint = token.fingerprint;
  return send(request);
}

/**
 * Waits for a token as long as the caller stays and `total_wait` lasts; the renewal itself belongs to no caller and
 * goes on.
 */
async function awaitToken(
  request: UpstreamRequest,
  clock: Clock,
  obtain: (withinMs: number) => Promise<Token>,
): Promise<Token> {
  const startedAt = performance.now();
  const late = () =>
    new GatewayError(
      'gateway.credential.timeout',
      `no token for credential ${request.record.credential} came before timeouts.total_wait ended: try again`,
    );
  try {
    return await waitFor(request, clock, obtain(waitLeftMs(request, clock)), late);
  } finally {
    request.record.tokenWaitMs += performance.now() - startedAt;
  }
}

/**
 * The platform's error code of an answer, or null when it has none that can be read. Waits and rejects as
 * `platformErrorBody` does.
 */
export async function platformCode(response: UpstreamResponse, clock: Clock, waitMs: number): Promise<string | null> {
  const body = await platformErrorBody(response, clock, waitMs);
  return typeof body?.code === 'string' ? body.code : null;
}

/**
 * The platform's error body (message, code, limit…) of an answer of at most 64 KiB, decoded in a copy; null when it is
 * not one. Leaves the body whole for whoever sends it on. Rejects when it breaks off, or has not come within `waitMs`:
 * its caller is not held up for it any longer.
 */
export async function platformErrorBody(
  response: UpstreamResponse,
  clock: Clock,
  waitMs: number,
): Promise<Record<string, unknown> | null> {
  const late = () => new GatewayError('gateway.upstream.timeout', 'the body of the answer did not come in time');
  const { bytes, complete } = await withDeadline(
    clock,
    Math.max(waitMs, SHORTEST_READ_MS),
    late,
    response.peek(INSPECTED_BYTES),
  );
  if (!complete) return null;
  try {
    const decoded = await decode(bytes, headerValue(response, 'content-encoding'));
    const parsed: unknown = JSON.parse(decoded.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : null;
  } catch {
    // Not JSON, or not the encoding it claims: then there is no code to be read, which has a meaning of its own.
    return null;
  }
}

const DECODERS: Record<string, (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>> = {
  gzip: promisify(gunzip),
  br: promisify(brotliDecompress),
  deflate: promisify(inflate),
};

async function decode(bytes: Buffer, encoding: string | null): Promise<Buffer> {
  if (encoding === null || encoding === 'identity') return bytes;
  const decoder = DECODERS[encoding.trim().toLowerCase()];
  if (!decoder) throw new Error('an encoding that cannot be read here');
  return decoder(bytes, { maxOutputLength: INSPECTED_BYTES });
}

/** The first value of a header of the answer; the name in lower case. */
export function headerValue(response: UpstreamResponse, name: string): string | null {
  const { rawHeaders } = response;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const field = rawHeaders[i] as Buffer;
    if (field.length === name.length && field.toString('latin1').toLowerCase() === name)
      return (rawHeaders[i + 1] as Buffer).toString('latin1');
  }
  return null;
}
