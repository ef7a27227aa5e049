// `gcg serve` as a process with a configuration file, load on it, and what the system says about its handles and
// memory.

import { readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import type { Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { addressOf, type Command, startCommand } from './command.ts';

/** A running gateway and what is round it. */
export interface Served {
  readonly sandbox: Sandbox;
  readonly command: Command;
  readonly url: string;
  readonly folder: string;
  readonly configFile: string;
  /** The configuration with further lines at its end. */
  configText(more?: string): string;
  /** Puts a new file in the place of the configuration. */
  swapConfig(text: string): void;
  /** Resolves with the nth record (from 1) of a message. */
  record(msg: string, nth: number): Promise<Record<string, unknown>>;
}

/** Starts the simulation and the gateway, and waits until it is ready. */
export async function startServed(t: Test, more = '', env: NodeJS.ProcessEnv = {}): Promise<Served> {
  const sandbox = createSandbox({ switches: { latencyMs: 5 } });
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const folder = t.testdir();
  const configFile = join(folder, 'gcg.ini');
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const configText = (extra = '') =>
    [
      '[gateway]',
      `host = ${host}`,
      `port = ${port}`,
      'protocol = http',
      '[server]',
      'listen = 127.0.0.1:0',
      '[credential]',
      `client_id = ${id}`,
      `client_secret = ${secret}`,
      extra,
    ].join('\n');
  writeFileSync(configFile, configText(more), { mode: 0o600 });
  const command = startCommand(t, ['serve', '--config', configFile], { cwd: folder, env });
  const url = addressOf(await command.until('"msg":"listening"'));
  await command.until('"msg":"ready"');
  let swaps = 0;
  return {
    sandbox,
    command,
    url,
    folder,
    configFile,
    configText,
    swapConfig(text) {
      swaps += 1;
      const temporary = `${configFile}.${swaps}`;
      writeFileSync(temporary, text, { mode: 0o600 });
      renameSync(temporary, configFile);
    },
    async record(msg, nth) {
      for (;;) {
        const found = command
          .stdout()
          .split('\n')
          .filter((line) => line.includes(`"msg":"${msg}"`) && line.endsWith('}'));
        const line = found[nth - 1];
        if (line !== undefined) return JSON.parse(line) as Record<string, unknown>;
        await nextOutput(command);
      }
    },
  };
}

function nextOutput({ child, ended }: Command): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    void ended.then(() => reject(new Error('the gateway ended')));
  });
}

/** Load that goes on until it is stopped. */
export interface Load {
  stop(): Promise<{ calls: number; failures: string[] }>;
  /** Resolves when so many more calls have ended. */
  more(calls: number): Promise<void>;
}

/**
 * Keeps `connections` callers calling, each with its next call when the last has ended. Answers other than 200 and cut
 * ones are failures.
 */
export function startLoad(url: string, connections = 8): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const failures: string[] = [];
  let calls = 0;
  let isStopping = false;
  let waiting: { at: number; resolve: () => void }[] = [];
  const one = (n: number) =>
    new Promise<void>((resolve) => {
      const over = (failure: string | null) => {
        if (failure !== null) failures.push(failure);
        calls += 1;
        const due = waiting.filter(({ at }) => at <= calls);
        waiting = waiting.filter(({ at }) => at > calls);
        for (const each of due) each.resolve();
        resolve();
      };
      const method = n % 4 === 0 ? 'POST' : 'GET';
      const path =
        n % 4 === 0 ? '/api/v2/analytics/conversations/details/query' : `/api/v2/users?pageSize=${1 + (n % 20)}`;
      const call = httpRequest(
        `${url}${path}`,
        { agent, method, headers: { 'content-type': 'application/json' } },
        (answer) => {
          answer.resume();
          answer.on('error', (error) => over(`cut: ${error.message}`));
          answer.on('end', () =>
            over(
              answer.statusCode === 200
                ? null
                : `${method} ${path}: ${answer.statusCode} ${answer.headers['x-gateway-error'] ?? ''}`,
            ),
          );
        },
      );
      call.on('error', (error) => over(`${method}: ${error.message}`));
      call.end(method === 'POST' ? '{"interval":"2026-01-01T00:00Z/2026-01-02T00:00Z"}' : undefined);
    });
  const workers = Array.from({ length: connections }, async (_, worker) => {
    for (let n = worker; !isStopping; n += 1) await one(n);
  });
  return {
    async stop() {
      isStopping = true;
      await Promise.all(workers);
      agent.destroy();
      return { calls, failures };
    },
    more: (count) => new Promise((resolve) => waiting.push({ at: calls + count, resolve })),
  };
}

/**
 * Makes a process count all of its timers: Node's own list leaves out those that do not keep a process alive, which
 * are nearly all of ours. For NODE_OPTIONS.
 */
export const COUNT_TIMERS = `--import=data:text/javascript,${encodeURIComponent(`
  const timers = new Set();
  const pending = () => {
    for (const timer of timers) if (timer._destroyed) timers.delete(timer);
    return [...timers].map(() => 'Timeout');
  };
  for (const name of ['setTimeout', 'setInterval'])
    globalThis[name] = new Proxy(globalThis[name], {
      apply(make, self, given) {
        const timer = Reflect.apply(make, self, given);
        timers.add(timer);
        return timer;
      },
    });
  const listed = process.getActiveResourcesInfo;
  process.getActiveResourcesInfo = () => [...listed().filter((type) => type !== 'Timeout'), ...pending()];
  setInterval(pending, 500).unref();
`)}`;

/** What a process holds. Counts of descriptors by kind, inotify watches, timers, heap in MiB. */
export interface Holdings {
  readonly sockets: number;
  readonly files: number;
  readonly watches: number;
  readonly timers: number;
  readonly heapMiB: number;
}

/**
 * From /proc where there is one, and from /metrics. The heap is the least of some looks, when the collector has just
 * been.
 */
export async function holdingsOf({ command, url }: Pick<Served, 'command' | 'url'>): Promise<Holdings> {
  let heapMiB = Number.POSITIVE_INFINITY;
  let timers = Number.POSITIVE_INFINITY;
  for (let looks = 0; looks < 12; looks += 1) {
    const text = await (await fetch(`${url}/metrics`)).text();
    const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
    heapMiB = Math.min(heapMiB, value('nodejs_heap_size_used_bytes') / 1024 / 1024);
    // Calls in progress have timers too; one that was left behind is there at every look.
    timers = Math.min(timers, value('nodejs_active_resources\\{type="Timeout"\\}'));
  }
  return { ...descriptorsOf(command.child.pid ?? 0), timers, heapMiB: Math.round(heapMiB * 10) / 10 };
}

function descriptorsOf(pid: number): { sockets: number; files: number; watches: number } {
  const counts = { sockets: 0, files: 0, watches: 0 };
  let names: string[];
  try {
    names = readdirSync(`/proc/${pid}/fd`);
  } catch {
    // No such file system here: only the other numbers count.
    return counts;
  }
  for (const name of names) {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${name}`);
      if (target.startsWith('socket:')) counts.sockets += 1;
      else if (target.includes('inotify'))
        counts.watches += (readFileSync(`/proc/${pid}/fdinfo/${name}`, 'utf8').match(/^inotify /gm) ?? []).length;
      else counts.files += 1;
    } catch {
      // Closed since it was listed.
    }
  }
  return counts;
}
