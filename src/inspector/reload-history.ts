// The last reloads of the configuration, applied or refused. Bounded; keys and problems only, no values.

import type { GatewayInsight } from './insight-answer.ts';

/** One reload as the status tells the last one. */
export type Reload = GatewayInsight['reloads'][number];

const MOST_RELOADS = 20;
/** A configuration is taken into use a moment before its reload is reported. */
const SAME_MS = 5_000;

/** The newest first. */
export class ReloadHistory {
  #reloads: Reload[] = [];

  /** Notes one, once. What only says that one was applied gives way to its report. */
  note(reload: Reload): void {
    const at = Date.parse(reload.at);
    const isSame = (one: Reload) =>
      one.at === reload.at ||
      (one.applied === reload.applied &&
        (one.trigger === undefined) !== (reload.trigger === undefined) &&
        Math.abs(Date.parse(one.at) - at) < SAME_MS);
    const known = this.#reloads.find(isSame);
    if (known !== undefined && (reload.trigger === undefined || known.trigger !== undefined)) return;
    this.#reloads = [reload, ...this.#reloads.filter((one) => one !== known)]
      .sort((a, b) => Date.parse(b.at) - Date.parse(a.at))
      .slice(0, MOST_RELOADS);
  }

  /** All that are kept. */
  list(): readonly Reload[] {
    return this.#reloads;
  }
}
