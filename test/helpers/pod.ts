// A pod as plain processes, in the order in which a kubelet starts and ends its containers: init containers one after
// the other, those that restart always (sidecars) until their startup probe succeeds, then the others at once; when
// these have ended, the sidecars get SIGTERM. No namespaces, no user of its own, no limits: those are the manifest's
// words, and other tests read them.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { childEnvironment } from './fast-start.ts';
import type { Manifest } from './manifests.ts';
import { MAIN } from './program.ts';
import { freePort } from './proxies.ts';

/** What a cluster has beside the pod: contents of ConfigMaps and Secrets by their names. */
export interface Cluster {
  readonly configMaps: Record<string, Record<string, string>>;
  readonly secrets: Record<string, Record<string, string>>;
}

/** What the image says: the flags of its entry point, and its environment. */
const DOCKERFILE =
  readFileSync(new URL('../../Dockerfile', import.meta.url), 'utf8')
    .split(/^FROM /m)
    .at(-1) ?? '';
const [, ENTRYPOINT = '[]'] = /^ENTRYPOINT (.+)$/m.exec(DOCKERFILE) ?? [];
const FLAGS = (JSON.parse(ENTRYPOINT) as string[]).filter((word) => word.startsWith('--'));
const PRESETS = Object.fromEntries(
  [...DOCKERFILE.matchAll(/(GCG_\w+)=(\S+)/g)].map(([, name, value]) => [name, value]),
);

const IMAGE: [string, ...string[]] = [process.execPath, ...FLAGS, MAIN];

/** A container that was started. */
export interface Started {
  readonly name: string;
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Everything it wrote so far. */
  output(): string;
}

/** How a pod ended, in Kubernetes' words; `Blocked`: a sidecar's startup probe gave up, and nothing after it began. */
export type Phase = 'Succeeded' | 'Failed' | 'Blocked';

/** The files of a pod on this machine, and where its paths and ports are here. */
export class PodPlaces {
  readonly #folder: string;
  readonly #spec: Manifest;
  readonly #ports: ReadonlyMap<string, number>;

  private constructor(t: Test, spec: Manifest, cluster: Cluster, ports: ReadonlyMap<string, number>) {
    this.#folder = t.testdir();
    this.#spec = spec;
    this.#ports = ports;
    for (const volume of spec.volumes ?? []) this.#write(volume, cluster);
  }

  /** Writes the volumes of a pod that is to run here. Throws where a ConfigMap or Secret is not there. */
  static async toRun(t: Test, spec: Manifest, cluster: Cluster): Promise<PodPlaces> {
    const ports = new Map<string, number>();
    for (const port of ['8080', '8081', '8082']) ports.set(port, await freePort());
    return new PodPlaces(t, spec, cluster, ports);
  }

  /** Writes them to be read: addresses and ports stay as they are. */
  static toRead(t: Test, spec: Manifest, cluster: Cluster): PodPlaces {
    return new PodPlaces(t, spec, cluster, new Map());
  }

  #write({ name, configMap, secret }: Manifest, cluster: Cluster): void {
    const folder = join(this.#folder, name);
    mkdirSync(folder, { mode: 0o755 });
    const source = secret ? cluster.secrets[secret.secretName] : configMap ? cluster.configMaps[configMap.name] : {};
    if (source === undefined) throw new Error(`volume ${name} is of something that is not there`);
    for (const [file, text] of Object.entries(source))
      writeFileSync(join(folder, file), configMap ? this.here(text) : text, { mode: secret?.defaultMode ?? 0o644 });
  }

