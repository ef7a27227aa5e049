// Who is measured: each is a program of its own, started on a port of the loopback, that forwards to the same upstream.
// A peer whose program is not installed is left out, with a word.

import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createTestCa, type TestCa } from '../test/helpers/certificates.ts';
import type { Target } from './load.ts';
import { cpuUs, GATEWAY } from './measure.ts';
import { haproxyConfiguration, nginxConfiguration, type PeerPlace } from './peers/configurations.ts';

/** A call that every contestant answers with 1.1 kB of JSON. */
export const PATH = '/api/v2/users?pageSize=5';

const STARTING_MS = 30_000;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** A program and how it is called. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** One that can be started, as often as wanted. */
export interface Contestant {
  readonly name: string;
  /** Null for calls that go straight to the upstream. */
  readonly command: ((place: PeerPlace) => Command) | null;
}

/** A contestant that has answered its first call. */
export interface Running {
  readonly name: string;
  readonly target: Target;
  /** Null for calls that go straight to the upstream. */
  readonly pid: number | null;
  /** From the start to the first answer: CPU of the process tree, and time. */
  readonly started: { readonly cpuMs: number; readonly wallMs: number };
  stop(): Promise<void>;
}

/** The upstream, and everything that is started for a run; close it. */
export class Scene {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gcg-bench-'));
  readonly #ca: TestCa;
  readonly #children = new Set<ChildProcess>();
  #upstreamPort = 0;

  private constructor(ca: TestCa) {
    this.#ca = ca;
  }

  /** Starts the upstream. With a round trip, it is reached by a way that is as long. */
  static async open(options: { readonly idleSeconds?: number; readonly roundTripMs?: number } = {}): Promise<Scene> {
    const ca = await createTestCa();
    const scene = new Scene(ca);
    const { keyFile, certFile } = await ca.issue(['localhost', '127.0.0.1']);
    const args = [keyFile, certFile, String(options.idleSeconds ?? 60)];
    scene.#upstreamPort = await scene.#fork('./upstream.ts', args);
    if (options.roundTripMs !== undefined)
      scene.#upstreamPort = await scene.#fork('./relay.ts', [String(scene.#upstreamPort), String(options.roundTripMs)]);
    return scene;
  }

