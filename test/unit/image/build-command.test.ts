// How the image is built by each builder: the same labels, base, time and secrets, in the words of each.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { BUILDERS, buildCommand, buildEnvironment, platformOf } from '../../../scripts/image/build-command.ts';
import { nameInStore, withoutBuilder } from '../../../scripts/image/same-config.ts';

const BUILD = {
  context: '/checkout',
  tag: 'gateway:1.2.3',
  platform: 'linux/arm64',
  buildPlatform: 'linux/amd64',
  base: 'docker.io/library/node@sha256:00',
  buildBase: 'docker.io/library/node@sha256:00',
  epoch: 1_700_000_000,
  labels: { 'org.opencontainers.image.version': '1.2.3' },
  secrets: { npmrc: '/home/me/.npmrc' },
  idFile: '/tmp/id',
};

t.test('each builder is told base, platform, time, labels and secrets, and keeps the health check', async (t) => {
  for (const builder of BUILDERS) {
    const [program, ...args] = buildCommand({ ...BUILD, builder });
    const line = args.join(' ');
    t.equal(program, builder);
    t.equal(args.at(-1), '/checkout', 'the context is last');
    for (const words of [
      '--platform linux/arm64',
      '--build-arg NODE_IMAGE=docker.io/library/node@sha256:00',
      '--build-arg BUILD_IMAGE=docker.io/library/node@sha256:00',
      '--label org.opencontainers.image.version=1.2.3',
      '--secret id=npmrc,src=/home/me/.npmrc',
      '--iidfile /tmp/id',
    ])
      t.ok(line.includes(words), `${builder}: ${words}`);
    t.match(
      line,
      builder === 'docker' ? /SOURCE_DATE_EPOCH=1700000000 .*rewrite-timestamp=true/ : /--timestamp 1700000000/,
    );
    t.match(
      line,
      builder === 'docker' ? /type=docker,name=gateway:1\.2\.3/ : /--format docker .*--tag gateway:1\.2\.3/,
    );
    if (builder !== 'docker') t.match(line, /--no-cache/, 'no layer with the time of another build');
  }
  t.match(buildEnvironment({ HOME: '/home/me' }, 5), { HOME: '/home/me', SOURCE_DATE_EPOCH: '5' });
});

t.test('processors have the names of images, and a name without a registry is one of this machine', async (t) => {
  t.equal(platformOf('x64'), 'linux/amd64');
  t.equal(platformOf('arm64'), 'linux/arm64');
  t.throws(() => platformOf('ia32'), /no base image for ia32/);
  t.equal(nameInStore('gateway:1.2.3'), 'localhost/gateway:1.2.3');
  t.equal(nameInStore('team/gateway:1'), 'localhost/team/gateway:1');
  for (const name of ['localhost/gateway', 'registry.example.com/gateway:1', 'registry:5000/gateway'])
    t.equal(nameInStore(name), name);
});

t.test('what tells one build from the next goes, what the image is stays', async (t) => {
  const config = { User: '1000:1000', Healthcheck: { Test: ['CMD', 'gcg', 'healthcheck'] }, Labels: { a: 'b' } };
  const rootfs = { type: 'layers', diff_ids: ['sha256:1'] };
  t.strictSame(
    withoutBuilder({
      container: 'abc',
      container_config: { Hostname: 'abc' },
      parent: 'sha256:2',
      config: { ...config, Hostname: 'abc', Image: 'sha256:2' },
      history: [
        { created_by: 'COPY', comment: 'FROM abc' },
        { created_by: 'USER', empty_layer: true },
      ],
      rootfs,
      os: 'linux',
    }),
    { config, history: [{ created_by: 'COPY' }, { created_by: 'USER', empty_layer: true }], rootfs, os: 'linux' },
  );
});

const image = (args: readonly string[], PATH = '/nonexistent') =>
  spawnSync(process.execPath, [fileURLToPath(new URL('../../../scripts/image.ts', import.meta.url)), ...args], {
    encoding: 'utf8',
    env: { PATH },
  });

t.test(
  'the base is shown by the digest of what its tag means now, or why it cannot be',
  { skip: process.platform === 'win32' ? 'a shell script plays Docker' : false },
  async (t) => {
    const path = t.testdir({
      docker: '#!/bin/sh\ncase "$*" in *--raw*:26) printf list ;; *) echo gone >&2; exit 1 ;; esac\n',
    });
    chmodSync(join(path, 'docker'), 0o755);
    const show = (base: string) => image(['--with', 'docker', '--show-base', '--base', base], path);
    const digest = createHash('sha256').update('list').digest('hex');
    t.equal(show('registry:5000/node:26').stdout, `registry:5000/node@sha256:${digest}\n`);
    const pinned = `node@sha256:${'a'.repeat(64)}`;
    t.equal(show(pinned).stdout, `${pinned}\n`);
    const { status, stdout, stderr } = show('node:none');
    t.match([status, stdout, stderr], [1, '', /^image: the base image node:none cannot be looked up: gone\n/]);
  },
);

t.test('what is wrong with a command line, or is not there, is said in one line', async (t) => {
  for (const [args, status, words] of [
    [['--no-such'], 2, /^image: Unknown option '--no-such'.*\nTry npm run image -- --help\n$/],
    [['more'], 2, /^image: Unexpected argument 'more'/],
    [['--with', 'kaniko'], 1, /^image: --with is one of buildah, podman, docker\n$/],
    [['--with', 'podman'], 1, /^image: none of podman is installed: /],
    [[], 1, /^image: none of buildah, podman, docker is installed: apt-get install buildah skopeo\n$/],
  ] as const) {
    const ended = image(args);
    t.equal(ended.status, status, args.join(' '));
    t.match(ended.stderr, words);
  }
});
