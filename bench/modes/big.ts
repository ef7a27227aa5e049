// Large bodies in both directions: CPU a MiB, and the most that is held above what the process holds when idle.

import { setTimeout as delay } from 'node:timers/promises';
import { type Contestant, Scene } from '../contestants.ts';
import { runTransfer } from '../load.ts';
import { cpuUs, memoryMiB, peakMiB, Results, resetPeak } from '../measure.ts';
import { interleave, type Mode, type Sizes, startAll } from './mode.ts';

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const { mib } = sizes;
  const rounds = sizes.rounds ?? 8;
  const results = new Results('big', `${rounds} interleaved rounds of ${mib} MiB down and up, TLS upstream`, [
    { key: 'down', label: 'CPU ms/MiB down', digits: 2, isCompared: true },
    { key: 'up', label: 'CPU ms/MiB up', digits: 2, isCompared: true },
    { key: 'downRate', label: 'MiB/s down', digits: 0 },
    { key: 'upRate', label: 'MiB/s up', digits: 0 },
    { key: 'downMore', label: 'MiB above idle down', digits: 0 },
    { key: 'upMore', label: 'MiB above idle up', digits: 0 },
  ]);
  const scene = await Scene.open();
  try {
    const running = await startAll(scene, contestants);
    await delay(2000);
    const idle = new Map(running.map(({ pid }) => [pid, pid === null ? 0 : memoryMiB(pid).rss]));
    await interleave(rounds, running, async ({ name, target, pid }) => {
      const numbers: Record<string, number> = {};
      for (const direction of ['down', 'up'] as const) {
        if (pid !== null) resetPeak(pid);
        const before = pid === null ? 0 : cpuUs(pid);
        numbers[`${direction}Rate`] = await runTransfer(target, direction, mib * 1024 * 1024);
        if (pid === null) continue;
        numbers[direction] = (cpuUs(pid) - before) / 1000 / mib;
        numbers[`${direction}More`] = peakMiB(pid) - (idle.get(pid) ?? 0);
      }
      results.add(name, numbers);
    });
    for (const each of running) await each.stop();
  } finally {
    scene.close();
  }
  return [results];
}

export const big: Mode = { name: 'big', about: 'CPU a MiB and memory of large bodies, down and up', run };
