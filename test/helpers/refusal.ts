// What every answer of the gateway's own must look like on the wire, whoever made it.

import { once } from 'node:events';
import { connect } from 'node:net';
import type { Test } from 'tap';
import { headerOf, parseAnswer } from './raw-http.ts';

/** Asserts that `received` is one error of the gateway's own, and nothing after it. */
export function isRefusal(t: Test, received: string, statusCode: number, code = 'gateway.request.invalid'): void {
  const answer = parseAnswer(received);
  t.equal(answer.status, statusCode, `status of ${JSON.stringify(received.slice(0, 60))}`);
  t.equal(headerOf(answer, 'X-Gateway-Error'), code, 'X-Gateway-Error');
  const id = headerOf(answer, 'X-Gateway-Request-Id') ?? '';
  t.match(id, /^[0-9a-f-]{36}$/, 'X-Gateway-Request-Id');
  t.equal(headerOf(answer, 'Content-Type'), 'application/json');
  t.equal(headerOf(answer, 'Content-Length'), String(answer.body.length), 'one answer, and nothing after it');
  t.match(
    JSON.parse(answer.body),
    { message: /./, code, status: statusCode, contextId: id, details: [], errors: [] },
    'the body',
  );
}

/**
 * Sends `text` and resolves with everything that came back until the gateway closed; our side is closed once an answer
 * has begun.
 */
export async function refusedBy(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('error', () => {}).setEncoding('latin1');
  socket.on('data', (part: string) => {
    received += part;
    socket.end();
  });
  socket.write(Buffer.from(text, 'latin1'));
  await once(socket, 'close');
  return received;
}
