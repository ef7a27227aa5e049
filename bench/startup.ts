// `node bench/startup.ts`: CPU time from the start of `gcg serve` to its first forwarded answer, and its memory when
// idle. Needs a build, and /proc.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { DEMO_CLIENTS } from '../src/sandbox/clients.ts';
import { createSandbox } from '../src/sandbox/sandbox.ts';

/** CPU time in ms since the process began; the kernel counts in hundredths of a second. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function rssMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

function get(port: number): Promise<number> {
  return new Promise((resolve) => {
    const asking = request({ port, host: '127.0.0.1', path: '/api/v2/users?pageSize=5' }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    asking.on('error', () => resolve(0));
    asking.end();
  });
}

const sandbox = createSandbox();
const { host, port: simulation } = await sandbox.listen();
const runs: { cpu: number; wall: number; idle: number }[] = [];
for (let run = 0; run < 5; run += 1) {
  const port = 18_200 + run;
  const startedAt = performance.now();
  const child: ChildProcess = spawn(process.execPath, ['dist/main.js', 'serve', '--listen', `127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env.PATH,
      GCG_GATEWAY_HOST: host,
      GCG_GATEWAY_PORT: String(simulation),
      GCG_GATEWAY_PROTOCOL: 'http',
      GCG_CREDENTIAL_CLIENT_ID: DEMO_CLIENTS.clientCredentials.id,
      GCG_CREDENTIAL_CLIENT_SECRET: DEMO_CLIENTS.clientCredentials.secret,
    },
  });
  const pid = child.pid as number;
  while ((await get(port)) !== 200) await delay(5);
  const cpu = cpuMs(pid);
  const wall = performance.now() - startedAt;
  await delay(2000);
  runs.push({ cpu, wall, idle: rssMiB(pid) });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}
await sandbox.close();
const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]?.toFixed(0);
console.log(
  `start to first answer: ${median(runs.map(({ cpu }) => cpu))} ms CPU, ${median(runs.map(({ wall }) => wall))} ` +
    `ms; idle ${median(runs.map(({ idle }) => idle))} MiB (medians of ${runs.length})`,
);
