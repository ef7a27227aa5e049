// The Dockerfile and what is sent to its builder: what the image is started with and may do, and that nothing but what is
// built gets there. That it builds and runs is tested by test/long/image.test.ts, with a builder.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { load } from '../config/load-text.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');

const text = read('Dockerfile').replace(/^#.*\n/gm, '');
const stages = text.split(/^(?=FROM )/m).slice(1);
const last = stages.at(-1) ?? '';
const only = (instruction: string, from = last) =>
  [...from.matchAll(new RegExp(`^${instruction} +((?:.*\\\\\n)*.*)$`, 'gm'))].map(([, words = '']) =>
    words.replace(/\\\n/g, '').replace(/ +/g, ' '),
  );
const env = Object.fromEntries(
  [...(only('ENV')[0] ?? '').matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]),
);

t.test('the image starts from nothing, runs nothing while it is made, and is not run as root', async (t) => {
  t.match(last, /^FROM scratch\n/);
  t.strictSame(only('RUN'), []);
  t.strictSame(only('ADD', text), []);
  t.strictSame(only('VOLUME'), [], 'a volume that nobody asked for stays behind');
  t.strictSame(only('USER'), ['1000:1000'], 'a number, which Kubernetes can tell from root');
  for (const copy of only('COPY')) t.match(copy, /^--from=build (?:--chown=1000:1000 )?\/image\/\w+ \//);
  t.equal(env.PATH, '/usr/local/bin');
});

t.test('it starts without a shell, with the flags that keep it small, and Node takes them', async (t) => {
  const heap = ['--max-semi-space-size=2', '--initial-old-space-size=48'];
  const flags = ['--disable-sigusr1', ...heap, '--no-maglev', '--wasm-tiering-budget=2000000000', '--expose-gc'];
  t.strictSame(JSON.parse(only('ENTRYPOINT')[0] ?? ''), ['node', ...flags, '/app/dist/main.js']);
  t.strictSame(JSON.parse(only('CMD')[0] ?? ''), ['serve']);
  t.match(only('HEALTHCHECK'), [/ CMD \["gcg", "healthcheck"\]$/]);
  t.match(env, { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072' });
  const started = execFileSync(process.execPath, [...flags, '-p', 'process.execArgv.join()'], { encoding: 'utf8' });
  t.equal(started.trim(), [...flags, '-p', 'process.execArgv.join()'].join());
});

t.test(
  'what it presets counts less than a mounted file, and its drain ends before a container is killed',
  async (t) => {
    const loaded = (more: Record<string, string>, file?: string) => {
      const credential = { GCG_CREDENTIAL_CLIENT_ID: 'x', GCG_CREDENTIAL_CLIENT_SECRET: 'y' };
      const result = load({
        env: { ...env, ...credential, ...more },
        ...(file !== undefined && { files: { '/etc/genesys-cloud-gateway/config.ini': file } }),
      });
      return result.ok ? result.config : t.fail(JSON.stringify(result.problems));
    };
    const withClient = loaded({ GCG_CLIENT_APP_SECRET: 'a secret of 16 or more' });
    t.match(withClient, { server: { listen: [{ host: '0.0.0.0', port: 8080 }] }, store: { type: 'file' } });
    t.match(withClient, { server: { drainTimeoutMs: 8000, shutdownDelayMs: 0 } }, 'docker stop waits for 10 s');
    const path = '/var/lib/genesys-cloud-gateway';
    t.match(withClient, { store: { path } });
    const [, , target] =
      only('COPY')
        .find((copy) => copy.includes('--chown'))
        ?.match(/ (\S+) (\S+)$/) ?? [];
    t.equal(`${target}genesys-cloud-gateway`, path, 'the folder that is there');
    const mounted = loaded({}, '[server]\nlisten = 127.0.0.1:8081\ndrain_timeout = 25s\n[store]\npath = /data\n');
    t.match(mounted, { server: { listen: [{ host: '127.0.0.1', port: 8081 }], drainTimeoutMs: 25_000 } });
    t.match(mounted, { store: { path: '/data' } });
  },
);

t.test('it is built on the processor that is there, and secrets of the build are mounted, not copied', async (t) => {
  const [base = '', build = ''] = stages;
  t.match(base, /^FROM \$NODE_IMAGE AS base\n\s*$/, 'nothing runs in that of the other processor');
  t.match(build, /^FROM --platform=\$BUILDPLATFORM \$BUILD_IMAGE AS build\n/);
  t.match(text, /^ARG NODE_IMAGE=docker\.io\/library\/node:26-trixie-slim\nARG BUILD_IMAGE=\$NODE_IMAGE\n/m);
  for (const mount of text.match(/--mount=\S+/g) ?? []) t.match(mount, /=type=(?:secret|bind),/);
  t.strictSame(text.match(/type=secret,id=\w+/g), ['type=secret,id=npmrc', 'type=secret,id=ca']);
  t.match(text, /npm ci --ignore-scripts/);
});

t.test('the builder is sent what the build reads, and nothing else of the checkout', async (t) => {
  const [first, ...rest] = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  t.equal(first, '**', 'nothing, but');
  const sent = rest.map((line) => /^!([\w.-]+)$/.exec(line)?.[1] ?? t.fail(line));
  const copied = only('COPY', stages[1]).flatMap((words) => words.split(' ').slice(0, -1));
  t.strictSame(sent.toSorted(), copied.map((name) => name.replace(/^\.\//, '')).toSorted());
});

t.test('the page tells options that there are, and the presets as they are', async (t) => {
  const page = read('docs/container.md');
  const help = execFileSync(process.execPath, [`${ROOT}scripts/image.ts`, '--help'], { encoding: 'utf8' });
  const named = new Set(
    [...page.matchAll(/npm run image -- (.*)/g)].flatMap(([, line = '']) => line.match(/--[a-z-]+/g)),
  );
  t.ok(named.size > 3);
  for (const flag of named) t.ok(flag !== null && help.includes(`  ${flag}`), String(flag));
  for (const words of [env.GCG_DEFAULT_SERVER_LISTEN, env.GCG_DEFAULT_STORE_PATH, 'answered for 8 s'])
    t.ok(page.includes(`${words}`), words);
});
