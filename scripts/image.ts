// `npm run image`: builds the image of the Dockerfile, as it is, with the builder that is there. Adds what a Dockerfile
// cannot say of itself: version and revision in labels, the base image pinned by its digest, and one time for everything,
// so that the same checkout gives the same image. Publishes nothing.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { BUILDERS, type Builder, buildCommand, buildEnvironment, platformOf } from './image/build-command.ts';
import { cleanConfig } from './image/same-config.ts';
import { buildStandIn, standInName } from './image/stand-in.ts';

const HELP = `npm run image -- [options]: builds the container image of this checkout

  --tag NAME        what it is called (genesys-cloud-gateway:VERSION); with several platforms, NAME-ARCH each
  --with BUILDER    buildah, podman or docker (the first that is found)
  --platform LIST   linux/amd64,linux/arm64 or one of them (that of this machine); no emulation is needed
  --base IMAGE      where Node and Debian's libraries are taken from (that of the Dockerfile). A tag is looked up and
                    pinned by its digest: skopeo, or docker, does that. NAME@sha256:… is taken as it is
  --show-base       only says that: NAME@sha256:…, for a build by other means
  --stand-in        for tests where no base image can be pulled: builds one from Debian's packages and the Node that runs
                    this, with debootstrap, as root. Not for releases
  --mirror URL      where --stand-in gets Debian's packages (as apt of this machine)
  --npmrc FILE      npm's settings for the build stage: a registry, its login. Mounted for the time of npm ci
  --ca FILE         certificates that npm trusts there, behind a proxy that inspects TLS. Mounted in the same way
  --help

The time of all files is SOURCE_DATE_EPOCH, or that of the last commit. HTTP_PROXY, HTTPS_PROXY and NO_PROXY hold in the
build. Storage and isolation are the builder's own settings: CONTAINERS_STORAGE_CONF, STORAGE_DRIVER, BUILDAH_ISOLATION.`;

const ROOT = join(import.meta.dirname, '..');

/** What is wrong is said in one line, without a stack. */
class Complaint extends Error {}

let options: ReturnType<typeof readOptions>;

try {
  options = readOptions();
  if (options.help) console.log(HELP);
  else main();
} catch (error) {
  const { code = '' } = error as { code?: string };
  const isUsage = code.startsWith('ERR_PARSE_ARGS');
  if (!(error instanceof Complaint) && !isUsage) throw error;
  console.error(
    `image: ${error instanceof Error ? error.message : ''}${isUsage ? '\nTry npm run image -- --help' : ''}`,
  );
  process.exitCode = isUsage ? 2 : 1;
}

