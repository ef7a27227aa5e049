// The image, built for real and run: twice the same, nothing in it that does not run, started without rights on a file
// system that nobody can write to. Needs root and Debian's buildah, skopeo, debootstrap and runc; skips without them. The
// base is a stand-in, so that no registry of images is asked. What it does is in docs/container.md.

import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { platformOf } from '../../scripts/image/build-command.ts';
import { standInName } from '../../scripts/image/stand-in.ts';

t.setTimeout(3_000_000);

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PROGRAMS = ['buildah', 'skopeo', 'debootstrap', 'runc'];
const env: NodeJS.ProcessEnv = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const lacking = PROGRAMS.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`], { env }).status !== 0);
const skip =
  process.getuid?.() !== 0 ? 'needs root' : lacking.length > 0 ? `there is no ${lacking.join(', no ')}` : false;

const run = (program: string, args: readonly string[]) => execFileSync(program, args, { encoding: 'utf8', env });

/** What the image's own manifest and configuration say. */
interface Image {
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
  readonly config: {
    readonly User: string;
    readonly Env: string[];
    readonly Entrypoint: string[];
    readonly WorkingDir: string;
  };
  readonly text: string;
}

t.test('the image', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-image-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const tree = join(folder, 'rootfs');
  let image: Image | undefined;

  await t.test('two clones in two folders, with two stores, give the same image', async (t) => {
    const quietCopy = ['--insecure-policy', 'copy', '--quiet'];
    const npmrc = join(homedir(), '.npmrc');
    const secrets = existsSync(npmrc) ? ['--npmrc', npmrc] : [];
    const { NODE_EXTRA_CA_CERTS: ca } = process.env;
    if (ca !== undefined) secrets.push('--ca', ca);
    const base = standInName(platformOf(process.arch));
    const built = ['one', 'in/another'].map((name) => {
      const clone = join(folder, name);
      // Of the first: a commit in the meantime would be another image.
      run('git', ['clone', '--quiet', name === 'one' ? ROOT : join(folder, 'one'), clone]);
      // What lies in a checkout gets neither into the image nor changes it. To git it is not there.
      const traps = ['dist/old.js', 'node_modules/old/index.js', 'gcg.ini', '.env', 'src/.env', 'src/cli/notes.txt'];
      writeFileSync(join(clone, '.git/info/exclude'), traps.join('\n'));
      for (const trap of name === 'one' ? [] : traps) {
        mkdirSync(dirname(join(clone, trap)), { recursive: true });
        writeFileSync(join(clone, trap), 'CANARY-OF-THE-CHECKOUT');
      }
      const storage = join(folder, `store-${name.length}`);
      const conf = `${storage}.conf`;
      writeFileSync(conf, `[storage]\ndriver = "overlay"\ngraphroot = "${storage}"\nrunroot = "${storage}-run"\n`);
      Object.assign(env, {
        CONTAINERS_STORAGE_CONF: conf,
        BUILDAH_ISOLATION: 'chroot',
        SOURCE_DATE_EPOCH: '1700000000',
      });
      t.teardown(() => void spawnSync('buildah', ['rm', '--all'], { env: { ...env, CONTAINERS_STORAGE_CONF: conf } }));
      // The base is made once, by the first.
      if (name !== 'one') run('skopeo', [...quietCopy, `dir:${join(folder, 'base')}`, `containers-storage:${base}`]);
      const script = join(clone, 'scripts/image.ts');
      const words = ['--with', 'buildah', '--stand-in', '--tag', 'localhost/gcg:test', ...secrets];
      const said = run(process.execPath, [script, ...words]);
      if (name === 'one') run('skopeo', [...quietCopy, `containers-storage:${base}`, `dir:${join(folder, 'base')}`]);
      return /^built localhost\/gcg:test for linux\/\w+: (sha256:[0-9a-f]{64})$/m.exec(said)?.[1] ?? t.fail(said);
    });
    const copy = join(folder, 'copy');
    run('skopeo', [...quietCopy, 'containers-storage:localhost/gcg:test', `dir:${copy}`]);
    const { layers, config } = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8'));
    const blob = (digest: string) => join(copy, digest.replace('sha256:', ''));
    const text = readFileSync(blob(config.digest), 'utf8');
    image = { layers, config: JSON.parse(text).config, text };
    mkdirSync(tree);
    for (const { digest } of layers) run('tar', ['--extract', '--file', blob(digest), '--directory', tree]);
    t.equal(built[0], built[1]);
  });

  await t.test(
    'it is three layers of which no file could be left out, and nothing of its builder is in it',
    async (t) => {
      if (image === undefined) return t.fail('it was not built');
      const sizes = image.layers.map(({ size }) => size);
      t.equal(sizes.length, 3);
      t.ok((sizes[0] ?? 0) < 165e6 && (sizes[1] ?? 0) < 15e6 && (sizes[2] ?? 0) < 10_000, sizes.join());
      t.comment(`${sizes.join(' + ')} bytes`);
      const files = globSync('**/*', { cwd: tree }).filter((path) => !lstatSync(join(tree, path)).isDirectory());
      t.strictSame(
        files.filter((path) => (lstatSync(join(tree, path)).mode & 0o6000) !== 0),
        [],
        'none runs with the rights of another user',
      );
      const known =
        /^(?:app\/(?:LICENSE|package\.json|dist\/.*|node_modules\/quickjs-wasi\/.*)|etc\/(?:group|passwd|nsswitch\.conf|os-release)|lib(?:64)?|usr\/lib(?:64)?\/.*|usr\/local\/bin\/(?:gcg|node)|usr\/share\/(?:doc|common-licenses)\/.*|var\/lib\/dpkg\/status\.d\/[\w+-]+)$/;
      t.strictSame(
        files.filter((path) => !known.test(path)),
        [],
      );
      const reached = reachedFrom(join(tree, 'app/dist'), 'main.js');
      const scripts = files.filter((path) => /^app\/dist\/(?!inspector\/).*\.c?js$/.test(path));
      t.strictSame(
        scripts.filter((path) => !reached.has(path.slice('app/dist/'.length))),
        [],
        'each is loaded by some command',
      );
      t.ok(scripts.length > 50);
      for (const path of files.filter((one) => one.endsWith('.map'))) t.ok(files.includes(path.slice(0, -4)), path);
      t.notMatch(image.text, /npmrc=|_authToken|CANARY|gcg-image-test/);
      const told = spawnSync('grep', ['-rlE', 'CANARY-OF-THE-CHECKOUT|gcg-image-test-', tree], { encoding: 'utf8' });
      t.equal(told.stdout, '');
    },
  );

  await t.test(
    'it runs without rights on a file system that is read-only, is healthy, and is drained by SIGTERM',
    async (t) => {
      if (image === undefined) return t.fail('it was not built');
      const id = `gcg-test-${process.pid}`;
      const runc = (...args: string[]) => ['--root', join(folder, 'runc'), ...args];
      writeFileSync(
        join(folder, 'config.json'),
        JSON.stringify(bundle(image, ['demo', '--listen', '127.0.0.1:0'], id)),
      );
      for (const name of ['proc', 'dev']) mkdirSync(join(tree, name), { recursive: true });
      const child = spawn('runc', runc('run', '--bundle', folder, id), { env, stdio: ['ignore', 'pipe', 'inherit'] });
      t.teardown(() => void spawnSync('runc', runc('delete', '--force', id), { env }));
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      let url = '';
      for await (const line of createInterface(child.stdout)) {
        const record = line.startsWith('{') ? JSON.parse(line) : {};
        url = record.addresses?.[0] ?? url;
        if (record.msg === 'ready') break;
      }
      child.stdout.resume();
      t.equal((await fetch(`${url}/api/v2/users?pageSize=1`)).status, 200);
      const exec = (...args: string[]) => promisify(execFile)('runc', runc('exec', id, ...args), { env });
      await exec('gcg', 'healthcheck', '--listen', url.replace('http://', ''));
      await t.rejects(exec('gcg', 'healthcheck', '--listen', '127.0.0.1:1'), { code: 1 });
      await t.rejects(exec('sh', '-c', 'true'), 'there is no shell');
      const { stdout } = await exec(
        ...['node', '-p'],
        `const { readFileSync, writeFileSync } = require('fs');
       try { writeFileSync('/app/x', ''); } catch ({ code }) {
         code + readFileSync('/proc/1/status', 'utf8').match(/^(?:Uid|CapEff|CapBnd|NoNewPrivs).*$/gm).join() }`,
      );
      t.match(stdout, /^EROFSUid:\s1000\s.*,CapEff:\s0+,CapBnd:\s0+,NoNewPrivs:\s1$/m);
      spawnSync('runc', runc('kill', id, 'TERM'), { env });
      t.equal(await ended, 0);
    },
  );
});

/** The files that a program's file leads to, by what is written in quotes. */
function reachedFrom(folder: string, first: string, seen = new Set<string>()): Set<string> {
  if (seen.has(first) || !existsSync(join(folder, first))) return seen;
  seen.add(first);
  const text = readFileSync(join(folder, first), 'utf8');
  for (const [, path = ''] of text.matchAll(/["'](\.{1,2}\/[\w./-]+\.c?js)["']/g))
    reachedFrom(folder, join(dirname(first), path), seen);
  for (const [, path = ''] of text.matchAll(/["'](later\/[\w.-]+\.cjs)["']/g)) reachedFrom(folder, path, seen);
  if (text.includes('upstream/egress/pac-thread')) reachedFrom(folder, 'upstream/egress/pac-thread.js', seen);
  return seen;
}

/** What runc is told: the image's user and entry, no right, the network of this machine. */
function bundle({ config }: Image, command: readonly string[], id: string) {
  const [uid = 0, gid = 0] = config.User.split(':').map(Number);
  return {
    ociVersion: '1.0.2',
    root: { path: 'rootfs', readonly: true },
    process: {
      user: { uid, gid },
      args: [...config.Entrypoint, ...command],
      env: config.Env,
      cwd: config.WorkingDir,
      noNewPrivileges: true,
      capabilities: {},
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
    ],
    linux: {
      cgroupsPath: `/${id}`,
      namespaces: ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
    },
  };
}
