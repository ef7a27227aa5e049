import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { contestants, Scene } from './contestants.ts';
const cpu = (pid: number) => {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) try { ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]); } catch {}
  return ns / 1e6;
};
const call = (port: number) => new Promise<number>((resolve, reject) => {
  const t = performance.now();
  request({ port, host: '127.0.0.1', path: '/api/v2/users?pageSize=5', agent: false }, (r) => { r.resume(); r.on('end', () => resolve(performance.now() - t)); }).on('error', reject).end();
});
const scene = await Scene.open({ idleSeconds: 3600, roundTripMs: 40 });
const list = contestants({ against: process.argv[2] ? [process.argv[2]] : [], flags: process.argv.slice(4), only: ['nginx', 'node', 'go'] } as never);
const running = [];
for (const c of list) running.push(await scene.start(c));
for (const r of running) for (let i = 0; i < 40; i++) await call(r.target.port);
for (const pause of (process.argv[3] ?? '8,60').split(',').map(Number)) for (let round = 0; round < 3; round++) {
  await delay(pause * 1000);
  console.log(pause, (await Promise.all([])).length, ...(await (async () => { const out = []; for (const r of running) { const before = cpu(r.pid!); const ms = await call(r.target.port); out.push(`${r.name}: ${(cpu(r.pid!) - before).toFixed(1)} cpu ${ms.toFixed(0)} ms;`); } return out; })()));
}
for (const r of running) await r.stop();
scene.close();
