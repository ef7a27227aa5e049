// Opens the raw connection of one route to the target. TLS to the target comes on top of it, elsewhere.

import type { LookupFunction, Socket } from 'node:net';
import type { Attempt } from './attempt.ts';
import { upstreamError } from './dial-error.ts';
import type { Route } from './route.ts';
import { authority, type Target } from './target.ts';
import { openTcp } from './tcp.ts';

export interface RouteContext {
  readonly attempt: Attempt;
  readonly lookup: LookupFunction | undefined;
}

/** Resolves with a connection whose other end is the target. Rejects with GatewayErrors only. */
export async function openRoute(route: Route, target: Target, { attempt, lookup }: RouteContext): Promise<Socket> {
  if (route.kind !== 'direct') throw new Error('not yet');
  attempt.waitFor('gateway.upstream.timeout', authority(target.host, target.port));
  try {
    return await openTcp({ host: target.host, port: target.port, signal: attempt.signal, lookup });
  } catch (error) {
    throw upstreamError(error as Error, target);
  }
}
