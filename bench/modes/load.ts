// CPU a request and memory under load of a fixed number of connections, and memory with many that are idle.

import { setTimeout as delay } from 'node:timers/promises';
import { type Contestant, PATH, type Running, Scene } from '../contestants.ts';
import { openIdle, runLoad } from '../load.ts';
import { cpuUs, memoryMiB, peakMiB, Results, resetPeak } from '../measure.ts';
import { interleave, type Mode, type Sizes, startAll } from './mode.ts';

/** Processes of the same program differ in what they hold: each is started anew after so many rounds. */
const ROUNDS_OF_A_LIFE = 4;

/** As many as a compiler needs to have seen. */
const WARM_UP = 10_000;

async function measure({ name, target, pid }: Running, { requests, connections }: Sizes, results: Results) {
  // Connections upstream are open again when the counting begins.
  await runLoad(target, PATH, connections * 4, connections);
  const before = pid === null ? 0 : cpuUs(pid);
  const load = await runLoad(target, PATH, requests, connections);
  const cpu = pid === null ? {} : { cpu: (cpuUs(pid) - before) / load.requests };
  results.add(name, { ...cpu, rate: load.requests / load.seconds, p50: load.p50, p99: load.p99 });
}

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const { requests, connections, idleConnections } = sizes;
  const rounds = sizes.rounds ?? 12;
  const lives = Math.ceil(rounds / ROUNDS_OF_A_LIFE);
  const title =
    `${rounds} interleaved rounds of ${requests} GETs over ${connections} connections, 1.1 kB of JSON, TLS upstream; ` +
    `memory: the peak of each of ${lives} processes, the first calls included, and with ${idleConnections} idle connections`;
  const results = new Results('load', title, [
    { key: 'cpu', label: 'CPU µs/req', digits: 1, isCompared: true },
    { key: 'rate', label: 'req/s', digits: 0 },
    { key: 'p50', label: 'p50 ms', digits: 2 },
    { key: 'p99', label: 'p99 ms', digits: 2 },
    { key: 'peak', label: 'peak MiB', digits: 0, isCompared: true },
    { key: 'idle', label: `MiB, ${idleConnections} idle`, digits: 0, isCompared: true },
  ]);
  const scene = await Scene.open();
  try {
    for (let left = rounds; left > 0; left -= ROUNDS_OF_A_LIFE) {
      const running = await startAll(scene, contestants);
      for (const { target, pid } of running) {
        if (pid !== null) resetPeak(pid);
        await runLoad(target, PATH, WARM_UP, connections);
      }
      await interleave(Math.min(left, ROUNDS_OF_A_LIFE), running, (each) => measure(each, sizes, results));
      for (const { name, target, pid } of running) {
        if (pid === null) continue;
        const peak = peakMiB(pid);
        const close = await openIdle(target, PATH, idleConnections);
        await delay(1000);
        results.add(name, { peak, idle: memoryMiB(pid).rss });
        close();
      }
      for (const each of running) await each.stop();
    }
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
