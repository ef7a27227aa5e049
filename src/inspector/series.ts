// Numbers over a day, in steps, in bounded memory: a column is a ring of floats, made when its name is first written.

/** Whether the values of a step add up, or the last one counts. */
export type SeriesKind = 'counter' | 'gauge';

/** The size of a series: `rows` steps of `stepMs`, and so many columns at most. */
export interface SeriesSize {
  readonly stepMs: number;
  readonly rows: number;
  readonly columns: number;
}

interface Column {
  readonly kind: SeriesKind;
  readonly values: Float32Array;
  /** The step that was written last. */
  last: number;
}

/** Columns by their names. Times are epoch ms; where the clock was put back, the last step takes what comes. */
export class Series {
  readonly #size: SeriesSize;
  readonly #columns = new Map<string, Column>();
  /** The newest step; -1 before the first. */
  #last = -1;

  constructor(size: SeriesSize) {
    this.#size = size;
  }

  /** Names of the columns. */
  get names(): readonly string[] {
    return [...this.#columns.keys()];
  }

  /** What it holds, in bytes. */
  get bytes(): number {
    return this.#columns.size * this.#size.rows * Float32Array.BYTES_PER_ELEMENT;
  }

  /** Begins the step of a time. To be called before `write`. */
  begin(at: number): void {
    const { stepMs, rows } = this.#size;
    const step = Math.floor(at / stepMs);
    if (step <= this.#last) return;
    const from = this.#last < 0 ? step : Math.max(this.#last + 1, step - rows + 1);
    for (const { values } of this.#columns.values())
      for (let empty = from; empty <= step; empty += 1) values[empty % rows] = Number.NaN;
    this.#last = step;
  }

  /** Writes into the step. False where there is no room for one more column. */
  write(name: string, kind: SeriesKind, value: number): boolean {
    const column = this.#columns.get(name) ?? this.#made(name, kind);
    if (column === null) return false;
    const at = this.#last % this.#size.rows;
    const before = column.values[at] as number;
    column.values[at] = kind === 'counter' && !Number.isNaN(before) ? before + value : value;
    column.last = this.#last;
    return true;
  }

  /** From a time until the newest step, in at most `points` steps: counters add up, of gauges the largest counts. */
  read(names: readonly string[], from: number, now: number, points: number) {
    const { stepMs, rows } = this.#size;
    const last = Math.floor(now / stepMs);
    const wanted = Math.min(rows, Math.max(1, last - Math.floor(from / stepMs)));
    const merged = Math.max(1, Math.ceil(wanted / points));
    // Steps begin where they always do: what was drawn once is drawn the same again.
    const first = Math.max(0, Math.floor((last - wanted + 1) / merged) * merged);
    const columns: Record<string, (number | null)[]> = {};
    for (const name of names) {
      const column = this.#columns.get(name);
      if (column !== undefined) columns[name] = this.#merged(column, first, last, merged);
    }
    return { from: first * stepMs, stepMs: merged * stepMs, columns };
  }

  #merged({ kind, values }: Column, first: number, last: number, size: number): (number | null)[] {
    const { rows } = this.#size;
    const points: (number | null)[] = [];
    for (let at = first; at <= last; at += size) {
      let point: number | null = null;
      for (let step = at; step < at + size; step += 1) {
        if (step > this.#last || step <= this.#last - rows) continue;
        const value = values[step % rows] as number;
        if (Number.isNaN(value)) continue;
        point = point === null ? value : kind === 'counter' ? point + value : Math.max(point, value);
      }
      points.push(point === null ? null : Math.round(point * 1000) / 1000);
    }
    return points;
  }

  /** A new column, in the place of one that was not written for all of the time, where there are too many. */
  #made(name: string, kind: SeriesKind): Column | null {
    const { rows, columns: most } = this.#size;
    if (this.#columns.size >= most) {
      const old = [...this.#columns].find(([, { last }]) => last <= this.#last - rows);
      if (old === undefined) return null;
      this.#columns.delete(old[0]);
    }
    const column = { kind, values: new Float32Array(rows).fill(Number.NaN), last: this.#last };
    this.#columns.set(name, column);
    return column;
  }
}
