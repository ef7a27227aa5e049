// What goes to watchers, as text: events of a stream (WHATWG HTML, section 9.2), and which calls are told where there
// are too many to look at.

import type { FeedEvents } from './wire.ts';

/**
 * A call that has ended, on its way to those who watch: as much as tells whether it is told. Its text stays in the ring
 * meanwhile.
 */
export interface EndedCall {
  readonly seq: number;
  readonly client: string | null;
  readonly hasFailed: boolean;
  /** Whether its line says where its time went. */
  readonly isTraced: boolean;
}

/** One event as it stands in the stream. */
export function eventText<N extends keyof FeedEvents>(name: N, data: FeedEvents[N], id?: string): string {
  return frame(name, JSON.stringify(data), id);
}

/** A frame of calls, oldest first. */
export function callsText(calls: readonly { readonly json: string }[], id: string, sampled: number): string {
  const told = calls.map(({ json }) => json).join(',');
  return frame('calls', `{"calls":[${told}]${sampled > 1 ? `,"sampled":${sampled}` : ''}}`, id);
}

/** What keeps a connection open on which nothing happens. */
export const PING = ': ping\n\n';

function frame(name: string, json: string, id?: string): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${json}\n\n`;
}

/** So many calls that went well are told in a second; a moment's burst is told whole. */
const MOST_A_SECOND = 300;
const FRAMES_A_SECOND = 10;

/**
 * Chooses which calls are told: all that failed, and of the others as many as somebody can look at, those before all
 * that were traced.
 */
export class Sampler {
  #budget = MOST_A_SECOND;

  /** To be asked for each frame, also for one without a call. `sampled` n: of those that went well, each n-th. */
  choose(calls: readonly EndedCall[]): { readonly chosen: readonly EndedCall[]; readonly sampled: number } {
    this.#budget = Math.min(MOST_A_SECOND, this.#budget + MOST_A_SECOND / FRAMES_A_SECOND);
    let fine = 0;
    let traced = 0;
    for (const { hasFailed, isTraced } of calls) {
      if (hasFailed) continue;
      fine += 1;
      if (isTraced) traced += 1;
    }
    if (fine <= this.#budget) {
      this.#budget -= fine;
      return { chosen: calls, sampled: 1 };
    }
    // Those that were traced are spread out in time already.
    const most = Math.max(1, this.#budget);
    const step = traced > 0 ? 1 : Math.ceil(fine / most);
    let at = 0;
    let told = 0;
    const chosen = calls.filter(({ hasFailed, isTraced }) => {
      if (hasFailed) return true;
      const isTold = (isTraced || traced === 0) && at++ % step === 0 && told < most;
      if (isTold) told += 1;
      return isTold;
    });
    this.#budget = Math.max(0, this.#budget - told);
    return { chosen, sampled: Math.ceil(fine / told) };
  }
}
