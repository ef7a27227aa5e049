// `node scripts/soak.ts [--calls N] [--connections N] [--samples N] [--max-growth MIB]`: a gateway process under load
// for N calls (a million if not told), with reloads and lost callers in between, and what the system says it holds
// meanwhile. Exits with 1 when anything grows.

import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Test } from 'tap';
import { type Holdings, holdingsOf, type Served, startLoad, startServed } from '../test/helpers/served.ts';

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '1000000' },
    connections: { type: 'string', default: '32' },
    samples: { type: 'string', default: '20' },
    'max-growth': { type: 'string', default: '10' },
  },
});
const calls = Number(values.calls);
const samples = Number(values.samples);
const maxGrowthMiB = Number(values['max-growth']);

const folder = mkdtempSync(join(tmpdir(), 'gcg-soak-'));
const endings: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
const scope = {
  testdir: () => folder,
  teardown: (ending: () => unknown) => void endings.unshift(ending),
} as unknown as Test;

try {
  const served = await startServed(scope);
  served.sandbox.set({ latencyMs: 0 });
  await reload(served, 0);
  const load = startLoad(served.url, Number(values.connections));
  const startedAt = performance.now();
  console.log('      calls  seconds  sockets  files  watches  timers  heap MiB');
  const seen: Holdings[] = [];
  const step = Math.floor(calls / samples);
  for (let sample = 0; sample <= samples; sample += 1) {
    // The first sample comes when everything that is made once has been made.
    await load.more(sample === 0 ? Math.min(step, 20_000) : step);
    await leaveInTheMiddle(served.url);
    await reload(served, sample + 1);
    const held = await holdingsOf(served);
    seen.push(held);
    const cells = [
      sample * step,
      Math.round((performance.now() - startedAt) / 1000),
      held.sockets,
      held.files,
      held.watches,
      held.timers,
      held.heapMiB,
    ];
    console.log(cells.map((cell, at) => String(cell).padStart([11, 9, 9, 7, 9, 8, 10][at] as number)).join(''));
  }
  const { calls: made, failures } = await load.stop();
  served.command.child.kill('SIGTERM');
  const code = await served.command.ended;
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `${made} calls in ${Math.round(seconds)} s (${Math.round(made / seconds)}/s), ${failures.length} failed, exit ` +
      `${code}`,
  );
  const problems = judge(seen);
  if (failures.length > 0) problems.push(`calls failed: ${failures.slice(0, 3).join('; ')}`);
  if (code !== 0) problems.push(`the gateway ended with ${code}`);
  for (const problem of problems) console.log(`NOT FLAT: ${problem}`);
  if (problems.length === 0) console.log('flat: handles, sockets, watches, timers and heap');
  process.exitCode = problems.length === 0 ? 0 : 1;
} finally {
  for (const ending of endings) await ending();
}

/** The last quarter against the first: medians, so that one look at a bad moment decides nothing. */
function judge(seen: readonly Holdings[]): string[] {
  const quarter = Math.max(1, Math.floor(seen.length / 4));
  const median = (part: readonly Holdings[], key: keyof Holdings) =>
    part.map((held) => held[key]).sort((a, b) => a - b)[Math.floor(part.length / 2)] ?? 0;
  // Each caller may have a socket here, one in the pool of whole calls and one in that of uploads: the pools fill up,
  // and stay.
  const connections = Number(values.connections);
  const allowed: Record<keyof Holdings, number> = {
    sockets: connections,
    files: 0,
    watches: 0,
    timers: connections,
    heapMiB: maxGrowthMiB,
  };
  return (Object.keys(allowed) as (keyof Holdings)[]).flatMap((key) => {
    const [before, after] = [median(seen.slice(0, quarter), key), median(seen.slice(-quarter), key)];
    return after - before > allowed[key] ? [`${key} went from ${before} to ${after}`] : [];
  });
}

/**
 * Another configuration by SIGHUP. Records go to /dev/null: a million of them would be this process's memory, not the
 * gateway's.
 */
async function reload(served: Served, n: number): Promise<void> {
  const settings =
    '[logging]\nlog_to_console = false\nlog_file_path = /dev/null\n' +
    `[rate_limit]\nmode = off\nqueue_max = ${100 + n}`;
  served.swapConfig(served.configText(settings));
  served.command.child.kill('SIGHUP');
  for (let applied = 0; applied <= n; ) {
    const text = await (await fetch(`${served.url}/metrics`)).text();
    applied = Number(/^gcg_config_reloads_total\{result="applied"\} (\d+)$/m.exec(text)?.[1] ?? 0);
  }
}

/** Callers that leave before their answer: what they leave behind must not pile up. */
async function leaveInTheMiddle(url: string): Promise<void> {
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => {
      return new Promise<void>((resolve) => {
        const call = request(`${url}/api/v2/users?pageSize=${n + 1}`);
        call.on('error', () => resolve());
        call.on('close', () => resolve());
        call.end(() => setImmediate(() => call.destroy()));
      });
    }),
  );
}
