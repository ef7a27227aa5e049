// Speaks with the admin listener of the running gateway, for the commands that do. Loads node:http and nothing of the server.

import { type IncomingMessage, request } from 'node:http';
import { request as requestTls } from 'node:https';
import type { GatewayConfig, ListenAddress } from '../config/gateway-config.ts';
import { LARGEST_PEM_BYTES } from '../config/pem-file.ts';
import { onOneLine } from '../config/problem.ts';
import { readPlainFileSync } from '../fs/plain-file.ts';
import { EXIT, type Io } from './io.ts';

/** What the gateway answered. `error` is null for 2xx; its message is cleaned for a terminal. */
export interface AdminAnswer {
  readonly body: unknown;
  readonly error: { readonly status: number; readonly code: string; readonly message: string } | null;
}

/** Where to ask, or why nobody can be asked. */
export type AdminRequest = (method: 'GET' | 'POST', path: string, body?: string) => Promise<AdminAnswer | null>;

const TIMEOUT_MS = 30_000;
const LARGEST_ANSWER_BYTES = 8 * 1024 * 1024;

/** Asks with the secret of the first client with `admin` that the configuration holds, else with $GCG_ADMIN_KEY. Null: no gateway answers there. */
export function createAdminRequest(config: GatewayConfig, io: Pick<Io, 'env'>): AdminRequest {
  const address = config.server.adminListen.find(({ kind }) => kind !== 'fd');
  const key = adminKey(config) ?? io.env.GCG_ADMIN_KEY;
  return async (method, path, body) => {
    if (address === undefined) return null;
    const headers = { 'X-Gateway-Request': '1', ...(key && { 'X-Gateway-Key': key }), ...(body !== undefined && { 'Content-Type': 'text/plain' }) };
    const response = await send(address, config, { method, path, headers }, body).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') return null;
      throw error;
    });
    if (response === null || response.headers['x-gateway-request-id'] === undefined) {
      response?.destroy();
      return null;
    }
    return readAnswer(response);
  };
}

/** The exit code that fits an error: 77 refused, 69 unavailable, 1 otherwise. */
export function exitCodeOf({ status, code }: { status: number; code: string }): number {
  if (code === 'gateway.credential.rejected' || code === 'gateway.login.required' || status === 401 || status === 403) return EXIT.refused;
  return status >= 500 ? EXIT.unavailable : EXIT.failure;
}

function adminKey({ clients }: GatewayConfig): string | undefined {
  const admin = clients.find(({ isAdmin, secret }) => isAdmin && secret !== null);
  return admin?.secret?.read().reveal();
}

function send(
  address: ListenAddress,
  { server }: GatewayConfig,
  head: { method: string; path: string; headers: Record<string, string> },
  body: string | undefined,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { ...head, timeout: TIMEOUT_MS };
    const begin = () => {
      if (address.kind === 'unix') return request({ ...options, socketPath: address.path, headers: { host: 'localhost', ...head.headers } });
      if (address.kind === 'fd') throw new Error('a descriptor has no address');
      const place = { host: address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host, port: address.port };
      if (server.tls === null) return request({ ...options, ...place });
      // The very certificate of this configuration is asked for, whatever name is on it and whoever issued it.
      const trust = {
        ca: readPlainFileSync(server.tls.certFile, LARGEST_PEM_BYTES).bytes,
        allowPartialTrustChain: true,
        checkServerIdentity: () => undefined,
      };
      return requestTls({ ...options, ...place, ...trust });
    };
    const asking = begin();
    asking.on('timeout', () => asking.destroy(new Error(`the gateway did not answer within ${TIMEOUT_MS / 1000} s`)));
    asking.on('error', reject);
    asking.on('response', resolve);
    asking.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<AdminAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_ANSWER_BYTES) throw new Error('the answer of the gateway is too large');
    chunks.push(chunk);
  }
  const status = response.statusCode ?? 0;
  const text = Buffer.concat(chunks).toString('utf8');
  const body = parse(text);
  if (status >= 200 && status < 300) return { body, error: null };
  const { code, message } = (body ?? {}) as { code?: unknown; message?: unknown };
  return { body, error: { status, code: String(code ?? ''), message: onOneLine(String(message ?? `status ${status}`)) } };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not ours: the status alone is told.
    return null;
  }
}
