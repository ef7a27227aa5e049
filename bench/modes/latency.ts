// What a contestant adds to a call's time at a rate that nobody is busy with.

import { type Contestant, PATH, Scene } from '../contestants.ts';
import { type LoadResult, runLoad, runOpenLoop } from '../load.ts';
import { Results } from '../measure.ts';
import { type Mode, type Sizes, startAll } from './mode.ts';

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const { rate, seconds } = sizes;
  const rounds = sizes.rounds ?? 8;
  const title = `${rounds} interleaved rounds of ${rate} calls a second for ${seconds} s, sent whether answers come or not`;
  const results = new Results('latency', `${title}; added: to direct calls of the same round`, [
    { key: 'p50', label: 'p50 ms', digits: 2 },
    { key: 'p99', label: 'p99 ms', digits: 2 },
    { key: 'added50', label: 'added p50', digits: 2, isCompared: true },
    { key: 'added99', label: 'added p99', digits: 2 },
  ]);
  const scene = await Scene.open();
  try {
    const running = await startAll(scene, contestants);
    for (const { target } of running) await runLoad(target, PATH, 5000, 16);
    for (let round = 0; round < rounds; round += 1) {
      const seen = new Map<string, LoadResult>();
      for (let at = 0; at < running.length; at += 1) {
        const { name, target } = running[(round + at) % running.length] as (typeof running)[number];
        // Connections upstream are open again when the measuring begins.
        await runOpenLoop(target, PATH, rate, 1);
        seen.set(name, await runOpenLoop(target, PATH, rate, seconds));
      }
      const direct = seen.get('direct');
      for (const [name, { p50, p99 }] of seen) {
        const isDirect = direct === undefined || name === 'direct';
        results.add(name, { p50, p99, ...(!isDirect && { added50: p50 - direct.p50, added99: p99 - direct.p99 }) });
      }
    }
    for (const each of running) await each.stop();
  } finally {
    scene.close();
  }
  return [results];
}

export const latency: Mode = { name: 'latency', about: 'added p50 and p99 at a fixed rate', run };
