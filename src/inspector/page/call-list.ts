// Which calls of the store a list shows: those that pass its filter, as they come, or as they were when it was told to
// stand still. Knows nothing of the page.

import { type Filter, type FilterNode, matches, parseFilter, printFilter, readFilter } from '../filter.ts';
import type { Call } from '../wire.ts';
import type { CallStore, StoreChange } from './store.ts';

/** A time, epoch ms. */
export interface Time {
  readonly from: number;
  readonly to: number;
}

/** The calls of one list. */
export class CallList {
  readonly #store: CallStore;
  readonly #now: () => number;
  #filter = parseFilter('');
  /** The filter without its times: what a chart over all times counts. */
  #untimed = this.#filter;
  #passed: Call[] = [];
  #still: readonly Call[] | null = null;
  #newer = 0;
  #isReading = false;

  constructor(store: CallStore, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  get filter(): Filter {
    return this.#filter;
  }

  /** What passes the filter, oldest first. */
  get passed(): readonly Call[] {
    return this.#passed;
  }

  /** What is to be seen: the same, or what it was when the list was told to stand still. */
  get shown(): readonly Call[] {
    return this.#still ?? this.#passed;
  }

  get isStill(): boolean {
    return this.#still !== null;
  }

  /** It stands still because somebody reads further down, and is to go on when they are back at the top. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** So many have come since. */
  get newer(): number {
    return this.#newer;
  }

  /** Begins again with a filter. */
  show(filter: Filter): void {
    this.#filter = filter;
    this.#untimed = withoutTime(filter);
    this.goOn();
    this.refresh();
  }

  /** Asks the filter again about every call: what it says of the time has moved. */
  refresh(): void {
    const now = this.#now();
    this.#passed = this.#store.calls.filter((call) => matches(this.#filter, call, now));
  }

  /** Takes a change of the store. */
  take({ added, dropped, all }: StoreChange): void {
    if (this.#store.calls.length === 0) this.goOn();
    if (all) {
      this.refresh();
      return;
    }
    const now = this.#now();
    const passed = added.filter((call) => matches(this.#filter, call, now));
    for (const call of passed) this.#passed.push(call);
    if (this.#still !== null) this.#newer += passed.length;
    if (dropped.length === 0) return;
    const oldest = this.#store.calls[0]?.seq ?? 0;
    const kept = this.#passed.findIndex(({ seq }) => seq >= oldest);
    this.#passed.splice(0, kept < 0 ? this.#passed.length : kept);
  }

  /** Of some calls those that pass whatever their time. */
  untimed(calls: readonly Call[]): readonly Call[] {
    const now = this.#now();
    return calls.filter((call) => matches(this.#untimed, call, now));
  }

  /** Stands still. */
  stop(isReading: boolean): void {
    this.#still = [...this.#passed];
    this.#isReading = isReading;
    this.#newer = 0;
  }

  goOn(): void {
    this.#still = null;
    this.#isReading = false;
    this.#newer = 0;
  }
}

/** The call that is so many further on than another one, of those that pass a filter. */
export function neighbour(calls: readonly Call[], id: string, by: number, text: string, now: number): Call | undefined {
  const filter = readFilter(text);
  const listed = calls.filter((call) => call.requestId === id || filter === null || matches(filter, call, now));
  const at = listed.findIndex(({ requestId }) => requestId === id);
  return at < 0 ? undefined : listed[at + by];
}

/** The terms that stand side by side. */
function termsOf({ node }: Filter): readonly FilterNode[] {
  return node.kind === 'all' ? node.of : [node];
}

/** A filter of terms. */
function filterOf(terms: readonly FilterNode[]): Filter {
  return parseFilter(printFilter({ node: { kind: 'all', of: terms }, test: () => true }));
}

/** The time between a `since` and an `until` of a filter, as a drag makes it. */
export function timeOf(filter: Filter): Time | null {
  const at = (name: string) => {
    const found = termsOf(filter).find((term) => term.kind === 'term' && term.field === name);
    return found?.kind === 'term' ? Date.parse(found.values[0]?.text ?? '') : Number.NaN;
  };
  const [from, to] = [at('since'), at('until')];
  return Number.isNaN(from) || Number.isNaN(to) ? null : { from, to };
}

function withoutTime(filter: Filter): Filter {
  const terms = termsOf(filter);
  const rest = terms.filter((term) => !(term.kind === 'term' && (term.field === 'since' || term.field === 'until')));
  return rest.length === terms.length ? filter : filterOf(rest);
}
