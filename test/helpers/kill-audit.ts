// Kills a process in the middle of its audit, again and again, and asks the next one what is left. For the suite and for
// the long run.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { nodeIo } from '../../src/audit/audit-io.ts';
import { AuditTrail } from '../../src/audit/audit-trail.ts';
import { verifyTrail } from '../../src/audit/verify-trail.ts';
import { systemClock } from '../../src/clock.ts';
import { UsageLedger } from '../../src/usage/usage-ledger.ts';
import { createDice } from './dice.ts';

const LOAD = fileURLToPath(new URL('audit-load.ts', import.meta.url));
const SILENT = { error() {}, warn() {}, info() {}, debug() {} };

/** A process under load, with what it told so far. */
async function startLoad(folder: string, mode: string): Promise<{ child: ChildProcess; told: () => string[] }> {
  const child = spawn(process.execPath, ['--no-warnings', LOAD, folder, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return { child, told: () => text.split('\n').slice(0, -1) };
}

async function kill(child: ChildProcess): Promise<number> {
  const ended = once(child, 'close');
  const at = Date.now();
  child.kill('SIGKILL');
  await ended;
  return at;
}

/** Each kill leaves files that verify as soon as the next process has opened them, with every line that was confirmed. */
export async function surviveAuditKills(t: Test, kills: number, seed: number): Promise<void> {
  const folder = t.testdir();
  const file = join(folder, 'audit.jsonl');
  const dice = createDice(seed);
  const trailFiles = () =>
    readdirSync(folder)
      .filter((name) => /^audit\.jsonl(\.\d+)?$/.test(name))
      .map((name) => join(folder, name));
  let cuts = 0;
  for (let killed = 0; killed < kills; killed++) {
    const mode = killed % 2 === 0 ? 'sync' : 'async';
    const { child, told } = await startLoad(folder, mode);
    if (dice.chance(0.3)) {
      renameSync(file, `${file}.${killed}`);
      child.kill('SIGHUP');
      await wait(dice.int(20));
    }
    await wait(dice.int(30));
    await kill(child);
    t.same(
      told().filter((line) => line.startsWith('error')),
      [],
    );
    const confirmed = Math.max(0, ...told().map((line) => Number(/^confirmed (\d+)$/.exec(line)?.[1] ?? 0)));
    const next = await AuditTrail.open({ file, sync: false, clock: systemClock, log: SILENT, io: nodeIo });
    t.ok(next.head.seq > confirmed, `${next.head.seq} lines, ${confirmed} of them confirmed`);
    await next.close();
    if (killed % 20 !== 19 && killed !== kills - 1) continue;
    const { problems, chains, notes } = await verifyTrail(trailFiles());
    t.same(problems, [], `whole after ${killed + 1} kills`);
    t.equal(chains.length, 1);
    cuts = notes.filter(({ what }) => /cut by a crash/.test(what)).length;
  }
  t.comment(`${kills} kills, ${cuts} of them in the middle of a line`);
}

/** Each kill takes at most what was counted within the last second. */
export async function surviveUsageKills(t: Test, kills: number, seed: number): Promise<void> {
  const folder = t.testdir();
  const dice = createDice(seed);
  for (let killed = 0; killed < kills; killed++) {
    const { child, told } = await startLoad(folder, 'async');
    await wait(dice.int(2_500));
    const at = await kill(child);
    const counted = told().flatMap((line) => {
      const [, time, total] = /^counted (\d+) (\d+)$/.exec(line) ?? [];
      return time === undefined ? [] : [{ time: Number(time), total: Number(total) }];
    });
    const secondBefore = counted.findLast(({ time }) => time <= at - 1_000)?.total ?? counted[0]?.total ?? 0;
    const ledger = await UsageLedger.open({ folder, prefix: 'gcg', clock: systemClock, log: SILENT });
    const kept = ledger.total('crm', Date.now());
    const rows = ledger.month(ledger.monthAt(Date.now()));
    await ledger.close();
    t.ok(kept >= secondBefore - 40, `${kept} are kept, ${secondBefore} were counted a second before the kill`);
    t.ok(kept <= (counted.at(-1)?.total ?? 0) + 40 * 11, 'and none that was not counted');
    t.equal(
      rows.reduce((sum, { calls }) => sum + calls, 0),
      kept,
    );
  }
}
