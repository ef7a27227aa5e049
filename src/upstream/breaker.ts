// Stops calls to a host that cannot be reached, before each of them waits for a dial of its own to fail. One state per origin.
// Only failures to connect count: a host that answers, however badly, is there.

import type { Clock } from '../clock.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { Send } from './call.ts';
import { isCallerGone, isConnectFailure, wasNeverSent } from './dispatcher.ts';

/** `open`: calls are shed; `recovering`: a growing number passes. */
type BreakerState = 'closed' | 'open' | 'recovering';

/** `random` is 0 (inclusive) to 1 (exclusive). `dialMs` bounds a dial (`timeouts.connect`). */
export interface BreakerDeps {
  readonly clock: Clock;
  readonly dialMs: number;
  readonly random: () => number;
  /** Told when the state of an origin changes; must not throw. */
  readonly onChange?: (origin: string, state: BreakerState) => void;
}

/** So many dials must fail in a row. */
const THRESHOLD = 5;
const SHORTEST_INTERVAL_MS = 1_000;
const LONGEST_INTERVAL_MS = 30_000;
/** A probe that is under way for longer than any dial takes is connected: the next one need not wait for its answer. */
const SHORTEST_PROBE_MS = 10_000;
const BEYOND_DIAL_MS = 1_000;
/** After the first success so many calls may run; the number doubles with each round of successes. */
const FIRST_ROUND = 2;
const FULL_FLOW = 64;

/** A certificate or a proxy that says no is worth its own message each time. */
const COUNTED_CODES = new Set(['gateway.upstream.unreachable', 'gateway.upstream.timeout', 'gateway.proxy.timeout', 'gateway.proxy.refused']);

interface OriginState {
  phase: BreakerState;
  failuresInRow: number;
  intervalMs: number;
  /** Monotonic. */
  nextProbeAt: number;
  /** Monotonic; null while no probe runs. */
  probeStartedAt: number | null;
  /** While recovering: how many may run, and do, of those that began since. */
  permits: number;
  running: number;
  /** Counts the recoveries: calls of an earlier one are not among the running. */
  round: number;
  lastFailure: string;
}

/**
 * Wraps `send`. After five failed dials in a row calls are answered 503 gateway.upstream.unavailable, without a dial, save one probe
 * at a time at growing intervals (1 to 30 s). The first that gets through opens the way for a few, these for more.
 */
export function withBreaker(send: Send, { clock, random, dialMs, onChange }: BreakerDeps): Send {
  const probeMs = Math.max(SHORTEST_PROBE_MS, dialMs + BEYOND_DIAL_MS);
  const states = new Map<string, OriginState>();

  const enter = (state: OriginState, phase: OriginState['phase'], origin: string) => {
    state.phase = phase;
    onChange?.(origin, phase);
  };

  const stateOf = (origin: string): OriginState => {
    let state = states.get(origin);
    if (state === undefined) {
      state = {
        phase: 'closed',
        failuresInRow: 0,
        intervalMs: 0,
        nextProbeAt: 0,
        probeStartedAt: null,
        permits: 0,
        running: 0,
        round: 0,
        lastFailure: '',
      };
      states.set(origin, state);
    }
    return state;
  };

  const failed = (state: OriginState, origin: string, error: GatewayError, isProbe: boolean) => {
    state.failuresInRow += 1;
    state.lastFailure = error.message;
    if (state.phase === 'closed' && state.failuresInRow < THRESHOLD) return;
    if (state.phase === 'open' && !isProbe) return;
    const isFirst = state.phase !== 'open';
    state.intervalMs = isFirst ? SHORTEST_INTERVAL_MS : Math.min(LONGEST_INTERVAL_MS, state.intervalMs * 2);
    // Half of it is jitter: gateways that lost the same host must not probe it in step.
    state.nextProbeAt = clock.monotonic() + state.intervalMs * (0.75 + random() / 2);
    if (isFirst) enter(state, 'open', origin);
  };

  const connected = (state: OriginState, origin: string) => {
    state.failuresInRow = 0;
    if (state.phase === 'open') {
      state.permits = FIRST_ROUND;
      state.running = 0;
      state.round += 1;
      enter(state, 'recovering', origin);
    } else if (state.phase === 'recovering') {
      state.permits += 1;
      if (state.permits >= FULL_FLOW) enter(state, 'closed', origin);
    }
  };

  const shed = (state: OriginState, origin: string, waitMs: number): GatewayError => {
    const message = `calls to ${origin} are held off, because it could not be reached repeatedly (last: ${state.lastFailure}): try again later`;
    return new GatewayError('gateway.upstream.unavailable', message, { retryAfterMs: waitMs });
  };

  /** Throws when the call is to be shed; tells whether it is the probe. */
  const admit = (state: OriginState, origin: string): boolean => {
    if (state.phase === 'recovering') {
      if (state.running >= state.permits) throw shed(state, origin, SHORTEST_INTERVAL_MS);
      return false;
    }
    const now = clock.monotonic();
    const isProbing = state.probeStartedAt !== null && now - state.probeStartedAt < probeMs;
    if (isProbing || now < state.nextProbeAt) throw shed(state, origin, Math.max(state.nextProbeAt - now, isProbing ? SHORTEST_INTERVAL_MS : 0));
    state.probeStartedAt = now;
    return true;
  };

  return async (request) => {
    const { origin } = request.base;
    const state = stateOf(origin);
    const isProbe = state.phase !== 'closed' && admit(state, origin);
    const { round, probeStartedAt } = state;
    state.running += 1;
    try {
      const response = await send(request);
      if (state.failuresInRow > 0 || state.phase !== 'closed') connected(state, origin);
      return response;
    } catch (error) {
      if (!isGatewayError(error) || isCallerGone(error)) throw error;
      if (isConnectFailure(error)) {
        if (COUNTED_CODES.has(error.code)) failed(state, origin, error, isProbe);
      } else if (!isUnheard(error) && (state.failuresInRow > 0 || state.phase !== 'closed')) connected(state, origin);
      throw error;
    } finally {
      if (state.round === round) state.running -= 1;
      if (isProbe && state.probeStartedAt === probeStartedAt) state.probeStartedAt = null;
    }
  };
}

/** A deadline that passed before there was a connection: nothing is known of the host. */
function isUnheard(error: GatewayError): boolean {
  return error.code === 'gateway.upstream.timeout' && wasNeverSent(error);
}
