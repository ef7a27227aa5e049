// Routes under /api/v2/sandbox, which the platform does not have: bytes in both directions, echo, any status. They are
// for tests of gateways and proxies. They keep no body in memory, and have no limit for request bodies.

import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { send } from '../exchange.ts';
import { PlatformError } from '../faults.ts';
import type { ApiCall, Route } from '../route-table.ts';

/** Octet `i` of the stream is `i % 251`; the block is a whole number of periods, so blocks can be repeated. */
const BLOCK = Buffer.from(Array.from({ length: 251 * 256 }, (_, index) => index % 251));
const MAX_SIZE = 8 * 1024 ** 3;

function* blocks(size: number): Generator<Buffer> {
  for (let left = size; left > 0; left -= BLOCK.length) yield left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left);
}

/** `size` octets with back-pressure; `chunked=1` leaves the length out. */
async function sendBytes({ query, req, res, cut }: ApiCall): Promise<void> {
  const size = Number(query.get('size') ?? '0');
  if (!Number.isInteger(size) || size < 0 || size > MAX_SIZE)
    throw new PlatformError(400, 'bad.request', 'size is not a number of bytes.');
  res.setHeader('Content-Type', 'application/octet-stream');
  if (query.get('chunked') !== '1') res.setHeader('Content-Length', size);
  if (req.method === 'HEAD') return void res.end();
  if (!cut) return pipeline(blocks(size), res);
  await pipeline(blocks(Math.floor(size / 2)), res, { end: false });
  res.socket?.destroy();
}

/** Counts and digests a request body of any size. */
async function digestBody({ req }: ApiCall): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Returns the request as it arrived, except the value of Authorization. */
async function echo(call: ApiCall): Promise<void> {
  const { req } = call;
  const body = await digestBody(call);
  const rawHeaders = req.rawHeaders.map((text, index, all) =>
    index % 2 === 1 && all[index - 1]?.toLowerCase() === 'authorization' ? '[withheld]' : text,
  );
  await call.reply(200, {
    method: req.method,
    target: req.url,
    httpVersion: req.httpVersion,
    rawHeaders,
    bodyBytes: body.bytes,
    bodySha256: body.sha256,
  });
}

/** Any final status. `location` and `retryAfter` become headers. */
async function sendStatus(call: ApiCall): Promise<void> {
  const { params, query, res } = call;
  const status = Number(params.code);
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw new PlatformError(400, 'bad.request', 'No such status.');
  for (const [name, value] of [
    ['Location', query.get('location')],
    ['Retry-After', query.get('retryAfter')],
  ] as const) {
    if (value === null) continue;
    if (!/^[\x20-\x7e]*$/.test(value)) throw new PlatformError(400, 'bad.request', `${name} is not printable.`);
    res.setHeader(name, value);
  }
  if (status >= 400) throw new PlatformError(status, `sandbox.status.${status}`, `Status ${status}, as asked for.`);
  await call.reply(status, [204, 205, 304].includes(status) ? undefined : { status });
}

/** Sends gzip whether or not the client accepts it. */
async function sendGzip({ res, cut }: ApiCall): Promise<void> {
  res.setHeader('Content-Encoding', 'gzip');
  await send(
    res,
    200,
    'application/json',
    gzipSync(JSON.stringify({ encoding: 'gzip', text: 'simulated '.repeat(200) })),
    cut,
  );
}

export const trafficRoutes: readonly Route[] = [
  { template: 'GET /api/v2/sandbox/bytes', handle: sendBytes },
  { template: 'HEAD /api/v2/sandbox/bytes', handle: sendBytes },
  { template: 'POST /api/v2/sandbox/sink', handle: async (call) => call.reply(200, await digestBody(call)) },
  { template: 'PUT /api/v2/sandbox/sink', handle: async (call) => call.reply(200, await digestBody(call)) },
  { template: 'GET /api/v2/sandbox/gzip', handle: sendGzip },
  ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].flatMap((method) => [
    { template: `${method} /api/v2/sandbox/echo`, handle: echo },
    { template: `${method} /api/v2/sandbox/echo/{rest}`, handle: echo },
    { template: `${method} /api/v2/sandbox/status/{code}`, handle: sendStatus },
  ]),
];
