// Prometheus' own evaluation of rules and queries (promtool), over series that are made of scrapes of a gateway.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One series of a scrape. */
interface ScrapedSeries {
  readonly labels: string;
  readonly value: number;
  readonly isCounter: boolean;
}

/** An input series as promtool takes it. */
export interface InputSeries {
  readonly series: string;
  readonly values: string;
}

/** How long the scrapes are thought to go on, one a minute. */
export const MINUTES = 90;

/** Series by name and labels. Throws for a line that is not in the text format. */
export function parseScrape(text: string): Map<string, ScrapedSeries> {
  const types = new Map<string, string>();
  const found = new Map<string, ScrapedSeries>();
  for (const line of text.split('\n')) {
    const [, typed, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (typed !== undefined && type !== undefined) types.set(typed, type);
    if (line === '' || line.startsWith('#')) continue;
    const [, name, labels = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`not in the text format: ${line}`);
    const family = types.get(name) ?? types.get(name.replace(/_(?:bucket|sum|count)$/, ''));
    const isCounter = family === 'counter' || family === 'histogram';
    found.set(`${name}{${labels}}`, { labels, value: Number(value), isCounter });
  }
  return found;
}

/**
 * The series of a gateway to which the same happens in every minute as happened between two scrapes: counters go on as
 * they went, gauges stay as they are.
 */
export function goingOn(before: string, after: string, instance = 'gw:9090'): InputSeries[] {
  const first = parseScrape(before);
  const target = `job="genesys-cloud-gateway",instance="${instance}"`;
  const all = [...parseScrape(after)].flatMap(([key, { labels, value, isCounter }]): InputSeries[] => {
    if (!Number.isFinite(value)) return [];
    const series = `${key.slice(0, key.indexOf('{'))}{${target}${labels && `,${labels}`}}`;
    const step = isCounter ? value - (first.get(key)?.value ?? 0) : 0;
    return [{ series, values: `${value}+${step}x${MINUTES}` }];
  });
  return [...all, { series: `up{${target}}`, values: `1+0x${MINUTES}` }];
}

/** Runs `promtool` over files given by name; returns what it printed, and whether it was content. */
export function promtool(
  args: readonly string[],
  files: Readonly<Record<string, string>>,
): { ok: boolean; out: string } {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-promtool-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const out = execFileSync('sh', ['-c', 'exec promtool "$@" 2>&1', 'sh', ...args], { cwd: folder, encoding: 'utf8' });
    return { ok: true, out };
  } catch (error) {
    return { ok: false, out: String((error as { stdout?: string }).stdout ?? error) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Why tests with promtool cannot run here; false where they can. */
export function whyNoPromtool(): string | false {
  return promtool(['--version'], {}).ok ? false : 'no promtool here (Debian: apt-get install prometheus)';
}
