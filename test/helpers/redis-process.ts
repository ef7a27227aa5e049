// A real redis-server on a unix socket in a folder of its own: to be killed, frozen, and started again, full or empty.
// Also as replica, as cluster node, with TLS, with users, and as Sentinel. Where Debian's redis-server is absent, tests
// are skipped with that word; on CI they fail.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@redis/client';
import type { Test } from 'tap';
import { freePort } from './proxies.ts';

const PATHS = ['/usr/bin/redis-server', '/usr/local/bin/redis-server'];

/** What tap is told when there is no server: a reason to skip, or false. */
export const withoutRedis: string | false =
  process.env.CI === 'true' || PATHS.some(existsSync) ? false : 'there is no redis-server on this machine';

export interface RedisOptions {
  /** Also listens on a free TCP port of 127.0.0.1. */
  readonly tcp?: boolean;
  /** Listens with TLS on a free port, with these files. */
  readonly tls?: { readonly keyFile: string; readonly certFile: string; readonly caFile: string };
  /** Whether callers of the TLS port must show a certificate. Default: false. */
  readonly asksForCertificates?: boolean;
  /** The password of the user `default`. */
  readonly password?: string;
  /** Lines of an ACL file without `user`: `gcg on >secret ~{gcg}:* +get`. */
  readonly users?: readonly string[];
  readonly replicaOf?: RedisProcess;
  readonly isClusterNode?: boolean;
  /** Whether each write is on the disk before its reply: what was written is there after a kill. Default: false. */
  readonly isDurable?: boolean;
  /** Further lines of its configuration. */
  readonly lines?: readonly string[];
}

/** Servers that run; they end with this process, however it ends. */
const running = new Set<ChildProcess>();

function endAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

process.once('exit', endAll);
// Handlers of `exit` do not run when a signal ends the process, as tap's does after its timeout.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.once(signal, () => {
    endAll();
    process.kill(process.pid, signal);
  });
}

/** Starts one; it ends with `t`. */
export async function startRedis(t: Test, options: RedisOptions = {}): Promise<RedisProcess> {
  const server = new RedisProcess(options);
  t.teardown(() => server.close());
  await server.start();
  return server;
}

/** One server; its data lives in its folder. */
export class RedisProcess {
  readonly folder = mkdtempSync(join(tmpdir(), 'gcg-redis-'));
  readonly socket = join(this.folder, 'r.sock');
  /** 0 without `tcp`. */
  port = 0;
  /** 0 without `tls`. */
  tlsPort = 0;
  readonly #options: RedisOptions;
  #child: ChildProcess | undefined;
  #output = '';
  #control: ReturnType<typeof connectTo> | undefined;
  #isClosed = false;

  constructor(options: RedisOptions) {
    this.#options = options;
  }

  /** As `store.url` names it: by its socket. */
  get url(): string {
    return `unix:${this.socket}`;
  }

  get pid(): number {
    return this.#child?.pid as number;
  }

  /** What it wrote. */
  get output(): string {
    return this.#output;
  }

  /** Resolves when it accepts connections. Ports stay the same over restarts. */
  async start(): Promise<void> {
    const { tcp, tls, isClusterNode } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      if (this.port === 0 && (tcp || isClusterNode)) this.port = await freePort();
      if (this.tlsPort === 0 && tls) this.tlsPort = await freePort();
      if (await this.#run(await this.#configure(), [])) return;
      // Another process took the port between our look and the start.
      if (attempt > 3 || !this.#output.includes('Address already in use')) throw new Error(this.#output);
      this.port = 0;
      this.tlsPort = 0;
    }
  }

  /** Writes its configuration; the path of it. */
  async #configure(): Promise<string> {
    const {
      tls,
      asksForCertificates = false,
      password,
      users,
      replicaOf,
      isClusterNode,
      isDurable,
      lines = [],
    } = this.#options;
    const file = join(this.folder, 'redis.conf');
    if (users) writeFileSync(join(this.folder, 'users.acl'), users.map((user) => `user ${user}\n`).join(''));
    const all = [
      `port ${this.port}`,
      'bind 127.0.0.1',
      `unixsocket ${this.socket}`,
      `dir ${this.folder}`,
      'save ""',
      isDurable ? 'appendonly yes' : 'appendonly no',
      ...(isDurable ? ['appendfsync always'] : []),
      // A first synchronisation waits five seconds for others otherwise.
      'repl-diskless-sync-delay 0',
      ...(password === undefined ? [] : [`requirepass ${password}`, `masterauth ${password}`]),
      ...(users ? [`aclfile ${join(this.folder, 'users.acl')}`] : []),
      ...(replicaOf ? [`replicaof 127.0.0.1 ${replicaOf.port}`] : []),
      ...(isClusterNode ? ['cluster-enabled yes', `cluster-port ${await freePort()}`] : []),
      ...(tls
        ? [
            `tls-port ${this.tlsPort}`,
            `tls-key-file ${tls.keyFile}`,
            `tls-cert-file ${tls.certFile}`,
            `tls-ca-cert-file ${tls.caFile}`,
            `tls-auth-clients ${asksForCertificates ? 'yes' : 'no'}`,
          ]
        : []),
      ...lines,
    ];
    writeFileSync(file, `${all.join('\n')}\n`);
    return file;
  }

