// Finds calls among those that are kept, the newest first. It gives way to others every few ms: a search may look at
// thousands of calls, and callers wait meanwhile.

import type { CallRing, KeptCall } from './call-ring.ts';
import type { Call, Rights } from './wire.ts';

/** What is searched for. Numbers are those of calls. */
export interface CallQuery {
  /** Whether a call is one of those that are looked for; asked only for calls that may be seen. */
  readonly matches: ((call: Call) => boolean) | null;
  readonly limit: number;
  /** Only calls with smaller numbers, and larger ones. */
  readonly before: number;
  readonly after: number;
}

/** What was found: the newest first. */
export interface FoundCalls {
  readonly calls: readonly KeptCall[];
  /** Whether there are older ones. */
  readonly more: boolean;
}

const SLICE_MS = 5;
/** Between two looks at the clock. */
const CALLS_A_LOOK = 16;

/**
 * Visits the calls below a number, the newest first, until `visit` returns false. `isWanted` is asked between slices
 * and ends it early.
 */
export async function walkCalls(
  ring: Pick<CallRing, 'below'>,
  before: number,
  visit: (call: KeptCall) => boolean,
  isWanted: () => boolean = () => true,
): Promise<void> {
  let sliceEndsAt = performance.now() + SLICE_MS;
  // By number, so that what falls out meanwhile is passed over.
  for (let next = ring.below(before), looked = 1; next !== null && visit(next); looked++) {
    if (looked % CALLS_A_LOOK === 0 && performance.now() >= sliceEndsAt) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (!isWanted()) return;
      sliceEndsAt = performance.now() + SLICE_MS;
    }
    next = ring.below(next.seq);
  }
}

/** Searches until enough calls are found. `isWanted` ends the search early, with what was found until then. */
export async function searchCalls(
  ring: CallRing,
  rights: Pick<Rights, 'sees' | 'client'>,
  { matches, limit, before, after }: CallQuery,
  isWanted: () => boolean = () => true,
): Promise<FoundCalls> {
  const calls: KeptCall[] = [];
  let more = false;
  const visit = (kept: KeptCall): boolean => {
    if (kept.seq <= after) return false;
    const call = parsedWhereNeeded(kept, rights, matches);
    if (call !== null && !(maySee(call.client, rights) && (matches?.(call) ?? true))) return true;
    more = calls.length === limit;
    if (!more) calls.push(kept);
    return !more;
  };
  await walkCalls(ring, before, visit, isWanted);
  return { calls, more };
}

/** Whether somebody with these rights may see a call of this client; of an anonymous caller: null. */
export function maySee(client: string | null | undefined, rights: Pick<Rights, 'sees' | 'client'>): boolean {
  return rights.sees === 'all' || (typeof client === 'string' && client === rights.client);
}

/** Null where everything is wanted: then nobody has to read it. */
function parsedWhereNeeded(
  { json }: KeptCall,
  { sees }: Pick<Rights, 'sees'>,
  matches: CallQuery['matches'],
): Call | null {
  return sees === 'all' && matches === null ? null : (JSON.parse(json) as Call);
}
