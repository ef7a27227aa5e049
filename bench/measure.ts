// What is measured, and how it is told: CPU time and memory of a tree of processes as /proc has them, samples of
// interleaved rounds, and from them medians, spreads and ratios.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const TICK_US = 10_000;

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // A process or thread that has just ended.
    return '';
  }
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The process and all that came from it and still live. */
function treeOf(pid: number): number[] {
  const children = tasksOf(pid).flatMap((task) => read(`/proc/${pid}/task/${task}/children`).split(' '));
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => treeOf(Number(child)))];
}

/**
 * User and system time of a process and its ended children, in µs. The kernel has it exactly for each thread that
 * lives, and in hundredths of a second for all there were: both are at most the truth, so the larger is nearer.
 */
function cpuOfProcess(pid: number): number {
  const fields = read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? [];
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15).map(Number);
  const alive = tasksOf(pid).map((task) => Number(read(`/proc/${pid}/task/${task}/schedstat`).split(' ')[0]) / 1000);
  const exact = alive.reduce((sum, us) => sum + us, 0);
  return Math.max(exact, (user + system) * TICK_US) + (childUser + childSystem) * TICK_US;
}

/** User and system time of the tree since it began, in µs. */
export function cpuUs(pid: number): number {
  return treeOf(pid).reduce((sum, each) => sum + cpuOfProcess(each), 0);
}

/** Memory of the tree, in MiB: resident; the same with what others map as well shared out; what is of no file. */
export function memoryMiB(pid: number): { readonly rss: number; readonly pss: number; readonly own: number } {
  const sum = (field: string) =>
    treeOf(pid).reduce((total, each) => {
      const kib = new RegExp(`^${field}: +(\\d+)`, 'm').exec(read(`/proc/${each}/smaps_rollup`))?.[1];
      return total + Number(kib ?? 0) / 1024;
    }, 0);
  return { rss: sum('Rss'), pss: sum('Pss'), own: sum('Anonymous') };
}

/** Starts the peak anew: see proc_pid_clear_refs(5). */
export function resetPeak(pid: number): void {
  for (const each of treeOf(pid)) writeFileSync(`/proc/${each}/clear_refs`, '5');
}

/** The most that was resident since the last reset, in MiB: the sum of the tree's own peaks. */
export function peakMiB(pid: number): number {
  return treeOf(pid).reduce((total, each) => {
    const kib = /^VmHWM:\s+(\d+)/m.exec(read(`/proc/${each}/status`))?.[1];
    return total + Number(kib ?? 0) / 1024;
  }, 0);
}

/** The number below which this share of them lies; between two of them, what lies between. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [below = Number.NaN, above = below] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at - Math.floor(at));
}

/** A row's own number in a column, over the rounds. */
interface Summary {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly samples: readonly number[];
}

function summarize(samples: readonly number[]): Summary {
  return {
    median: quantile(samples, 1 / 2),
    low: quantile(samples, 1 / 4),
    high: quantile(samples, 3 / 4),
    samples,
  };
}

/** What one column shows. `isCompared`: the gateway's ratio to the others is worth telling. */
export interface Column {
  readonly key: string;
  readonly label: string;
  readonly digits: number;
  readonly isCompared?: boolean;
}

/** The name of the row that the others are compared with. */
export const GATEWAY = 'gateway';

/** Samples of a mode: one row a contestant, one number a column and round, in the order of the rounds. */
export class Results {
  readonly #mode: string;
  readonly #title: string;
  readonly #columns: readonly Column[];
  readonly #rows = new Map<string, Map<string, number[]>>();

  constructor(mode: string, title: string, columns: readonly Column[]) {
    this.#mode = mode;
    this.#title = title;
    this.#columns = columns;
  }

  add(row: string, numbers: Readonly<Record<string, number>>): void {
    const samples = this.#rows.get(row) ?? new Map<string, number[]>();
    this.#rows.set(row, samples);
    for (const [key, number] of Object.entries(numbers)) samples.set(key, [...(samples.get(key) ?? []), number]);
  }

  /** The gateway's number divided by the row's, round by round. */
  #ratios(row: string, key: string): number[] {
    const others = this.#rows.get(row)?.get(key) ?? [];
    const ours = this.#rows.get(GATEWAY)?.get(key) ?? [];
    return ours.slice(0, others.length).map((number, round) => number / (others[round] as number));
  }

  toJSON(): unknown {
    const rows = [...this.#rows].map(([row, samples]) => {
      const numbers = [...samples].map(([key, each]) => [key, summarize(each)]);
      const compared = this.#columns.filter(({ key, isCompared }) => isCompared && samples.has(key));
      const ratios = compared.map(({ key }) => [key, summarize(this.#ratios(row, key))]);
      return [row, { ...Object.fromEntries(numbers), gatewayDividedByThis: Object.fromEntries(ratios) }];
    });
    return { mode: this.#mode, title: this.#title, rows: Object.fromEntries(rows) };
  }

  /** Two tables: the numbers, and the gateway's ratios to the others. */
  toString(): string {
    const text = ({ median, low, high }: Summary, digits: number) =>
      `${median.toFixed(digits)} (${low.toFixed(digits)} ${high.toFixed(digits)})`;
    const numbers = [...this.#rows].map(([row, samples]) => [
      row,
      ...this.#columns.map(({ key, digits }) => {
        const each = samples.get(key);
        return each === undefined ? '-' : text(summarize(each), digits);
      }),
    ]);
    const compared = this.#columns.filter(({ isCompared }) => isCompared);
    const ratios = [...this.#rows.keys()]
      .filter((row) => row !== GATEWAY)
      .map((row) => [
        `  / ${row}`,
        ...compared.map(({ key }) => {
          const each = this.#ratios(row, key);
          return each.length === 0 ? '-' : text(summarize(each), 2);
        }),
      ]);
    const tables = [layOut([[this.#mode, ...this.#columns.map(({ label }) => label)], ...numbers])];
    if (ratios.length > 0 && compared.length > 0 && this.#rows.has(GATEWAY))
      tables.push(layOut([[GATEWAY, ...compared.map(({ label }) => label)], ...ratios]));
    return `${this.#title}\n${tables.join('\n')}`;
  }
}

/** Columns of equal width: the first to the left, the others to the right. */
function layOut(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('   ');
  return `${rows.map(line).join('\n')}\n`;
}