  /** A text with the paths and ports of the pod in it, as they are on this machine. */
  here(text: string): string {
    const mounts = [...(this.#spec.initContainers ?? []), ...this.#spec.containers].flatMap(
      ({ volumeMounts = [] }: Manifest) => volumeMounts,
    );
    let moved = this.#ports.size === 0 ? text : text.replaceAll('0.0.0.0', '127.0.0.1');
    for (const { mountPath, name } of mounts) moved = moved.replaceAll(mountPath, join(this.#folder, name));
    return moved.replace(/\b127\.0\.0\.1:(\d+)/g, (whole, port: string) =>
      this.#ports.has(port) ? `127.0.0.1:${this.#ports.get(port)}` : whole,
    );
  }

  port(containerPort: number): number {
    return this.#ports.get(String(containerPort)) ?? containerPort;
  }
}

/** What may be said of a run beyond the manifest. */
interface PodOptions {
  /** Where Genesys Cloud is. */
  readonly origin: string;
  /** Replaced in scripts: a wait that is long on a cluster. */
  readonly scripts?: (text: string) => string;
}

/** One pod, once. It is gone with the test at the latest. */
export class Pod {
  /** In the order of their start. */
  readonly started: Started[] = [];
  /** `NAME started`, `NAME ready`, `NAME ended with CODE`, in their order. */
  readonly events: string[] = [];
  readonly places: PodPlaces;
  readonly #t: Test;
  readonly #spec: Manifest;
  readonly #options: PodOptions;

  constructor(t: Test, spec: Manifest, places: PodPlaces, options: PodOptions) {
    this.#t = t;
    this.#spec = spec;
    this.places = places;
    this.#options = options;
  }

  /** Runs it to its end. With `until`, its containers are told to end when that has come to be, as a deleted pod's are. */
  async run(until?: (pod: Pod) => Promise<unknown>): Promise<Phase> {
    const sidecars: Started[] = [];
    let phase: Phase | undefined;
    for (const container of this.#spec.initContainers ?? []) {
      const started = this.#start(container);
      if (container.restartPolicy === 'Always') {
        sidecars.push(started);
        if (!(await this.#probeUntilStarted(container))) phase = 'Blocked';
      } else if ((await started.ended) !== 0) phase = 'Failed';
      if (phase !== undefined) break;
    }
    phase ??= await this.#runContainers(until);
    for (const { child, ended } of sidecars.reverse()) {
      child.kill('SIGTERM');
      await ended;
    }
    return phase;
  }

  async #runContainers(until?: (pod: Pod) => Promise<unknown>): Promise<Phase> {
    const containers = this.#spec.containers.map((container: Manifest) => this.#start(container)) as Started[];
    await until?.(this);
    if (until !== undefined) for (const { child } of containers) child.kill('SIGTERM');
    const codes = await Promise.all(containers.map(({ ended }) => ended));
    return codes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
  }

  output(name: string): string {
    return this.started.find((container) => container.name === name)?.output() ?? '';
  }

  #start(container: Manifest): Started {
    const { name, command = IMAGE, args = [] } = container;
    const [program, ...words] = [...command, ...args].map((text: string) => this.#here(text)) as [string, ...string[]];
    const child = spawn(program, words, {
      env: this.#environment(container),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    // The first process of a container takes all others with it.
    const killAll = () => {
      try {
        process.kill(-(child.pid as number), 'SIGKILL');
      } catch {
        // There is none any more.
      }
    };
    child.once('exit', killAll);
    this.#t.teardown(killAll);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    this.events.push(`${name} started`);
    const ended = once(child, 'close').then(([code]) => {
      this.events.push(`${name} ended with ${code}`);
      return code as number | null;
    });
    const started = { name, child, ended, output: () => output };
    this.started.push(started);
    return started;
  }

  #here(text: string): string {
    const moved = this.places.here(text);
    return this.#options.scripts?.(moved) ?? moved;
  }

  /** That of the manifest; a container without a command is the gateway's image, which has settings of its own. */
  #environment({ command, env = [] }: Manifest): Record<string, string | undefined> {
    const own = Object.fromEntries(env.map(({ name, value }: Manifest) => [name, this.#here(value)]));
    if (command !== undefined) return { ...childEnvironment, ...own };
    const { hostname, port } = new URL(this.#options.origin);
    const platform = { GCG_GATEWAY_PROTOCOL: 'http', GCG_GATEWAY_HOST: hostname, GCG_GATEWAY_PORT: port };
    return { ...childEnvironment, ...PRESETS, ...platform, ...own };
  }

  async #probeUntilStarted(container: Manifest): Promise<boolean> {
    const { startupProbe, name } = container;
    const [{ child }] = this.started.slice(-1) as [Started];
    for (let failures = 0; failures < startupProbe.failureThreshold && child.exitCode === null; ) {
      const answer = await this.probe(container, startupProbe);
      if (answer === true) {
        this.events.push(`${name} ready`);
        return true;
      }
      // A two-hundredth of the period, and while nothing listens yet no failure: this machine may be busy.
      if (answer === false) failures += 1;
      await pause(startupProbe.periodSeconds * 5);
    }
    return false;
  }

  /** What a kubelet would make of a probe's answer; null where there is none. */
  async probe(container: Manifest, { httpGet, exec }: Manifest): Promise<boolean | null> {
    if (exec !== undefined) {
      const [program, ...words] = this.#command(exec.command);
      const asking = spawn(program, words, { env: this.#environment(container), stdio: 'ignore' });
      return (await once(asking, 'close'))[0] === 0;
    }
    const { containerPort } = container.ports.find((port: Manifest) =>
      [port.name, port.containerPort].includes(httpGet.port),
    );
    const url = `http://127.0.0.1:${this.places.port(containerPort)}${httpGet.path}`;
    return fetch(url).then(
      ({ status }) => status >= 200 && status < 400,
      () => null,
    );
  }

  /** A command of the image: its program is not where the image has it. */
  #command([program, ...words]: readonly string[]): [string, ...string[]] {
    return program === 'gcg' ? [process.execPath, MAIN, ...words] : [program as string, ...words];
  }
}
