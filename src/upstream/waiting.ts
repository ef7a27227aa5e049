// Waits that end when the caller leaves: nobody is kept in memory, or in a queue, for whom nobody waits.

import type { Clock } from '../clock.ts';
import type { UpstreamRequest } from './call.ts';
import { CALLER_LEFT } from './response.ts';

/** Resolves after `ms`; rejects at once (see `isCallerGone`) when the caller leaves. */
export function pause(request: UpstreamRequest, clock: Clock, ms: number): Promise<void> {
  const { caller } = request;
  return new Promise((resolve, reject) => {
    if (caller.left) return reject(CALLER_LEFT);
    request.body.readAhead?.();
    const timer = clock.after(ms, () => {
      caller.onLeave = null;
      resolve();
    });
    caller.onLeave = () => {
      timer.cancel();
      reject(CALLER_LEFT);
    };
  });
}

/** Settles as `work` does, or rejects with `late()` at the call's `waitUntil`, or at once when the caller leaves. `work` itself goes on. */
export function waitFor<T>(request: UpstreamRequest, clock: Clock, work: Promise<T>, late: () => Error): Promise<T> {
  const { caller, waitUntil } = request;
  return new Promise((resolve, reject) => {
    const timer = waitUntil === undefined ? null : clock.after(waitUntil - clock.monotonic(), () => reject(late()));
    const leave = () => {
      timer?.cancel();
      reject(CALLER_LEFT);
    };
    if (caller.left) leave();
    else caller.onLeave = leave;
    work.finally(() => timer?.cancel()).then(resolve, reject);
  });
}

/** Milliseconds that this call may still spend on waiting; not negative. */
export function waitLeftMs(request: UpstreamRequest, clock: Clock): number {
  return request.waitUntil === undefined ? Number.POSITIVE_INFINITY : Math.max(0, request.waitUntil - clock.monotonic());
}
