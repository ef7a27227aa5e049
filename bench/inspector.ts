// What the inspector costs: `npm run bench:inspector`. Two gateways without it, to see how much two of the same differ,
// and one with it: unwatched, with one watcher, and with ten that do not read. CPU time is the gateway's process alone;
// rounds are short, many and interleaved, each in another order, so that what else the machine does falls on all alike.
// Then what the one with it holds in memory after so many calls more. Only ratios within a run mean anything, and none
// that is smaller than the spread.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { CallRing } from '../src/inspector/call-ring.ts';
import { createTestCa } from '../test/helpers/certificates.ts';
import type { Accounting, AccountingQuestion } from './accounting.ts';
import { type LoadResult, runLoad } from './load.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '25' },
    requests: { type: 'string', default: '3000' },
    connections: { type: 'string', default: '32' },
    more: { type: 'string', default: '100000' },
  },
});
const [rounds, requests, connections, more] = [values.rounds, values.requests, values.connections, values.more].map(
  Number,
) as [number, number, number, number];
const PATH = '/api/v2/users?pageSize=5';
const MIB = 1024 * 1024;
const WARM_UP = 15_000;
/** The number below which this share of them lies. */
const quantile = (numbers: readonly number[], share: number) =>
  numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) * share)] ?? 0;
const median = (numbers: readonly number[]) => quantile(numbers, 1 / 2);

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

async function account({ child }: Started, question: AccountingQuestion = 'account'): Promise<Accounting> {
  child.send(question);
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
  /** What it is compared with; itself where that is null. */
  readonly base: Way | null;
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
  const [off, same, quiet, on] = [
    await gateway('off'),
    await gateway('off'),
    await gateway('on'),
    await gateway('on'),
  ] as const;
  const way = (name: string, target: Started, base: Way | null, watchers = 0, isRead = true): Way => {
    return { name, gateway: target, base, watchers, isRead, results: [] };
  };
  const base = way('without', off, null);
  // Two processes of the same code differ by more than a watcher costs: that is compared within one.
  const unwatched = way('with, watched before', on, base);
  const ways = [
    base,
    way('without, once more', same, base),
    way('with, never watched', quiet, base),
    unwatched,
    way('with one watcher', on, unwatched, 1),
    way('with ten that do not read', on, unwatched, 10, false),
  ];
  for (const target of [off, same, quiet, on]) await runLoad({ port: target.port }, PATH, WARM_UP, connections);
  const [warming] = await watch(on, 1, true);
  await runLoad({ port: on.port }, PATH, WARM_UP, connections);
  warming?.destroy();
  for (let round = 0; round < rounds; round++)
    for (let at = 0; at < ways.length; at++) await measure(ways[(round + at) % ways.length] as Way);
  console.log(`${rounds} interleaved rounds of ${requests} calls; CPU a call in µs, medians`);
  console.log(
    'to the one without, with watchers to the same unwatched: of the medians, and the median (quartiles) of the rounds',
  );
  console.log('                              CPU a call   of medians   of rounds              throughput     p99');
  for (const one of ways) {
    const { name, results } = one;
    const { results: others } = one.base ?? one;
    const ratios = (of: (result: Way['results'][number]) => number) =>
      results.map((result, round) => of(result) / of(others[round] as Way['results'][number]));
    const cpu = median(results.map(({ cpuUs }) => cpuUs));
    const cpus = ratios(({ cpuUs }) => cpuUs);
    const [low, middle, high] = [1 / 4, 1 / 2, 3 / 4].map((share) => quantile(cpus, share).toFixed(3));
    const cells = [
      cpu.toFixed(1).padStart(12),
      (cpu / median(others.map(({ cpuUs }) => cpuUs))).toFixed(3).padStart(13),
      `   ${middle} (${low} ${high})`,
      median(ratios(({ load }) => load.requests / load.seconds))
        .toFixed(3)
        .padStart(14),
      median(ratios(({ load }) => load.p99))
        .toFixed(2)
        .padStart(8),
    ];
    console.log(`${name.padEnd(28)}${cells.join('')}`);
  }
  const stalled = await watch(on, 10, false);
  const held = async () => {
    const { heapBytes, externalBytes, rssBytes } = await account(on, 'collected');
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
