import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { Pool } from 'undici';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import type { FromSessionGateway, ToSessionGateway } from '../helpers/session-gateway.ts';

t.setTimeout(3_600_000);

const MANY = 100_000;

interface Remote {
  readonly url: string;
  ask(message: ToSessionGateway): Promise<FromSessionGateway>;
}

async function startRemote(t: Test, upstream: string, max: number): Promise<Remote> {
  const child: ChildProcess = fork(new URL('../helpers/session-gateway.ts', import.meta.url), {
    execArgv: ['--expose-gc', '--max-old-space-size=2048'],
  });
  const ask = async (message: ToSessionGateway) => {
    const reply = once(child, 'message');
    child.send(message);
    return (await reply)[0] as FromSessionGateway;
  };
  t.teardown(async () => {
    if (child.exitCode !== null) return;
    const gone = once(child, 'exit');
    child.send({ kind: 'stop' } satisfies ToSessionGateway);
    await gone;
  });
  const { url = '' } = await ask({ kind: 'start', upstream, max });
  return { url, ask };
}

async function startSandbox(t: Test): Promise<{ sandbox: Sandbox; origin: string }> {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  return { sandbox, origin };
}

const statusOf = async (url: string, handle: string) => {
  const answer = await fetch(`${url}/api/v2/tokens/me`, { headers: { authorization: `Bearer ${handle}` } });
  await answer.arrayBuffer();
  return answer.status;
};

t.test(
  '100,000 logins: no more sessions than the maximum, memory with them, the one idle for longest goes first',
  { timeout: 600_000 },
  async (t) => {
    const { sandbox, origin } = await startSandbox(t);
    const max = 10_000;
    const { url, ask } = await startRemote(t, origin, max);
    const first = (
      await ask({ kind: 'open', tokens: [sandbox.issueToken().value, sandbox.issueToken().value], count: 0 })
    ).handles as [string, string];
    t.equal(await statusOf(url, first[0]), 200);
    await ask({ kind: 'open', tokens: [], count: max - 2 });
    const full = await ask({ kind: 'measure', collect: true });
    t.equal(full.size, max);
    for (let opened = max; opened < MANY; opened += max) {
      // One that is used stays, however many come after it.
      t.equal(await statusOf(url, first[0]), 200);
      await ask({ kind: 'open', tokens: [], count: max - 1 });
    }
    const after = await ask({ kind: 'measure', collect: true });
    t.equal(after.size, max);
    const ratio = (after.heapBytes as number) / (full.heapBytes as number);
    t.comment(
      `heap ${mib(full.heapBytes)} MiB when full, ${mib(after.heapBytes)} MiB after 100,000 (${ratio.toFixed(3)}); ` +
        `rss ${mib(full.rssBytes)} and ${mib(after.rssBytes)} MiB`,
    );
    t.ok(ratio < 1.1, `heap grew by a factor of ${ratio.toFixed(3)} from full to ten times over`);
    t.equal(await statusOf(url, first[0]), 200, 'used all along');
    t.equal(await statusOf(url, first[1]), 401, 'idle for longest');
  },
);

t.test('CPU a request with 100,000 sessions is within 1.05 of that with one', { timeout: 900_000 }, async (t) => {
  const { sandbox, origin } = await startSandbox(t);
  // Both have seen as many logins, so that only what they still hold tells them apart, and not what their heaps have
  // been through.
  const one = await startRemote(t, origin, 1);
  const many = await startRemote(t, origin, MANY);
  const open = async (remote: Remote) => {
    await remote.ask({ kind: 'open', tokens: [], count: MANY - 1 });
    return (await remote.ask({ kind: 'open', tokens: [sandbox.issueToken().value], count: 0 })).handles?.[0] as string;
  };
  const handles = [await open(one), await open(many)] as const;
  t.equal((await one.ask({ kind: 'measure', collect: true })).size, 1);
  t.equal((await many.ask({ kind: 'measure', collect: true })).size, MANY);
  const rounds: [number, number][] = [];
  // A warm-up, then rounds in turn, so that what else the machine does falls on both.
  for (let round = -2; round < 14; round++) {
    const pair: number[] = [];
    for (const [at, remote] of (round % 2 === 0
      ? [
          [0, one],
          [1, many],
        ]
      : [
          [1, many],
          [0, one],
        ]) as [0 | 1, Remote][]) {
      await remote.ask({ kind: 'measure', collect: false });
      await load(remote.url, handles[at], 6_000);
      pair[at] = ((await remote.ask({ kind: 'measure', collect: false })).cpuMicros as number) / 6_000;
    }
    if (round >= 0) rounds.push(pair as [number, number]);
  }
  const ratios = rounds.map(([alone, crowded]) => crowded / alone).sort((a, b) => a - b);
  const middle = ratios[Math.floor(ratios.length / 2)] as number;
  const alone = Math.min(...rounds.map(([value]) => value));
  const crowded = Math.min(...rounds.map(([, value]) => value));
  t.comment(
    `least CPU a request: ${alone.toFixed(1)} µs with one, ${crowded.toFixed(1)} µs with 100,000 ` +
      `(${(crowded / alone).toFixed(3)}); median ratio ${middle.toFixed(3)}`,
  );
  t.ok(middle <= 1.05, `ratio ${middle.toFixed(3)}`);
});

async function load(url: string, handle: string, count: number): Promise<void> {
  const pool = new Pool(url, { connections: 8 });
  let left = count;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const { statusCode, body } = await pool.request({
        method: 'GET',
        path: '/api/v2/tokens/me',
        headers: { authorization: `Bearer ${handle}` },
      });
      await body.dump();
      if (statusCode !== 200) throw new Error(`status ${statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  await pool.close();
}

const mib = (bytes = 0) => (bytes / 1024 / 1024).toFixed(1);
