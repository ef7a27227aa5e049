// Notification sockets for tests: a channel made through a gateway, npm ws as its client, and whatever is said on it, in order.

import { once } from 'node:events';
import WebSocket, { type ClientOptions } from 'ws';
import type { TearsDown } from './egress.ts';

/** A channel as the API describes it. */
export interface MadeChannel {
  readonly id: string;
  readonly connectUri: string;
  readonly expires: string;
}

/** Makes a channel through the gateway at `url`. */
export async function makeChannel(url: string, headers: Record<string, string> = {}, prefix = ''): Promise<MadeChannel> {
  const answer = await fetch(`${url}${prefix}/api/v2/notifications/channels`, { method: 'POST', headers });
  if (answer.status !== 200) throw new Error(`no channel: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as MadeChannel;
}

/** Opens a socket that ends with the test; rejects with what `refusalOf` understands when it is refused. */
export async function openWebSocket(t: TearsDown, uri: string, options: ClientOptions = {}): Promise<WebSocket> {
  const socket = new WebSocket(uri, options);
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

/** How the upgrade is refused: status, X-Gateway-Error, body. */
export function refusalOf(uri: string, options: ClientOptions = {}): Promise<{ status: number; code: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(uri, options);
    socket.on('error', reject);
    socket.on('open', () => {
      socket.terminate();
      resolve({ status: 101, code: undefined, body: '' });
    });
    socket.on('unexpected-response', async (_request, answer) => {
      let body = '';
      for await (const chunk of answer) body += chunk;
      resolve({ status: answer.statusCode ?? 0, code: answer.headers['x-gateway-error'] as string | undefined, body });
    });
  });
}

/** The next messages of a socket, parsed, from now on. */
export function nextMessages(socket: WebSocket, count: number): Promise<unknown[]> {
  return new Promise((resolve) => {
    const messages: unknown[] = [];
    socket.on('message', function take(data) {
      messages.push(JSON.parse(data.toString()));
      if (messages.length < count) return;
      socket.off('message', take);
      resolve(messages);
    });
  });
}

/** Resolves with the code and the words of a socket's end. */
export async function closeOf(socket: WebSocket): Promise<{ code: number; reason: string }> {
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
  return { code, reason: reason.toString() };
}
