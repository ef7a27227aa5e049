// What each client of this instance was served of one limit in the last minute, as other instances are told it.

import type { ClientReport } from './quota-report.ts';
import { MINUTE_MS, RollingCount } from './rate-window.ts';

/** Of so many clients a row tells: of those that wait, and of those that were served most. */
const MOST_CLIENTS = 64;
/** What "lately" is in a client's count. */
const RECENT_MS = 6_000;

/** The counts of one limit. A client that was served nothing for a minute, and does not wait, is forgotten. */
export class ClientCounts {
  readonly #counts = new Map<string, RollingCount>();

  of(client: string): RollingCount {
    let count = this.#counts.get(client);
    if (count === undefined) {
      count = new RollingCount({ bucketMs: 2_000, periodMs: MINUTE_MS });
      this.#counts.set(client, count);
    }
    return count;
  }

  /** A report of each client; where there are too many, one of the rest together. `nameOf` gives what stands for it. */
  report(now: number, waiting: ReadonlyMap<string, number>, nameOf: (client: string) => string): ClientReport[] {
    const reports: ClientReport[] = [];
    for (const client of waiting.keys()) this.of(client);
    for (const [client, count] of this.#counts) {
      const served = count.recent(now);
      const waits = waiting.get(client) ?? 0;
      if (served === 0 && waits === 0) {
        this.#counts.delete(client);
        continue;
      }
      let recent = 0;
      count.each(now, (endsAt, calls) => {
        if (endsAt > now + MINUTE_MS - RECENT_MS) recent += calls;
        return true;
      });
      reports.push({ id: nameOf(client), waiting: waits, served, recent });
    }
    if (reports.length <= MOST_CLIENTS) return reports;
    reports.sort((a, b) => Math.sign(b.waiting) - Math.sign(a.waiting) || b.served - a.served);
    const others = { id: '_', waiting: 0, served: 0, recent: 0 };
    for (const { waiting: waits, served, recent } of reports.splice(MOST_CLIENTS)) {
      others.waiting += waits;
      others.served += served;
      others.recent += recent;
    }
    return [...reports, others];
  }
}
