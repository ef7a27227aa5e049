// What a single call costs after a pause, as a script makes it: a new process and connection each, by curl, with an
// upstream that is a round trip away and closes connections that were idle for too long.

import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Contestant, find, PATH, type Running, Scene } from '../contestants.ts';
import { Results } from '../measure.ts';
import { type Mode, type Sizes, startAll } from './mode.ts';

/** Rounds where none are told: fewer of what takes longer. */
const roundsOf = (pause: number) => (pause <= 10 ? 7 : pause <= 60 ? 3 : 1);

async function callMs(curl: string, { target, name }: Running, caFile: string): Promise<number> {
  const url = `${target.ca ? 'https' : 'http'}://localhost:${target.port}${PATH}`;
  const args = ['-q', '-4', '-s', '-o', '/dev/null', '-w', '%{http_code} %{time_total}', '--cacert', caFile, url];
  const { stdout } = await promisify(execFile)(curl, args, { env: { PATH: process.env.PATH } });
  const [status, seconds] = stdout.split(' ').map(Number) as [number, number];
  if (status !== 200) throw new Error(`${name} answered ${status}`);
  return seconds * 1000;
}

async function run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]> {
  const { pauses, roundTripMs, upstreamIdleSeconds } = sizes;
  const curl = find('curl');
  if (curl === null) throw new Error('pause needs curl');
  const title = `one call by curl after a pause; the upstream is ${roundTripMs} ms away and closes after ${upstreamIdleSeconds} s`;
  const columns = pauses.map((pause) => ({
    ...{ key: String(pause), label: `${pause} s (${sizes.rounds ?? roundsOf(pause)}x), ms`, digits: 0 },
    isCompared: true,
  }));
  const results = new Results('pause', title, columns);
  const scene = await Scene.open({ idleSeconds: upstreamIdleSeconds, roundTripMs });
  try {
    const { caFile } = scene.place(0);
    const running = await startAll(scene, contestants);
    for (const each of running) for (let at = 0; at < 3; at += 1) await callMs(curl, each, caFile);
    for (const pause of pauses)
      for (let round = 0; round < (sizes.rounds ?? roundsOf(pause)); round += 1) {
        // The pause is that of all of them together: each has had it when its call comes.
        await delay(pause * 1000);
        for (let at = 0; at < running.length; at += 1) {
          const each = running[(round + at) % running.length] as Running;
          results.add(each.name, { [pause]: await callMs(curl, each, caFile) });
        }
      }
    for (const each of running) await each.stop();
  } finally {
    scene.close();
  }
  return [results];
}

export const pause: Mode = { name: 'pause', about: 'a single call by curl after pauses, over a long way', run };
