// CPU a request and memory under load of a fixed number of connections, and memory with many that are idle.

import { setTimeout as delay } from 'node:timers/promises';
import { type Contestant, PATH, Scene } from '../contestants.ts';
import { openIdle, runLoad } from '../load.ts';
import { cpuUs, memoryMiB, peakMiB, Results, resetPeak } from '../measure.ts';
import { interleave, type Mode, type Sizes, startAll } from './mode.ts';

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const { requests, connections, idleConnections } = sizes;
  const rounds = sizes.rounds ?? 10;
  const title = `${rounds} interleaved rounds of ${requests} GETs over ${connections} connections, 1.1 kB of JSON, TLS upstream`;
  const results = new Results('load', `${title}; then ${idleConnections} idle connections`, [
    { key: 'cpu', label: 'CPU µs/req', digits: 1, isCompared: true },
    { key: 'rate', label: 'req/s', digits: 0 },
    { key: 'p50', label: 'p50 ms', digits: 2 },
    { key: 'p99', label: 'p99 ms', digits: 2 },
    { key: 'peak', label: 'peak MiB', digits: 0, isCompared: true },
    { key: 'idle', label: `MiB, ${idleConnections} idle`, digits: 0, isCompared: true },
  ]);
  const scene = await Scene.open();
  try {
    const running = await startAll(scene, contestants);
    // As many as a compiler needs to have seen.
    for (const { target } of running) await runLoad(target, PATH, 10_000, connections);
    await interleave(rounds, running, async ({ name, target, pid }) => {
      // Connections upstream are open again when the counting begins.
      await runLoad(target, PATH, connections * 4, connections);
      if (pid !== null) resetPeak(pid);
      const before = pid === null ? 0 : cpuUs(pid);
      const load = await runLoad(target, PATH, requests, connections);
      const seen = { rate: load.requests / load.seconds, p50: load.p50, p99: load.p99 };
      if (pid === null) return results.add(name, seen);
      const cpu = (cpuUs(pid) - before) / load.requests;
      results.add(name, { cpu, ...seen, peak: peakMiB(pid) });
    });
    // Once each and last: it is seen in no other number.
    for (const { name, target, pid } of running) {
      if (pid === null) continue;
      const close = await openIdle(target, PATH, idleConnections);
      await delay(2000);
      results.add(name, { idle: memoryMiB(pid).rss });
      close();
    }
    for (const each of running) await each.stop();
  } finally {
    scene.close();
  }
  return [results];
}

export const load: Mode = {
  name: 'load',
  about: 'CPU a request and memory, under load and with idle connections',
  run,
};