  /** Where what forwards is to forward to. */
  place(port: number): PeerPlace {
    const listen = `127.0.0.1:${port}`;
    return { listen, upstreamPort: this.#upstreamPort, caFile: this.#ca.caFile, folder: this.#folder };
  }

  /** A program that ends instead of answering is tried once more: somebody else may have taken its port. */
  async start({ name, command }: Contestant): Promise<Running> {
    if (command === null) {
      const target = { port: this.#upstreamPort, ca: Buffer.from(this.#ca.caPem) };
      return { name, target, pid: null, started: { cpuMs: 0, wallMs: 0 }, stop: async () => {} };
    }
    return (await this.#tryToStart(name, command)) ?? (await this.#tryToStart(name, command)) ?? unanswered(name);
  }

  async #tryToStart(name: string, command: NonNullable<Contestant['command']>): Promise<Running | null> {
    const port = await freePort();
    const { program, args, env } = command(this.place(port));
    const sink = openSync('/dev/null', 'w');
    const startedAt = performance.now();
    const child = spawn(program, args, {
      stdio: ['ignore', sink, process.env.GCG_BENCH_STDERR === '1' ? 'inherit' : 'ignore'],
      env: { PATH: process.env.PATH, HOME: this.#folder, TMPDIR: this.#folder, ...env },
    });
    this.#children.add(child);
    const ended = once(child, 'exit');
    ended.catch(() => {});
    const { pid } = child;
    if (pid === undefined) throw new Error(`${name}: ${program} cannot be started`);
    while ((await askOnce(port)) !== 200) {
      if (child.exitCode !== null) return null;
      if (performance.now() - startedAt > STARTING_MS) return unanswered(name);
      await delay(2);
    }
    const started = { cpuMs: cpuUs(pid) / 1000, wallMs: performance.now() - startedAt };
    const stop = async () => {
      child.kill('SIGTERM');
      const deadline = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(deadline);
      this.#children.delete(child);
    };
    return { name, target: { port }, pid, started, stop };
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#ca.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #fork(script: string, args: readonly string[]): Promise<number> {
    const child = fork(here(script), args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#children.add(child);
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    return port;
  }
}

function unanswered(name: string): never {
  throw new Error(`${name} does not answer: GCG_BENCH_STDERR=1 shows what it says`);
}

/** The settings that the gateway of a checkout is called with, all of them by its environment. */
export function gatewayEnvironment({ listen, upstreamPort, caFile, folder }: PeerPlace): NodeJS.ProcessEnv {
  return {
    GCG_SERVER_LISTEN: listen,
    GCG_GATEWAY_HOST: 'localhost',
    GCG_GATEWAY_PORT: String(upstreamPort),
    GCG_GATEWAY_PROTOCOL: 'https',
    GCG_TLS_CA_FILE: caFile,
    GCG_CREDENTIAL_CLIENT_ID: 'bench',
    GCG_CREDENTIAL_CLIENT_SECRET: 'bench-secret',
    // The platform's limit would be measured, not the gateway.
    GCG_RATE_LIMIT_MODE: 'off',
    GCG_STORE_PATH: join(folder, 'store'),
    NODE_ENV: 'production',
  };
}

/** `dist/main.js` of a checkout. */
export function mainOf(checkout: string): string {
  const main = resolve(checkout, 'dist/main.js');
  if (!existsSync(main)) throw new Error(`${main} is missing: npm run build`);
  return main;
}

/**
 * `gcg serve` of a checkout that is built, by this Node and with flags for it. Words like NAME=value among the flags are
 * variables of its environment.
 */
function gateway(name: string, checkout: string, words: readonly string[] = []): Contestant {
  const main = mainOf(checkout);
  const variables = words.filter((word) => /^\w+=/.test(word)).map((word) => word.split(/=(.*)/s, 2));
  const flags = words.filter((word) => word.startsWith('-'));
  const command = (place: PeerPlace) => {
    const env = { ...gatewayEnvironment(place), ...Object.fromEntries(variables) };
    return { program: process.execPath, args: [...flags, main, 'serve'], env };
  };
  return { name, command };
}

function nodePeer(name: string, script: string): Contestant {
  const command = ({ listen, upstreamPort, caFile }: PeerPlace) => {
    const args = [here(script), listen, `https://localhost:${upstreamPort}`, caFile];
    return { program: process.execPath, args, env: { NODE_ENV: 'production' } };
  };
  return { name, command };
}

/** A program's path; /usr/sbin is looked in as well, where it is not on the PATH of users. */
export function find(program: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const isThere = (path: string) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  };
  return folders.map((folder) => join(folder, program)).find(isThere) ?? null;
}

/** Builds the Go peer into the cache of node_modules; null where Go or its oauth2 package is not installed. */
function buildGoPeer(): string | null {
  const go = find('go');
  const packages = process.env.GOPATH ?? '/usr/share/gocode';
  if (go === null || !existsSync(join(packages, 'src/golang.org/x/oauth2'))) return null;
  const cache = here('../node_modules/.cache/bench');
  mkdirSync(cache, { recursive: true });
  const program = join(cache, 'go-peer');
  const env = { PATH: process.env.PATH, HOME: cache, GOPATH: packages, GO111MODULE: 'off', GOCACHE: join(cache, 'go') };
  execFileSync(go, ['build', '-o', program, here('./peers/go/main.go')], { env, stdio: 'inherit' });
  return program;
}

/** What the command line says of the contestants. */
export interface Choice {
  /** Other checkouts. */
  readonly against: readonly string[];
  /** Flags of Node: one gateway more for each list of them. */
  readonly flags: readonly string[];
  /** Parts of names: those that are left; all where there is none. */
  readonly only: readonly string[];
}

/** All that are here, the gateway of this checkout among them; `tell` is told of those that are not. */
export function contestants({ against, flags, only }: Choice, tell: (line: string) => void): Contestant[] {
  const isWanted = (name: string) => only.length === 0 || name === GATEWAY || only.some((part) => name.includes(part));
  const found: Contestant[] = [{ name: 'direct', command: null }, gateway(GATEWAY, here('..'))];
  for (const each of flags) found.push(gateway(`${GATEWAY} ${each}`, here('..'), each.split(' ')));
  for (const checkout of against) found.push(gateway(`${GATEWAY} of ${checkout}`, checkout));
  found.push(nodePeer('http-proxy', './peers/as-shipped.mjs'), nodePeer('node', './peers/node.mjs'));
  const programs: [string, string | null, (program: string, place: PeerPlace) => Command][] = [
    ['go', isWanted('go') ? buildGoPeer() : null, startGo],
    ['nginx', find('nginx'), startNginx],
    ['haproxy', find('haproxy'), startHaproxy],
  ];
  for (const [name, program, start] of programs) {
    if (program !== null) found.push({ name, command: (place) => start(program, place) });
    else if (isWanted(name)) tell(`${name} is left out: it is not installed`);
  }
  return found.filter(({ name }) => name.startsWith(GATEWAY) || isWanted(name));
}

function startGo(program: string, { listen, upstreamPort, caFile }: PeerPlace): Command {
  return { program, args: [listen, `https://localhost:${upstreamPort}`, caFile] };
}

function startNginx(program: string, place: PeerPlace): Command {
  const folder = mkdtempSync(join(place.folder, 'nginx-'));
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, nginxConfiguration({ ...place, folder }));
  return { program, args: ['-e', 'stderr', '-p', folder, '-c', file] };
}

function startHaproxy(program: string, place: PeerPlace): Command {
  const file = join(mkdtempSync(join(place.folder, 'haproxy-')), 'haproxy.cfg');
  writeFileSync(file, haproxyConfiguration(place));
  return { program, args: ['-db', '-f', file] };
}

/** A port that nobody has at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** One call on a connection of its own: its status, or 0 where there was none. */
function askOnce(port: number): Promise<number> {
  return new Promise((resolve) => {
    const asking = request({ port, host: '127.0.0.1', path: PATH, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
      response.on('error', () => resolve(0));
    });
    asking.on('error', () => resolve(0));
    asking.end();
  });
}
