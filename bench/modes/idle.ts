// What a process holds that has answered one call, at once and ten seconds later.

import { setTimeout as delay } from 'node:timers/promises';
import { type Contestant, Scene } from '../contestants.ts';
import { memoryMiB, Results } from '../measure.ts';
import { type Mode, type Sizes, startAll } from './mode.ts';

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const rounds = sizes.rounds ?? 5;
  const results = new Results('idle', `${rounds} rounds: memory after the first answer and 10 s later, MiB`, [
    { key: 'rss', label: 'RSS', digits: 1 },
    { key: 'laterRss', label: 'RSS after 10 s', digits: 1, isCompared: true },
    { key: 'laterPss', label: 'PSS after 10 s', digits: 1 },
    { key: 'laterOwn', label: 'of that of no file', digits: 1, isCompared: true },
  ]);
  const scene = await Scene.open();
  try {
    const started = contestants.filter(({ command }) => command !== null);
    for (let round = 0; round < rounds; round += 1) {
      const running = await startAll(scene, started);
      const pids = running.map(({ name, pid }) => ({ name, pid: pid as number }));
      const first = pids.map(({ pid }) => memoryMiB(pid).rss);
      await delay(10_000);
      for (const [at, { name, pid }] of pids.entries()) {
        const { rss: laterRss, pss: laterPss, own: laterOwn } = memoryMiB(pid);
        results.add(name, { rss: first[at] as number, laterRss, laterPss, laterOwn });
      }
      for (const each of running) await each.stop();
    }
  } finally {
    scene.close();
  }
  return [results];
}

export const idle: Mode = { name: 'idle', about: 'memory after the start and 10 s later', run };
