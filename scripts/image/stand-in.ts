// A stand-in for the base image, where that cannot be pulled: Debian by debootstrap, with the Node and the npm that run
// this script. For tests of the image, not for releases: nobody but this machine has it. Needs root, debootstrap and tar.

import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Builder } from './build-command.ts';

const SUITE = 'trixie';
/** Libraries of Node and what they need: those that a base for another processor holds. */
const PACKAGES = ['base-files', 'libc6', 'gcc-14-base', 'libgcc-s1', 'libstdc++6', 'libatomic1'];

/** What debootstrap leaves: where the packages came from, among others, which is nobody else's business. */
const TRACES = ['etc/apt/sources.list', 'var/lib/apt/lists', 'var/cache/apt', 'var/log', 'debootstrap'];

/** What a stand-in is made for and from. */
export interface StandIn {
  readonly builder: Builder;
  /** As `linux/arm64`. */
  readonly platform: string;
  /** Whether it is that of this machine: the build stage runs in it. For others, files are laid out, and none is run. */
  readonly isNative: boolean;
  /** Of Debian's packages; null: where this machine's apt gets them. */
  readonly mirror: string | null;
}

export const standInName = (platform: string) =>
  `localhost/gcg-stand-in-node:${process.versions.node}-${platform.replace('linux/', '')}`;

/** Builds the image of `standInName`. */
export function buildStandIn({ builder, platform, isNative, mirror }: StandIn): void {
  const arch = platform.replace('linux/', '');
  const folder = mkdtempSync(join(tmpdir(), 'gcg-stand-in-'));
  const root = join(folder, 'root');
  try {
    const packages = `--include=${PACKAGES.join()}`;
    const kind = isNative ? ['--variant=minbase'] : ['--variant=minbase', '--foreign'];
    run('debootstrap', [`--arch=${arch}`, ...kind, packages, SUITE, root, mirror ?? mirrorOfApt()]);
    if (!isNative) for (const name of PACKAGES) layOutPackage(root, name);
    layOutNode(root, folder, isNative ? null : arch);
    for (const trace of TRACES) rmSync(join(root, trace), { recursive: true, force: true });
    run('tar', ['--create', '--file', join(folder, 'root.tar'), '--exclude=./dev/*', '--directory', root, '.']);
    rmSync(root, { recursive: true });
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    writeFileSync(join(folder, 'Dockerfile'), `FROM scratch\nADD root.tar /\nENV ${path}\n`);
    run(builder, ['build', '--platform', platform, '--tag', standInName(platform), folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What debootstrap fetched for another processor: its files, and dpkg's records as an installation writes them. */
function layOutPackage(root: string, name: string): void {
  const archives = join(root, 'var/cache/apt/archives');
  const file = readdirSync(archives).find((one) => one.startsWith(`${name}_`) && one.endsWith('.deb'));
  if (file === undefined) throw new Error(`debootstrap fetched no ${name}`);
  const deb = join(archives, file);
  run('dpkg-deb', ['--extract', deb, root]);
  const list = read('sh', ['-c', 'dpkg-deb --fsys-tarfile "$1" | tar --list', 'sh', deb]);
  const info = join(root, 'var/lib/dpkg/info');
  mkdirSync(info, { recursive: true });
  writeFileSync(join(info, `${name}.list`), list.replace(/^\.(.*?)\/?$/gm, '$1'));
  const record = read('dpkg-deb', ['--field', deb]).replace('\n', '\nStatus: install ok installed\n');
  appendFileSync(join(root, 'var/lib/dpkg/status'), `\n${record}`);
}

/** Node and its licence where the official image has them, and npm, which runs only in the build stage. */
function layOutNode(root: string, folder: string, foreignArch: string | null): void {
  const to = join(root, 'usr/local');
  mkdirSync(join(to, 'bin'), { recursive: true });
  if (foreignArch !== null) {
    run('npm', [
      'pack',
      '--silent',
      '--pack-destination',
      folder,
      `node-linux-${foreignArch}@${process.versions.node}`,
    ]);
    const [archive = ''] = globSync('node-linux-*.tgz', { cwd: folder });
    const files = ['package/bin/node', 'package/LICENSE'];
    run('tar', ['--extract', '--file', join(folder, archive), '--strip-components=1', '--directory', to, ...files]);
    return;
  }
  const node = realpathSync(process.execPath);
  cpSync(node, join(to, 'bin/node'));
  cpSync(licenceOf(node), join(to, 'LICENSE'));
  cpSync(npmFolder(), join(to, 'lib/node_modules/npm'), { recursive: true });
  for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(to, 'bin', name));
}

/** Of Node's own archives, of the npm package `node`, of a package of Debian. */
function licenceOf(node: string): string {
  const beside = globSync('{LICENSE,node_modules/node-*/LICENSE,share/doc/nodejs/copyright}', {
    cwd: join(dirname(node), '..'),
  });
  if (beside[0] === undefined) throw new Error(`the licence of ${node} is not found near it`);
  return join(dirname(node), '..', beside[0]);
}

/** The npm that runs this script, or that is found first. */
function npmFolder(): string {
  const { npm_execpath: running } = process.env;
  const cli = running ?? realpathSync(read('sh', ['-c', 'command -v npm']).trim());
  return dirname(createRequire(cli).resolve('../package.json'));
}

/** Where apt is told to get Debian's packages. */
function mirrorOfApt(): string {
  const uris = existsSync('/usr/bin/apt-get') ? read('apt-get', ['indextargets', '--format', '$(REPO_URI)']) : '';
  const main = uris.split('\n').find((uri) => /\/debian\/?$/.test(uri));
  return main ?? 'http://deb.debian.org/debian';
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function read(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
