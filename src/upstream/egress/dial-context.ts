// One dial: its deadline, which knows what is waited for, and the TCP connection. Proxies and TLS are other steps of
// it.

import { isIP, type LookupFunction, connect as netConnect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { type ErrorCode, GatewayError } from '../../errors.ts';
import { ConnectionTimes } from './connection-times.ts';

/** The dial that a step belongs to, as the step sees it. */
export interface DialContext {
  /** Aborted when the deadline has passed or the egress is closed; every socket of the dial must go then. */
  readonly signal: AbortSignal;
  /**
   * Names what is waited for from now on: `code` is the error's should time run out, `what` continues "no answer in
   * time from …".
   */
  waitFor(code: ErrorCode, what: string): void;
  /** Milliseconds left, never negative. */
  remainingMs(): number;
  /** Where the times of its phases are noted. */
  readonly times: ConnectionTimes;
}

/** What bounds a dial. `times`: those of the dial that this one is a part of. */
interface DialLimits {
  readonly clock: Clock;
  readonly limitMs: number;
  readonly closed: AbortSignal;
  readonly times?: ConnectionTimes;
}

/**
 * Runs `work` with `limitMs` to finish in. Rejects with a GatewayError at the deadline even when `work` never settles,
 * and destroys a socket that `work` yields later. `closed` (also a signal) ends it early.
 */
export function withinDeadline<T extends Duplex>(
  { clock, limitMs, closed, times = new ConnectionTimes(clock.monotonic) }: DialLimits,
  work: (dial: DialContext) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    const startedAt = clock.monotonic();
    let waiting: { code: ErrorCode; what: string } = { code: 'gateway.upstream.timeout', what: 'the upstream' };
    let isOver = false;
    const over = (settle: () => void) => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      closed.removeEventListener('abort', shut);
      settle();
    };
    const giveUp = (error: GatewayError) =>
      over(() => {
        reject(error);
        controller.abort();
      });
    const shut = () => giveUp(new GatewayError('gateway.draining', 'the gateway is shutting down'));
    const timer = clock.after(limitMs, () =>
      giveUp(new GatewayError(waiting.code, `no answer within ${limitMs} ms (timeouts.connect) from ${waiting.what}`)),
    );
    closed.addEventListener('abort', shut);
    if (closed.aborted) return shut();
    const dial: DialContext = {
      signal: controller.signal,
      waitFor: (code, what) => {
        waiting = { code, what };
      },
      remainingMs: () => Math.max(0, limitMs - (clock.monotonic() - startedAt)),
      times,
    };
    work(dial).then(
      (socket) => {
        if (!isOver) return over(() => resolve(socket));
        socket.on('error', () => {});
        socket.destroy();
      },
      (error) => over(() => reject(error)),
    );
  });
}

/**
 * Destroys `socket` when `signal` is aborted, without an error event nobody listens for. Returns what ends this watch.
 */
export function destroyOnAbort(signal: AbortSignal, socket: Duplex): () => void {
  const destroy = () => socket.destroy();
  if (signal.aborted) destroy();
  signal.addEventListener('abort', destroy, { once: true });
  return () => signal.removeEventListener('abort', destroy);
}

/** What a TCP connection is opened with. */
export interface TcpOptions {
  readonly host: string;
  readonly port: number;
  readonly dial: Pick<DialContext, 'signal' | 'times'>;
  readonly lookup?: LookupFunction | undefined;
}

/**
 * Resolves with a connected socket, which is the caller's from then on. Aborting destroys a socket that is not there
 * yet. Its errors end no process.
 */
export function openTcp({ host, port, dial, lookup }: TcpOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { signal, times } = dial;
    times.enter(isIP(host) === 0 ? 'dns' : 'tcp');
    const socket = netConnect({ host, port, autoSelectFamily: true, ...(lookup && { lookup }) });
    const release = destroyOnAbort(signal, socket);
    const failed = (error: Error) => {
      release();
      reject(error);
    };
    // The first of the two is for life: between two owners nobody else listens, and an error that nobody hears ends the
    // process.
    socket.on('error', () => {});
    socket.once('error', failed);
    socket.once('close', () => failed(Object.assign(new Error('closed'), { code: 'ECONNABORTED' })));
    socket.once('lookup', (error: Error | null) => {
      if (!error) times.enter('tcp');
    });
    socket.once('connect', () => {
      release();
      socket.removeAllListeners('close');
      socket.off('error', failed);
      resolve(socket);
    });
  });
}
