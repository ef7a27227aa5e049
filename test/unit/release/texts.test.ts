// What a release says of itself: texts and examples state the version that is being released, and no text has a command
// that would fetch a package of a name that is not ours.

import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { statedVersions, statingFiles, withVersion } from '../../../scripts/stated-version.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const { version, name, bin } = JSON.parse(read('package.json')) as {
  version: string;
  name: string;
  bin: Record<string, string>;
};

t.test('texts and examples state the version of package.json; if not, run npm run generate', async (t) => {
  const stating = statingFiles(ROOT).filter((file) => statedVersions(read(file)).length > 0);
  t.ok(stating.length > 2, `${stating}`);
  for (const file of stating) t.strictSame([...new Set(statedVersions(read(file)))], [version], file);
  t.equal(JSON.parse(read('package-lock.json')).version, version);
});

t.test('what states a version is found, and nothing else is', async (t) => {
  for (const [text, stated] of [
    ['    image: genesys-cloud-gateway:0.1.0', ['0.1.0']],
    ['docker run registry.example/team/genesys-cloud-gateway:0.1.0 check', ['0.1.0']],
    ['`genesys-cloud-gateway:0.1.0`, genesys-cloud-gateway:0.2.0', ['0.1.0', '0.2.0']],
    ['npx genesys-cloud-gateway@0.1.0 demo', ['0.1.0']],
    ['./genesys-cloud-gateway-0.1.0.tgz', ['0.1.0']],
    ['          ref: v0.1.0', ['0.1.0']],
    ['version: 0.1.0\nappVersion: "0.1.0"', ['0.1.0', '0.1.0']],
    ['    newTag: 0.1.0', ['0.1.0']],
    ['genesys-cloud-gateway:latest, genesys-cloud-gateway@1, my-genesys-cloud-gateway.0.1.0', []],
    ['genesys-cloud-gateway:0.1.0-rc.1', []],
    ['apiVersion: 1.2.3\n  version: 1.2.3\nsince 0.1.0, 10.1.0.0/16', []],
  ] as const) {
    t.strictSame(statedVersions(text), stated, text);
    t.equal(
      withVersion(text, '7.8.9'),
      stated.reduce<string>((all, one) => all.replace(one, '7.8.9'), text),
      text,
    );
  }
});

t.test('no text has a command that fetches a package of a name that is not ours', async (t) => {
  // What npm would look up in its registry: `gcg` is a command of ours, and a package of whoever registers it.
  const fetches = (text: string) =>
    [
      ...text.matchAll(
        /\b(?:npx|npm (?:exec|x|i|install|add)|pnpm (?:dlx|add)|yarn (?:dlx|add)|bunx)((?: +-[\w=-]+)*) +([@\w./-]+)/g,
      ),
    ]
      .map(([, , what = '']) => what.replace(/(?<=.)@[^/]*$/, ''))
      .filter((what) => what in bin && what !== name);
  for (const text of [
    'npx gcg',
    'npx -y gcg demo',
    'npx --no-install gcg',
    'npm install -g gcg',
    'npx gcg@1 demo',
    'npm x -- gcg',
  ])
    t.strictSame(fetches(text), ['gcg'], text);
  for (const text of ['npx genesys-cloud-gateway demo', 'npm install -g genesys-cloud-gateway', 'npx --yes x', 'gcg'])
    t.strictSame(fetches(text), [], text);
  const globs = [
    '*.md',
    'config.example.ini',
    'Dockerfile',
    '{docs,examples,deploy,src,scripts}/**/*.*',
    '.github/**/*.*',
  ];
  const files = globSync(globs, { cwd: ROOT }).filter((file) => !/\.(?:png|tsv)$/.test(file));
  t.ok(files.length > 300);
  for (const file of files) {
    const found = fetches(read(file));
    if (found.length > 0) t.fail(file);
  }
});
