// `npm run bench:logging`: what the record of an exchange costs, as CPU a request at `log_level = info` against `none`,
// in interleaved rounds.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createTestCa } from '../test/helpers/certificates.ts';
import type { Accounting } from './accounting.ts';
import { runLoad } from './load.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    requests: { type: 'string', default: '20000' },
    connections: { type: 'string', default: '32' },
  },
});
const rounds = Number(values.rounds);
const requests = Number(values.requests);
const connections = Number(values.connections);
const LEVELS = ['none', 'info'] as const;
const PATH = '/api/v2/users?pageSize=5';

const ca = await createTestCa();
const { keyFile, certFile } = await ca.issue(['localhost', '127.0.0.1']);
const children: ChildProcess[] = [];

async function start(script: string, args: string[]): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(new URL(script, import.meta.url), args, {
    stdio: ['ignore', openSync('/dev/null', 'w'), 'inherit', 'ipc'],
  });
  children.push(child);
  const died = once(child, 'exit').then(() => Promise.reject(new Error(`${script} ended before it listened`)));
  died.catch(() => {});
  const [message] = (await Promise.race([once(child, 'message'), died])) as [{ port: number }];
  return { child, port: message.port };
}

async function cpuUs(child: ChildProcess): Promise<number> {
  child.send('account');
  const [accounting] = (await once(child, 'message')) as [Accounting];
  return accounting.cpuUs;
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

try {
  const upstream = await start('./upstream.ts', [keyFile, certFile]);
  const targets = [];
  for (const level of LEVELS)
    targets.push({
      level,
      perRound: [] as number[],
      ...(await start('./target-logging.ts', [String(upstream.port), ca.caFile, level])),
    });
  for (const { port } of targets) await runLoad({ port }, PATH, requests, connections);
  for (let round = 0; round < rounds; round += 1) {
    // Each goes first every other time.
    for (const { child, port, perRound } of round % 2 === 0 ? targets : [...targets].reverse()) {
      const before = await cpuUs(child);
      await runLoad({ port }, PATH, requests, connections);
      perRound.push(((await cpuUs(child)) - before) / requests);
    }
  }
  const [none, info] = targets as [(typeof targets)[0], (typeof targets)[0]];
  const shares = info.perRound.map((us, round) => us / (none.perRound[round] as number) - 1);
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  console.log(`${rounds} interleaved rounds of ${requests} GETs over ${connections} connections, TLS upstream`);
  for (const { level, perRound } of targets)
    console.log(`log_level = ${level}: ${perRound.map((us) => us.toFixed(1)).join(' ')} us of CPU a request`);
  console.log(`the record costs ${percent(median(shares))} (median of ${shares.map(percent).join(', ')})`);
} finally {
  for (const child of children) child.kill();
  await ca.close();
}