function readOptions() {
  return parseArgs({
    options: {
      tag: { type: 'string' },
      with: { type: 'string' },
      platform: { type: 'string' },
      base: { type: 'string' },
      'show-base': { type: 'boolean', default: false },
      'stand-in': { type: 'boolean', default: false },
      mirror: { type: 'string' },
      npmrc: { type: 'string' },
      ca: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  }).values;
}

function main(): void {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const builder = findBuilder(options.with);
  if (options['show-base']) {
    console.log(pinnedBase(builder, options.base ?? baseOfDockerfile()));
    return;
  }
  const here = platformOf(process.arch);
  const platforms = (options.platform ?? here).split(',');
  for (const platform of platforms)
    if (!['linux/amd64', 'linux/arm64'].includes(platform))
      throw new Complaint(`no base image is made for ${platform}`);
  const tag = options.tag ?? `${manifest.name}:${manifest.version}`;
  const secrets = secretFiles({ npmrc: options.npmrc, ca: options.ca });
  const { epoch, revision } = sourceOf();
  if (revision === null) console.log('note: what is built is no commit: there is no revision in its labels');
  const base = options['stand-in'] ? null : pinnedBase(builder, options.base ?? baseOfDockerfile());
  if (base !== null) console.log(`base: ${base}`);
  if (options['stand-in']) for (const platform of new Set([here, ...platforms])) makeStandIn(builder, platform, here);

  for (const platform of platforms) {
    const name = platforms.length === 1 ? tag : `${tag}-${platform.replace('linux/', '')}`;
    const folder = mkdtempSync(join(tmpdir(), 'gcg-image-'));
    const idFile = join(folder, 'id');
    try {
      const from = base ?? standInName(platform);
      const [program = '', ...args] = buildCommand({
        builder,
        context: ROOT,
        tag: name,
        platform,
        buildPlatform: here,
        base: from,
        buildBase: base ?? standInName(here),
        epoch,
        labels: labelsOf(manifest, revision, from),
        secrets,
        idFile,
      });
      const { status } = spawnSync(program, args, { stdio: 'inherit', env: buildEnvironment(process.env, epoch) });
      if (status !== 0) throw new Complaint(`${builder} ended with ${status}: see above`);
      const id = builder === 'docker' ? readFileSync(idFile, 'utf8') : cleanConfig(name);
      console.log(`built ${name} for ${platform}: ${id}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  if (options['stand-in']) console.log('note: its base is a stand-in of this machine: for tests, not for releases');
}

function findBuilder(wanted: string | undefined): Builder {
  const isThere = (name: string) =>
    (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
  const known = BUILDERS.find((name) => (wanted === undefined ? isThere(name) : name === wanted));
  if (known === undefined && wanted !== undefined) throw new Complaint(`--with is one of ${BUILDERS.join(', ')}`);
  if (known === undefined || !isThere(known))
    throw new Complaint(`none of ${wanted ?? BUILDERS.join(', ')} is installed: apt-get install buildah skopeo`);
  if (known !== 'docker' && !isThere('skopeo'))
    throw new Complaint(`with ${known}, skopeo is needed too: apt-get install skopeo`);
  return known;
}

function secretFiles(files: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const given = Object.entries(files).filter((entry): entry is [string, string] => entry[1] !== undefined);
  for (const [name, path] of given) if (!existsSync(path)) throw new Complaint(`--${name}: there is no ${path}`);
  return Object.fromEntries(given);
}

/** Which commit is built and when it was made; no revision where files differ from it. */
function sourceOf(): { epoch: number; revision: string | null } {
  const git = (...args: string[]) => spawnSync('git', ['-C', ROOT, ...args], { encoding: 'utf8' });
  const { SOURCE_DATE_EPOCH: told } = process.env;
  if (told !== undefined && !/^\d{1,11}$/.test(told)) throw new Complaint('SOURCE_DATE_EPOCH is a number of seconds');
  const [time = '', hash = ''] = git('log', '-1', '--format=%ct %H').stdout?.trim().split(' ') ?? [];
  const isClean = hash !== '' && git('status', '--porcelain').stdout === '';
  if (told === undefined && hash === '')
    throw new Complaint('this is no clone of the repository: set SOURCE_DATE_EPOCH, the time of all files');
  return { epoch: Number(told ?? time), revision: isClean ? hash : null };
}

function baseOfDockerfile(): string {
  const [, name] = /^ARG NODE_IMAGE=(\S+)$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')) ?? [];
  if (name === undefined) throw new Complaint('the Dockerfile names no NODE_IMAGE');
  return name;
}

/** The image by the digest that its tag has now: of the list of all processors, where it is one. */
function pinnedBase(builder: Builder, name: string): string {
  if (/@sha256:[0-9a-f]{64}$/.test(name)) return name;
  const ask =
    builder === 'docker'
      ? ['docker', 'buildx', 'imagetools', 'inspect', '--raw', name]
      : ['skopeo', 'inspect', '--raw', `docker://${name}`];
  const { status, stdout, stderr } = spawnSync(ask[0] ?? '', ask.slice(1), { maxBuffer: 1 << 24 });
  if (status !== 0)
    throw new Complaint(
      `the base image ${name} cannot be looked up: ${String(stderr).trim().split('\n').at(-1)}\n` +
        'Say --base with one that can be pulled, or for tests --stand-in, which builds one from packages of Debian.',
    );
  return `${name.replace(/:[^/:]*$/, '')}@sha256:${createHash('sha256').update(stdout).digest('hex')}`;
}

function makeStandIn(builder: Builder, platform: string, here: string): void {
  const name = standInName(platform);
  const [program, ...look] = builder === 'buildah' ? ['buildah', 'inspect', '--type'] : [builder, 'inspect', '--type'];
  if (spawnSync(program ?? '', [...look, 'image', name], { stdio: 'ignore' }).status === 0) {
    console.log(`base: ${name}, which was built here before`);
    return;
  }
  const lacking = ['debootstrap', 'tar'].filter((one) => spawnSync('which', [one]).status !== 0);
  if (lacking.length > 0 || process.getuid?.() !== 0)
    throw new Complaint('--stand-in needs root and debootstrap: apt-get install debootstrap');
  console.log(`base: building ${name} from packages of Debian`);
  try {
    buildStandIn({ builder, platform, isNative: platform === here, mirror: options.mirror ?? null });
  } catch (error) {
    throw new Complaint(`the stand-in cannot be built: ${(error as Error).message}`);
  }
}

/** Annotations of the OCI's image specification. Those that are the same for each build stand in the Dockerfile. */
function labelsOf(
  manifest: { version: string; repository?: { url?: string } },
  revision: string | null,
  base: string,
): Record<string, string> {
  const prefix = 'org.opencontainers.image.';
  const source = manifest.repository?.url?.replace(/^git\+/, '').replace(/\.git$/, '');
  const [name = '', digest] = base.split('@');
  const known = { version: manifest.version, revision, source, 'base.name': name, 'base.digest': digest };
  return Object.fromEntries(
    Object.entries(known).flatMap(([key, value]) => (value == null ? [] : [[prefix + key, value]])),
  );
}
