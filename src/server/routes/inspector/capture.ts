// Headers and bodies of calls for a while: begun and ended by an administrator, seen by whoever looks.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { GatewayError } from '../../../errors.ts';
import { type CaptureOrder, LONGEST_CAPTURE_S, MOST_CAPTURED_CALLS } from '../../../inspector/capture.ts';
import type { CaptureState, Rights } from '../../../inspector/wire.ts';
import { readBodiesAsText } from '../access.ts';
import { auditChange, filterOf, sendInspection, type Viewer, viewerOf } from './viewer.ts';

/** Room for a filter. */
const LARGEST_BODY_BYTES = 8 * 1024;

/** Registers the routes. */
export function registerCapture(app: FastifyInstance): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_BODY_BYTES);
    scope.get('/-/capture', (request, reply) => {
      const { exchange, inspector, rights } = viewerOf(request);
      reply.hijack();
      sendInspection(exchange, JSON.stringify(captureSeenBy(rights, inspector.capture.state)));
    });
    scope.post('/-/capture', (request, reply) => {
      const { exchange, inspector } = mayCapture(request);
      const order = orderIn(jsonBody(request.body), exchange.caller.client?.name ?? null, exchange.gateway.clock.now);
      auditChange(exchange);
      const state = inspector.capture.start(order);
      reply.hijack();
      sendInspection(exchange, JSON.stringify(state));
    });
    scope.delete('/-/capture', (request, reply) => {
      const { exchange, inspector } = mayCapture(request);
      auditChange(exchange);
      const state = inspector.capture.stop();
      reply.hijack();
      sendInspection(exchange, JSON.stringify(state));
    });
  });
}

/** The state as it may be told: who asked for it is not for everybody to know, nor how many others call. */
export function captureSeenBy({ sees }: Pick<Rights, 'sees'>, state: CaptureState): CaptureState {
  return sees === 'all' ? state : { ...state, by: null, left: 0, kept: 0, missed: 0 };
}

function mayCapture(request: FastifyRequest): Viewer {
  const viewer = viewerOf(request);
  if (viewer.rights.capture) return viewer;
  throw new GatewayError(
    'gateway.client.forbidden',
    viewer.rights.sees === 'all'
      ? 'nothing is captured here: inspector.capture is none'
      : 'only a client with admin = true may capture headers and bodies',
  );
}

function orderIn(body: Readonly<Record<string, unknown>>, by: string | null, now: () => number): CaptureOrder {
  const { what, f = '', calls = 50, seconds = 60 } = body;
  if (what !== 'headers' && what !== 'bodies') throw invalid('what must be "headers" or "bodies"');
  if (typeof f !== 'string') throw invalid('f must be a filter, as text');
  if (!isWithin(calls, MOST_CAPTURED_CALLS)) throw invalid(`calls must be 1 to ${MOST_CAPTURED_CALLS}`);
  if (!isWithin(seconds, LONGEST_CAPTURE_S)) throw invalid(`seconds must be 1 to ${LONGEST_CAPTURE_S}`);
  const matches = filterOf(f, now) ?? (() => true);
  return { what, matches, calls, seconds, by };
}

function isWithin(value: unknown, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most;
}

/** The object of a body. Throws gateway.request.invalid for anything else. */
export function jsonBody(body: unknown): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = typeof body === 'string' ? JSON.parse(body) : null;
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Readonly<Record<string, unknown>>;
  } catch {
    // It is told below.
  }
  throw invalid('the body must be a JSON object');
}

/** What a body says that cannot be done. */
export function invalid(message: string): GatewayError {
  return new GatewayError('gateway.request.invalid', message, { statusCode: 400 });
}
