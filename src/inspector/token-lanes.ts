// The states that the tokens of credentials came through, over a day: from each change of state as it is told.

import type { LaneMark, LaneState } from './insight-answer.ts';

/** A change of state as the credentials tell it. */
export interface TokenChange {
  readonly credential: string;
  /** Of one of several tokens, from 2 on. */
  readonly number?: number;
  readonly fromToken: string;
  readonly toToken: string;
  readonly fromRenewal: string;
  readonly toRenewal: string;
  readonly errorCode: string | null;
}

interface Lane {
  states: LaneState[];
  marks: LaneMark[];
}

const DAY_MS = 86_400_000;
/** Changes of one credential: one that is refused all day is tried 1,440 times. */
const MOST_ENTRIES = 2_000;
/** As many credentials may be configured and removed again in a day. */
const MOST_LANES = 100;

/** The lanes of one gateway, by credential. Of several tokens the first is followed. */
export class TokenLanes {
  readonly #startedAt: number;
  readonly #lanes = new Map<string, Lane>();

  constructor(startedAt: number) {
    this.#startedAt = startedAt;
  }

  /** Notes a change. */
  note(change: TokenChange, now: number): void {
    const { credential, number, fromToken, toToken, fromRenewal, toRenewal, errorCode } = change;
    if (number !== undefined) return;
    const { states, marks } = this.#laneOf(credential, { at: this.#startedAt, token: fromToken, renewal: fromRenewal });
    states.push({ at: now, token: toToken, renewal: toRenewal });
    if (fromRenewal !== 'running') return;
    if (errorCode !== null) marks.push({ at: now, kind: 'failed', code: errorCode });
    else if (toRenewal === 'idle') marks.push({ at: now, kind: 'renewed' });
  }

  /** The last day of a credential; `current` is its state where none was told of. */
  of(credential: string, current: Omit<LaneState, 'at'>, now: number): Lane {
    const lane = this.#lanes.get(credential);
    if (lane === undefined) return { states: [{ ...current, at: this.#startedAt }], marks: [] };
    const from = now - DAY_MS;
    thinOut(lane, from);
    return { states: [...lane.states], marks: [...lane.marks] };
  }

  #laneOf(credential: string, before: LaneState): Lane {
    let lane = this.#lanes.get(credential);
    if (lane === undefined) {
      if (this.#lanes.size >= MOST_LANES) this.#lanes.delete(this.#lanes.keys().next().value as string);
      lane = { states: [before], marks: [] };
      this.#lanes.set(credential, lane);
    }
    if (lane.states.length >= MOST_ENTRIES) lane.states = lane.states.slice(MOST_ENTRIES / 2);
    if (lane.marks.length >= MOST_ENTRIES) lane.marks = lane.marks.slice(MOST_ENTRIES / 2);
    return lane;
  }
}

/** The state in which it was at `from` stays. */
function thinOut(lane: Lane, from: number): void {
  const first = lane.states.findLastIndex(({ at }) => at <= from);
  if (first > 0) lane.states = lane.states.slice(first);
  lane.marks = lane.marks.filter(({ at }) => at >= from);
}