  /** Whether it came up. */
  async #run(file: string, flags: readonly string[]): Promise<boolean> {
    this.#output = '';
    this.#child = await runServer([file, ...flags], (text) => {
      this.#output += text;
    });
    return this.#child.exitCode === null;
  }

  /** Ends it at once, as the machine's failure would; what was not on the disk is gone. */
  async kill(): Promise<void> {
    this.#control = undefined;
    await endServer(this.#child);
  }

  /** Stops it in its tracks (SIGSTOP): it accepts connections and answers nothing. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Kills it and starts it again, on the same socket and ports; `empty`: without the data. */
  async restart({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    await this.kill();
    if (empty) {
      for (const name of readdirSync(this.folder))
        if (/^(?:dump|appendonly)/.test(name)) rmSync(join(this.folder, name), { recursive: true });
    }
    await this.start();
  }

  /** Sends a command over a connection of the helper's own, as the user `default` with its password. */
  async command<T = unknown>(...args: string[]): Promise<T> {
    this.#control ??= connectTo(this.socket, this.#options.password);
    return (await this.#control).sendCommand(args) as Promise<T>;
  }

  /** Resolves when a condition on it holds, which is asked again and again. */
  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + 15_000;
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`it never came to be: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts the program and resolves when it accepts connections, or has ended. */
async function runServer(args: readonly string[], write: (text: string) => void): Promise<ChildProcess> {
  const program = PATHS.find(existsSync);
  if (program === undefined) throw new Error('redis-server is needed here: install it, or run without CI=true');
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let said = '';
  await new Promise<void>((resolve) => {
    const read = (text: string) => {
      write(text);
      said += text;
      if (/Ready to accept connections|Sentinel ID is|The server is now ready/.test(said)) resolve();
    };
    child.stdout.setEncoding('utf8').on('data', read);
    child.stderr.setEncoding('utf8').on('data', read);
    child.once('close', () => resolve());
  });
  return child;
}

async function endServer(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function connectTo(socket: string, password: string | undefined) {
  const client = createClient({
    RESP: 3,
    socket: { path: socket, reconnectStrategy: false },
    ...(password !== undefined && { password }),
  });
  // It ends with the server.
  client.on('error', () => {});
  return client.connect();
}

/** Two masters of one cluster that share its slots; resolves when both say that it is whole. */
export async function startCluster(t: Test, options: RedisOptions = {}): Promise<[RedisProcess, RedisProcess]> {
  const nodes = await Promise.all([0, 1].map(() => startRedis(t, { ...options, isClusterNode: true })));
  const [first, second] = nodes as [RedisProcess, RedisProcess];
  await first.command('CLUSTER', 'ADDSLOTSRANGE', '0', '8191');
  await second.command('CLUSTER', 'ADDSLOTSRANGE', '8192', '16383');
  const bus = /cluster-port (\d+)/.exec(readFileSync(join(second.folder, 'redis.conf'), 'utf8'))?.[1] as string;
  await first.command('CLUSTER', 'MEET', '127.0.0.1', String(second.port), bus);
  for (const node of nodes)
    await node.until('a whole cluster', async () => `${await node.command('CLUSTER', 'INFO')}`.includes('state:ok'));
  return [first, second];
}

/** A Sentinel that watches one master. */
export interface SentinelProcess {
  readonly port: number;
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

/** Starts a Sentinel; a majority of one decides. Its master needs `tcp`. It ends with `t`. */
export async function startSentinel(
  t: Test,
  {
    name,
    master,
    password,
    lines = [],
  }: {
    readonly name: string;
    readonly master: RedisProcess;
    /** What callers of the Sentinel must say. */
    readonly password?: string;
    readonly lines?: readonly string[];
  },
): Promise<SentinelProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-sentinel-'));
  const file = join(folder, 'sentinel.conf');
  const port = await freePort();
  const monitor = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
    `sentinel down-after-milliseconds ${name} 800`,
    `sentinel failover-timeout ${name} 3000`,
    ...(password === undefined ? [] : [`requirepass ${password}`]),
    ...lines,
  ];
  writeFileSync(file, '');
  appendFileSync(file, `${monitor.join('\n')}\n`);
  let output = '';
  const child = await runServer([file, '--sentinel'], (text) => {
    output += text;
  });
  const close = async () => {
    await endServer(child);
    rmSync(folder, { recursive: true, force: true });
  };
  t.teardown(close);
  if (child.exitCode !== null) throw new Error(output);
  return { port, freeze: () => void child.kill('SIGSTOP'), thaw: () => void child.kill('SIGCONT'), close };
}
