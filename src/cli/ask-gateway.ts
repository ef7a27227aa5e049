// One request to the running gateway. Whatever listens there may be another program, or may never come to an end: time
// and size have a bound.

import { type IncomingMessage, type OutgoingHttpHeaders, type RequestOptions, request } from 'node:http';
import { request as requestTls, type RequestOptions as TlsOptions } from 'node:https';
import type { ListenAddress } from '../config/gateway-config.ts';

/** What is asked, of whom, and how long that may take from the connection to the last octet. */
export interface Question {
  readonly address: ListenAddress;
  /** How its certificate is looked at; null where the listener is plain. */
  readonly tls: Pick<TlsOptions, 'ca' | 'allowPartialTrustChain' | 'checkServerIdentity' | 'rejectUnauthorized'> | null;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | undefined;
  readonly timeoutMs: number;
}

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** The largest answer is a status document with every session's limits. */
const LARGEST_ANSWER_BYTES = 8 * 1024 * 1024;

/** Null: nothing listens there, or what answers is no gateway of ours. Rejects, in words, when no whole answer came. */
export async function askGateway(question: Question): Promise<Answer | null> {
  const { timeoutMs } = question;
  const deadline = AbortSignal.timeout(Math.max(1, Math.round(timeoutMs)));
  try {
    const response = await send(question, deadline);
    if (response === null) return null;
    return { status: response.statusCode ?? 0, text: await readWhole(response) };
  } catch (error) {
    if (deadline.aborted) throw new Error(`the gateway did not answer within ${timeoutMs / 1000} s`);
    throw error;
  }
}

function send(
  { address, tls, method, path, headers, body }: Question,
  signal: AbortSignal,
): Promise<IncomingMessage | null> {
  return new Promise((resolve, reject) => {
    const options: RequestOptions = { method, path, signal, agent: false, ...connection(address) };
    options.headers = { ...(address.kind === 'unix' && { host: 'localhost' }), ...headers };
    const asking = tls === null ? request(options) : requestTls({ ...options, ...tls });
    asking.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNREFUSED' || error.code === 'ENOENT' ? resolve(null) : reject(error),
    );
    asking.on('response', (response) => {
      if (response.headers['x-gateway-request-id'] !== undefined) return resolve(response);
      asking.destroy();
      resolve(null);
    });
    // Nobody asked for another protocol.
    asking.on('upgrade', (_response, socket) => {
      socket.destroy();
      resolve(null);
    });
    asking.end(body);
  });
}

function connection(address: ListenAddress): { socketPath: string } | { host: string; port: number } {
  if (address.kind === 'unix') return { socketPath: address.path };
  if (address.kind === 'fd') throw new Error('a descriptor has no address');
  // A wildcard is no address to call.
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host;
  return { host, port: address.port };
}

async function readWhole(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_ANSWER_BYTES) throw new Error('the answer of the gateway is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
