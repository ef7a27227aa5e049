// `npm run bench`: no proxy, @fastify/http-proxy as shipped, and the gateway, side by side in one run, in interleaved
// rounds. `-- --against DIR` adds the gateway of another checkout that is installed and built: how a change is measured
// against what was before. Reports requests/s, latency, CPU per request from each process's own accounting, peak
// memory, and 64 MiB each way. Times nothing for a test.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { createTestCa } from '../test/helpers/certificates.ts';
import type { Accounting } from './accounting.ts';
import { type LoadResult, runLoad, runTransfer, type Target } from './load.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    requests: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '32' },
    against: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const requests = Number(values.requests);
const connections = Number(values.connections);
const transferBytes = 64 * 1024 * 1024;

const ca = await createTestCa();
const { keyFile, certFile } = await ca.issue(['localhost', '127.0.0.1']);
const children: ChildProcess[] = [];

/** Starts a process of the benchmark; its log goes nowhere, as a log collector's pipe would take it. */
async function start(
  script: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ child: ChildProcess; port: number }> {
  const sink = openSync('/dev/null', 'w');
  const child = fork(new URL(script, import.meta.url), args, {
    stdio: ['ignore', sink, 'inherit', 'ipc'],
    env: { ...process.env, ...env },
  });
  children.push(child);
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return { child, port: message.port };
}

async function account(child: ChildProcess): Promise<Accounting> {
  child.send('account');
  const [accounting] = (await once(child, 'message')) as [Accounting];
  return accounting;
}

interface Contestant {
  readonly name: string;
  readonly target: Target;
  readonly child: ChildProcess | null;
  readonly results: { load: LoadResult; cpuUs: number }[];
  readonly transfers: { down: number[]; up: number[]; cpuUs: number[] };
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

try {
  const upstream = await start('./upstream.ts', [keyFile, certFile]);
  const origin = `https://localhost:${upstream.port}`;
  const shipped = await start('./target-as-shipped.ts', [origin]);
  const gateway = await start('./target-gateway.ts', [String(upstream.port), ca.caFile]);
  const contestant = (name: string, target: Target, child: ChildProcess | null): Contestant => ({
    name,
    target,
    child,
    results: [],
    transfers: { down: [], up: [], cpuUs: [] },
  });
  const contestants = [
    contestant('no proxy', { port: upstream.port, ca: Buffer.from(ca.caPem) }, null),
    contestant('@fastify/http-proxy as shipped', { port: shipped.port }, shipped.child),
    contestant('gateway', { port: gateway.port }, gateway.child),
  ];
  if (values.against !== undefined) {
    const script = pathToFileURL(resolve(values.against, 'bench/target-gateway.ts')).href;
    const other = await start(script, [String(upstream.port), ca.caFile]);
    contestants.push(contestant('gateway of the other checkout', { port: other.port }, other.child));
  }

  for (const { target } of contestants)
    await runLoad(target, '/api/v2/users?pageSize=5', Math.min(requests, 5000), connections);
  for (let round = 0; round < rounds; round += 1) {
    for (const { target, child, results, transfers } of contestants) {
      const before = child ? (await account(child)).cpuUs : 0;
      const load = await runLoad(target, '/api/v2/users?pageSize=5', requests, connections);
      const after = child ? (await account(child)).cpuUs : 0;
      results.push({ load, cpuUs: (after - before) / load.requests });
      transfers.down.push(await runTransfer(target, 'down', transferBytes));
      transfers.up.push(await runTransfer(target, 'up', transferBytes));
      if (child) transfers.cpuUs.push(((await account(child)).cpuUs - after) / 1000);
    }
  }

  console.log(
    `${rounds} interleaved rounds of ${requests} GETs over ${connections} connections, 1.1 kB JSON, TLS upstream; ` +
      'medians',
  );
  console.log(
    '                                 req/s   p50 ms   p99 ms  CPU us/req  64 MiB down/up MiB/s  CPU ms  peak MiB',
  );
  for (const { name, child, results, transfers } of contestants) {
    const peak = child ? Math.round((await account(child)).peakRssBytes / 1024 / 1024) : 0;
    const cells = [
      median(results.map(({ load }) => load.requests / load.seconds))
        .toFixed(0)
        .padStart(8),
      median(results.map(({ load }) => load.p50))
        .toFixed(2)
        .padStart(9),
      median(results.map(({ load }) => load.p99))
        .toFixed(2)
        .padStart(9),
      (child ? median(results.map(({ cpuUs }) => cpuUs)).toFixed(1) : '-').padStart(12),
      `${median(transfers.down).toFixed(0)} / ${median(transfers.up).toFixed(0)}`.padStart(22),
      (child ? median(transfers.cpuUs).toFixed(0) : '-').padStart(8),
      (child ? String(peak) : '-').padStart(10),
    ];
    console.log(name.padEnd(30) + cells.join(''));
  }
  const [, shippedProxy, ours, other] = contestants as [Contestant, Contestant, Contestant, Contestant?];
  for (const against of other === undefined ? [shippedProxy] : [shippedProxy, other]) {
    const ratios = ours.results.map(({ cpuUs }, round) => cpuUs / (against.results[round]?.cpuUs ?? Number.NaN));
    console.log(
      `CPU a request, gateway / ${against.name}: median ${median(ratios).toFixed(2)} of ` +
        `${ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`,
    );
  }
} finally {
  for (const child of children) child.kill();
  await ca.close();
}
