// One HTTP exchange with the simulation: reads a bounded body, and writes a response whole or cut off. It knows no
// routes and decides no status.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { PlatformError } from './faults.ts';

/** The platform's own limit for request bodies, in bytes. */
const MAX_BODY_BYTES = 512_000;

/** The smallest response that is compressed, bytes. */
const GZIP_FROM_BYTES = 1024;

/** Added to every answer, so that nobody takes the simulation for the platform. */
export const SIMULATION_HEADER = { name: 'X-Simulated-By', value: 'genesys-cloud-gateway sandbox' } as const;

/** Aborts when the client's connection is gone before the answer was complete. */
export function createGoneSignal(res: ServerResponse): AbortSignal {
  const controller = new AbortController();
  res.once('close', () => {
    if (!res.writableFinished) controller.abort();
  });
  return controller.signal;
}

/**
 * Reads the whole body. Throws what `tooLarge` gives once more than `limit` bytes were announced or came, and discards
 * the rest.
 */
export async function readBody(
  req: IncomingMessage,
  limit = MAX_BODY_BYTES,
  tooLarge: (bytes: string) => Error = createTooLarge,
): Promise<Buffer> {
  const announced = Number(req.headers['content-length'] ?? 0);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    if (announced > limit) throw tooLarge(String(announced));
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw tooLarge(`more than ${limit}`);
      chunks.push(chunk);
    }
  } finally {
    req.resume();
  }
  return Buffer.concat(chunks);
}

function createTooLarge(bytes: string): PlatformError {
  const message = `The request is over the size limit. Content-Length: ${bytes}, Maximum bytes: ${MAX_BODY_BYTES}`;
  return new PlatformError(413, 'request.entity.too.large', message);
}

/** Reads a JSON object. Throws `PlatformError` 415, 413 or 400. */
export async function readJson(req: IncomingMessage): Promise<Record<string, unknown>> {
  const type = req.headers['content-type'] ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new PlatformError(
      415,
      'unsupported.media.type',
      'Unsupported Media Type - Unsupported or incorrect media type.',
    );
  }
  const text = (await readBody(req)).toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Falls through: text that is no JSON is refused like JSON that is no object.
  }
  throw new PlatformError(400, 'bad.request', 'The request body is not a JSON object.');
}

/** Whether the client takes gzip. `gzip;q=0` does not. */
function acceptsGzip(req: IncomingMessage): boolean {
  const offers = String(req.headers['accept-encoding'] ?? '').split(',');
  return offers.some((offer) => /^\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*$)|$)/i.test(offer));
}

/** Writes a complete answer, or with `cut` the first half of one and then the end of the connection. */
export async function send(
  res: ServerResponse,
  status: number,
  type: string,
  body: Buffer,
  cut = false,
): Promise<void> {
  res.statusCode = status;
  res.setHeader('Content-Type', type);
  res.setHeader('Content-Length', body.length);
  if (!cut) {
    res.end(body);
    return;
  }
  res.write(body.subarray(0, Math.floor(body.length / 2)));
  await settle(res);
  res.socket?.destroy();
}

/** Sends JSON as `send` does, compressed when the client accepts gzip and the response is large enough. */
export async function sendJson(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  value: unknown,
  cut = false,
): Promise<void> {
  let body: Buffer = Buffer.from(JSON.stringify(value));
  res.setHeader('Vary', 'Accept-Encoding');
  if (body.length >= GZIP_FROM_BYTES && acceptsGzip(req)) {
    body = gzipSync(body);
    res.setHeader('Content-Encoding', 'gzip');
  }
  await send(res, status, 'application/json', body, cut);
}

/** Waits until what was written has been handed to the system, or the connection is gone. */
async function settle(res: ServerResponse): Promise<void> {
  res.flushHeaders();
  if (res.writableNeedDrain) await Promise.race([once(res, 'drain'), once(res, 'close')]);
  else await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Splits a raw target into its path and query, neither decoded. */
export function splitTarget(target: string): { path: string; query: URLSearchParams } {
  const mark = target.indexOf('?');
  return mark < 0
    ? { path: target, query: new URLSearchParams() }
    : { path: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) };
}
