// What happened, as events a test can wait for instead of sleeping: each request when it arrives and when it ends.
// `rawHeaders` carries what the client sent, credentials included: for assertions, never for a log.

import { EventEmitter } from 'node:events';

/** One request to the simulation. `status` is 0 when the connection was closed before an answer was complete. */
export interface SandboxRequest {
  id: number;
  kind: 'token' | 'login' | 'api' | 'socket' | 'control' | 'other';
  method: string;
  /** The request target as it came. */
  target: string;
  rawHeaders: readonly string[];
  correlationId: string;
  grant?: string;
  clientId?: string;
  /** Serial number of the access token that was shown, or that was given out. */
  tokenSerial?: number;
  status?: number;
}

/**
 * `request` on arrival, `held` when it begins to wait for `release`, `answer` when the exchange has ended in any way;
 * `message`, `pong` and `socketClose` for what a channel's socket received.
 */
interface SandboxEventMap {
  request: [SandboxRequest];
  held: [SandboxRequest];
  answer: [SandboxRequest];
  message: [{ channelId: string; text: string }];
  pong: [{ channelId: string; payload: Buffer }];
  socketClose: [{ channelId: string; code: number; reason: string }];
}

/** The recent requests, and waiting for coming ones. */
export interface EventLog {
  readonly emitter: EventEmitter<SandboxEventMap>;
  /** The latest 1,000 requests, oldest first. */
  readonly recent: readonly SandboxRequest[];
  record(request: Omit<SandboxRequest, 'id'>): SandboxRequest;
  /** Resolves with the next event that matches; looks only forward. Rejects when the simulation closes. */
  next(event: 'request' | 'held' | 'answer', matches?: (request: SandboxRequest) => boolean): Promise<SandboxRequest>;
  close(): void;
}

const KEPT = 1000;
const MAX_WAITERS = 10_000;

export function createEventLog(): EventLog {
  const emitter = new EventEmitter<SandboxEventMap>();
  emitter.setMaxListeners(MAX_WAITERS);
  const recent: SandboxRequest[] = [];
  const waiting = new Set<() => void>();
  let id = 0;
  return {
    emitter,
    recent,
    record(fields) {
      const request: SandboxRequest = { id: ++id, ...fields };
      recent.push(request);
      if (recent.length > KEPT) recent.shift();
      emitter.emit('request', request);
      return request;
    },
    next(event, matches = () => true) {
      return new Promise((resolve, reject) => {
        const listener = (request: SandboxRequest) => {
          if (!matches(request)) return;
          forget();
          resolve(request);
        };
        const abandon = () => {
          forget();
          reject(new Error(`the simulation closed before the awaited ${event}`));
        };
        const forget = () => {
          emitter.off(event, listener);
          waiting.delete(abandon);
        };
        waiting.add(abandon);
        emitter.on(event, listener);
      });
    },
    close() {
      for (const abandon of waiting) abandon();
    },
  };
}
