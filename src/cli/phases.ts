// Where the time of one call went, as stretches in their order: by its trace where it has one, else by the sums of its
// record.

import type { Attempt, Call } from '../inspector/wire.ts';

/** A stretch of a call. `at` null: how much is known, and not when. Times in ms. */
export interface Phase {
  readonly what: string;
  readonly at: number | null;
  readonly ms: number;
}

/** Shorter ones are not worth a line. */
const SHORTEST_MS = 0.5;

/** The stretches of a call, but for the shortest. */
export function phasesOf(call: Call): Phase[] {
  const phases = call.trace === undefined ? bySums(call) : byTrace(call);
  return phases.filter(({ ms }) => ms >= SHORTEST_MS);
}

function bySums({ durationMs, queueMs, tokenWaitMs, upstreamMs, attempts, heldBy }: Call): Phase[] {
  const rest = durationMs - queueMs - tokenWaitMs - upstreamMs;
  // Nobody noted how long it paused between its attempts: that is in the rest.
  const others =
    attempts > 1 ? 'waiting before another try, and the gateway' : 'the gateway, and the way to the caller';
  return [
    { what: `waiting for ${heldBy ?? 'a limit or a connection'}`, at: null, ms: queueMs },
    { what: 'waiting for a token', at: null, ms: tokenWaitMs },
    { what: attempts > 1 ? `Genesys Cloud, ${attempts} attempts` : 'Genesys Cloud', at: null, ms: upstreamMs },
    { what: others, at: null, ms: rest },
  ];
}

const WAITS = { queue: 'waiting for a limit', token: 'waiting for a token', pause: 'waiting before another try' };

function byTrace({ trace, heldBy }: Call): Phase[] {
  if (trace === undefined) return [];
  const phases: Phase[] = [{ what: 'admission and rules', at: 0, ms: trace.rules }];
  for (const wait of trace.waits) {
    const what = wait.for === 'queue' && heldBy !== undefined ? `waiting for ${heldBy}` : WAITS[wait.for];
    phases.push({ what, at: wait.at, ms: wait.ms });
  }
  const several = trace.attempts.length > 1;
  for (const [index, attempt] of trace.attempts.entries())
    phases.push(...ofAttempt(attempt, several ? `attempt ${index + 1}: ` : ''));
  phases.sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
  if (trace.stalled > 0)
    phases.push({ what: 'standing still, since the caller did not ' + 'read', at: null, ms: trace.stalled });
  return phases;
}

function ofAttempt({ at, ms, pool, dial, send, wait, body, status, error }: Attempt, name: string): Phase[] {
  const parts: readonly (readonly [string, number | undefined])[] = [
    ['waiting for a connection', pool],
    ['looking the name up', dial?.dns],
    ['connecting', dial?.tcp],
    ['the tunnel of the proxy', dial?.proxy],
    ['the TLS handshake', dial?.tls],
    ['sending', send],
    ['Genesys Cloud, until it answered', wait],
    ['the answer on its way', body],
  ];
  const phases: Phase[] = [];
  let from = at;
  for (const [what, took] of parts) {
    if (took === undefined) continue;
    phases.push({ what: `${name}${what}`, at: from, ms: took });
    from += took;
  }
  const known = from - at;
  const end = error ?? (status === undefined ? null : String(status));
  if (phases.length === 0 || ms - known > 1)
    phases.push({ what: `${name}until it ended${end === null ? '' : ` (${end})`}`, at: from, ms: ms - known });
  return phases;
}
