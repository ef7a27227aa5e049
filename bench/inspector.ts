// What the inspector costs: `npm run bench:inspector`. Two gateways without it, to see how much two of the same differ,
// and one with it: unwatched, with one watcher, and with ten that do not read; interleaved rounds. Then what the one with
// it holds in memory after so many calls more. Only ratios within a run mean anything.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { CallRing } from '../src/inspector/call-ring.ts';
import { createTestCa } from '../test/helpers/certificates.ts';
import type { Accounting } from './accounting.ts';
import { type LoadResult, runLoad } from './load.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    requests: { type: 'string', default: '15000' },
    connections: { type: 'string', default: '32' },
    more: { type: 'string', default: '100000' },
  },
});
const [rounds, requests, connections, more] = [values.rounds, values.requests, values.connections, values.more].map(
  Number,
) as [number, number, number, number];
const PATH = '/api/v2/users?pageSize=5';
const MIB = 1024 * 1024;
const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

/** CPU time of taking a line in, in µs. */
function costOfRing(): number {
  const ring = new CallRing({ bytes: 4 * MIB, failureBytes: MIB });
  const line = `${JSON.stringify({ level: 'info', path: PATH, text: 'x'.repeat(520) })}\n`;
  const count = 2_000_000;
  for (let at = 0; at < 100_000; at++) ring.add(line, false);
  const before = process.cpuUsage();
  for (let at = 0; at < count; at++) ring.add(line, false);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

const ca = await createTestCa();
const { keyFile, certFile } = await ca.issue(['localhost', '127.0.0.1']);
const children: ChildProcess[] = [];

interface Started {
  readonly child: ChildProcess;
  readonly port: number;
  readonly pageKey: string;
}

async function start(script: string, args: string[]): Promise<Started> {
  const child = fork(new URL(script, import.meta.url), args, {
    stdio: ['ignore', openSync('/dev/null', 'w'), 'inherit', 'ipc'],
    execArgv: ['--expose-gc'],
  });
  children.push(child);
  const [{ port, pageKey = '' }] = (await once(child, 'message')) as [{ port: number; pageKey?: string }];
  return { child, port, pageKey };
}

async function account({ child }: Started): Promise<Accounting> {
  child.send('account');
  const [accounting] = (await once(child, 'message')) as [Accounting];
  return accounting;
}

/** Opens streams of events; they are read or not. */
async function watch({ port, pageKey }: Started, count: number, isRead: boolean): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'));
  await Promise.all(
    sockets.map(async (socket) => {
      socket.on('error', () => {});
      socket.write(
        `GET /-/events HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Request: 1\r\nX-Gateway-Key: ${pageKey}\r\n\r\n`,
      );
      const [head] = (await once(socket, 'data')) as [Buffer];
      if (!head.toString('latin1').startsWith('HTTP/1.1 200')) throw new Error(head.toString('latin1').slice(0, 200));
      if (isRead) socket.resume();
      else socket.pause();
    }),
  );
  return sockets;
}

interface Way {
  readonly name: string;
  readonly gateway: Started;
  readonly watchers: number;
  readonly isRead: boolean;
  readonly results: { readonly load: LoadResult; readonly cpuUs: number }[];
}

async function measure({ gateway, watchers, isRead, results }: Way): Promise<void> {
  const sockets = await watch(gateway, watchers, isRead);
  const before = (await account(gateway)).cpuUs;
  const load = await runLoad({ port: gateway.port }, PATH, requests, connections);
  results.push({ load, cpuUs: ((await account(gateway)).cpuUs - before) / load.requests });
  for (const socket of sockets) socket.destroy();
}

try {
  console.log(`a line into the ring: ${costOfRing().toFixed(3)} µs`);
  const upstream = await start('./upstream.ts', [keyFile, certFile]);
  const gateway = (mode: string) => start('./target-gateway.ts', [String(upstream.port), ca.caFile, mode]);
  const [off, same, on] = [await gateway('off'), await gateway('off'), await gateway('on')] as const;
  const way = (name: string, target: Started, watchers = 0, isRead = true): Way => {
    return { name, gateway: target, watchers, isRead, results: [] };
  };
  const base = way('without', off);
  const ways = [
    base,
    way('without, once more', same),
    way('with, unwatched', on),
    way('with one watcher', on, 1),
    way('with ten that do not read', on, 10, false),
  ];
  for (const target of [off, same, on]) await runLoad({ port: target.port }, PATH, requests, connections);
  for (let round = 0; round < rounds; round++) for (const one of ways) await measure(one);
  console.log(`${rounds} interleaved rounds of ${requests} calls; medians of ratios to the one without`);
  console.log('                              throughput   CPU a call     p99');
  for (const { name, results } of ways) {
    const ratio = (of: (result: Way['results'][number]) => number) =>
      median(results.map((result, round) => of(result) / of(base.results[round] as Way['results'][number])));
    const cells = [
      ratio(({ load }) => load.requests / load.seconds).toFixed(3),
      ratio(({ cpuUs }) => cpuUs).toFixed(3),
      ratio(({ load }) => load.p99).toFixed(2),
    ];
    console.log(`${name.padEnd(28)}${cells[0]?.padStart(12)}${cells[1]?.padStart(13)}${cells[2]?.padStart(8)}`);
  }
  const stalled = await watch(on, 10, false);
  const held = async () => {
    const { heapBytes, externalBytes, rssBytes } = await account(on);
    return [heapBytes, externalBytes, rssBytes].map((bytes) => (bytes / MIB).toFixed(1)).join(' / ');
  };
  await runLoad({ port: on.port }, PATH, 20_000, connections);
  console.log(`heap / external / resident MiB, ten that do not read: ${await held()}`);
  await runLoad({ port: on.port }, PATH, more, connections);
  console.log(`after ${more} calls more: ${await held()}`);
  for (const socket of stalled) socket.destroy();
} finally {
  for (const child of children) child.kill();
  await ca.close();
}
