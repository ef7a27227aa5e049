// The deliberate faults of the token endpoint, one branch each. The switch board decides which one acts.

import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { SandboxRequest } from './events.ts';
import { send } from './exchange.ts';
import type { SandboxState } from './state.ts';
import { formatRetryAfter, type Switches } from './switches.ts';

type Fault = NonNullable<Switches['tokenEndpoint']>;

const DEFAULT_DELAY_MS = 1000;
const HUGE_BYTES = 20 * 1024 * 1024;
const HTML = '<!doctype html><title>Maintenance</title><p>Please come back later.';

/** Applies a fault that comes before any grant. True when it has answered the request or closed the connection. */
export async function answerBeforeGrant(
  sandbox: SandboxState,
  res: ServerResponse,
  record: SandboxRequest,
  fault: Fault,
  gone: AbortSignal,
): Promise<boolean> {
  const retryAfter = formatRetryAfter(fault, sandbox.clock.now());
  if (retryAfter !== undefined) res.setHeader('Retry-After', retryAfter);
  switch (fault.fault) {
    case 'down':
      res.socket?.destroy();
      return true;
    case 'hang':
      await sandbox.holding.held(gone, () => sandbox.events.emitter.emit('held', record));
      return false;
    case 'slow':
      await sandbox.holding.delay(fault.delayMs ?? DEFAULT_DELAY_MS, gone);
      return false;
    case 'status':
      await send(res, fault.status ?? 500, 'text/plain', Buffer.from('the simulation was told to fail'));
      return true;
    case 'empty':
      await send(res, 200, 'application/json', Buffer.alloc(0));
      return true;
    case 'html':
      await send(res, 200, 'text/html', Buffer.from(HTML));
      return true;
    case 'malformed':
      await send(res, 200, 'application/json', Buffer.from('{"access_token": "'));
      return true;
    default:
      return false;
  }
}

/** Answers with the reply of a grant that was carried out, damaged as the fault says. */
export async function answerReply(
  sandbox: SandboxState,
  res: ServerResponse,
  reply: object,
  fault: Fault | undefined,
  gone: AbortSignal,
): Promise<void> {
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  switch (fault?.fault) {
    case 'lost':
      res.socket?.destroy();
      return;
    case 'cut':
      return send(res, 200, 'application/json', json(reply), true);
    case 'gzip':
      res.setHeader('Content-Encoding', 'gzip');
      return send(res, 200, 'application/json', gzipSync(json(reply)));
    case 'huge':
      return send(res, 200, 'application/json', json({ ...reply, padding: 'x'.repeat(fault.bytes ?? HUGE_BYTES) }));
    case 'no-token':
      return send(res, 200, 'application/json', json({ ...reply, access_token: undefined }));
    case 'line-break':
      return send(res, 200, 'application/json', json({ ...reply, access_token: 'broken\r\nX-Injected: yes' }));
    case 'drip':
      return drip(sandbox, res, json(reply), fault.delayMs ?? DEFAULT_DELAY_MS, gone);
    default:
      return send(res, 200, 'application/json', json(reply));
  }
}

async function drip(
  sandbox: SandboxState,
  res: ServerResponse,
  body: Buffer,
  delayMs: number,
  gone: AbortSignal,
): Promise<void> {
  res.setHeader('Content-Type', 'application/json');
  res.setHeader('Content-Length', body.length);
  res.flushHeaders();
  for (let at = 0; at < body.length; at++) {
    await sandbox.holding.delay(delayMs, gone);
    res.write(body.subarray(at, at + 1));
  }
  res.end();
}
