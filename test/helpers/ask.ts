// One request to a listener of any kind: plain or TLS, with or without a certificate, over TCP or a Unix socket, on a
// connection of its own.

import { once } from 'node:events';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { type Agent, request as tlsRequest } from 'node:https';

/** What is asked. `url` is an address as the gateway tells it; its certificate is not looked at. */
export interface Question {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly certificate?: { readonly key: string; readonly cert: string };
  /** Keeps the connection. */
  readonly agent?: Agent;
}

/** What was answered; 101 for an upgrade. */
export interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly body: string;
}

/** Rejects when no answer comes. */
export async function askAt(
  url: string,
  { method = 'GET', path = '/api/v2/users', headers = {}, body = '', ...more }: Question = {},
): Promise<Answer> {
  const isUnix = url.startsWith('unix:');
  const { hostname, port } = isUnix ? { hostname: '127.0.0.1', port: '' } : new URL(url);
  const host = hostname === '0.0.0.0' ? '127.0.0.1' : hostname.replace(/[[\]]/g, '');
  const where = isUnix ? { socketPath: url.slice('unix:'.length) } : { host, port };
  const send = url.startsWith('https:') ? tlsRequest : plainRequest;
  const request = send({
    ...where,
    ...more.certificate,
    method,
    path,
    headers,
    agent: more.agent ?? false,
    rejectUnauthorized: false,
  });
  const upgraded = new Promise<null>((resolve) => request.once('upgrade', () => resolve(null)));
  const answered = once(request, 'response') as Promise<[IncomingMessage]>;
  request.end(body);
  const [answer] = (await Promise.race([answered, upgraded])) ?? [];
  if (answer === undefined) return { status: 101, code: undefined, body: '' };
  let text = '';
  for await (const chunk of answer) text += chunk;
  return { status: answer.statusCode ?? 0, code: answer.headers['x-gateway-error'] as string | undefined, body: text };
}
