// What every answer of the gateway's own must look like on the wire, whoever made it.

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
  t.match(JSON.parse(answer.body), { message: /./, code, status: statusCode, contextId: id, details: [], errors: [] }, 'the body');
}
