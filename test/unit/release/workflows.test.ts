// The workflows that test and release, as far as they can be read without running them: GitHub's own parser takes them,
// what they use is pinned, no job may do more than it must, and nothing is published but a version that may be released.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { basename, join, resolve } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { type ReleaseFiles, releaseNotes, whyNoRelease } from '../../../scripts/assert-release.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

// The parser is made for bundlers: its imports of JSON do not say so.
const hooks = registerHooks({
  load: (url, context, next) =>
    next(url, url.endsWith('.json') ? { ...context, importAttributes: { type: 'json' } } : context),
});
const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = await import('@actions/workflow-parser');
hooks.deregister();
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly env?: Record<string, string>;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly needs?: string | readonly string[];
  readonly uses?: string;
  readonly environment?: string;
  readonly outputs?: Record<string, string>;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly 'timeout-minutes'?: number;
  readonly strategy?: { readonly matrix: { readonly os: readonly string[]; readonly node: readonly number[] } };
  readonly steps?: readonly Step[];
}
interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const files = globSync('.github/workflows/*', { cwd: ROOT });
// YAML 1.2: `on` is a word and no boolean.
const workflow = (name: string) => parse(read(`.github/workflows/${name}.yml`)) as Workflow;
const ci = workflow('ci');
const release = workflow('release');
const stepsOf = ({ jobs }: Workflow) => Object.values(jobs).flatMap(({ steps = [] }) => steps);

async function problemsIn(name: string, content: string): Promise<string[]> {
  const { context, value } = parseWorkflow({ name, content }, new NoOperationTraceWriter());
  if (value !== undefined) await convertWorkflowTemplate(context, value);
  return context.errors.getErrors().map(({ message }) => message);
}

t.test("GitHub's parser finds nothing wrong with them, and would", async (t) => {
  t.strictSame(files.map((file) => basename(file)).sort(), ['ci.yml', 'release.yml']);
  for (const file of files) t.strictSame(await problemsIn(file, read(file)), [], file);
  t.match(await problemsIn('x.yml', read('.github/workflows/ci.yml').replace('runs-on', 'run-on')), [/run-on/]);
  t.match(
    await problemsIn('x.yml', `on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: \${{ no.such }}\n`),
    [/no/],
  );
});

t.test('what they use is pinned by the hash of a commit, with the version beside it for people', async (t) => {
  for (const file of files) {
    const uses = [...read(file).matchAll(/^\s*(?:- )?uses: (.*)$/gm)].map(([, what = '']) => what);
    t.ok(uses.length > 5);
    for (const what of uses.filter((one) => !one.startsWith('./')))
      t.match(what, /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, what);
  }
});

t.test('who sends a pull request runs nothing with a secret or the right to write', async (t) => {
  for (const [file, { on, permissions }] of [
    ['ci.yml', ci],
    ['release.yml', release],
  ] as const) {
    const text = read(`.github/workflows/${file}`);
    t.notMatch(text, /\bsecrets\.|pull_request_target|workflow_run|GITHUB_TOKEN\b(?!:)/, file);
    t.ok(!('pull_request' in on) || JSON.stringify(permissions) === '{"contents":"read"}', file);
    // What others wrote, a branch's name for one, reaches no shell but as a variable.
    for (const { run = '' } of stepsOf(file === 'ci.yml' ? ci : release)) t.notMatch(run, /\$\{\{/, run);
    for (const { uses = '', with: given } of stepsOf(file === 'ci.yml' ? ci : release))
      if (uses.startsWith('actions/checkout@')) t.equal(given?.['persist-credentials'], false, file);
  }
  t.ok('pull_request' in ci.on && 'workflow_call' in ci.on);
  for (const job of Object.values(ci.jobs)) t.equal(job.permissions, undefined, 'no job of ci asks for more');
});

t.test('each job of a release has the rights it needs, an end, and stands behind all checks', async (t) => {
  t.strictSame(release.on, { push: { tags: ['v[0-9]+.[0-9]+.[0-9]+'] } });
  t.strictSame(release.permissions, {});
  const rights = Object.entries(release.jobs).map(([name, { permissions = {} }]) => [
    name,
    Object.keys(permissions)
      .filter((right) => permissions[right] === 'write')
      .sort(),
  ]);
  t.strictSame(Object.fromEntries(rights), {
    ci: [],
    'may-release': [],
    npm: ['attestations', 'id-token'],
    image: ['attestations', 'id-token', 'packages'],
    page: ['contents'],
  });
  for (const name of ['npm', 'image']) {
    t.strictSame(release.jobs[name]?.needs, ['ci', 'may-release'], name);
    t.equal(release.jobs[name]?.environment, name, 'an environment, which may want an approval');
  }
  t.strictSame(release.jobs.page?.needs, ['ci', 'npm', 'image']);
  for (const [name, job] of [...Object.entries(ci.jobs), ...Object.entries(release.jobs)])
    t.ok(job.uses !== undefined || (job['timeout-minutes'] ?? 0) > 0, `${name} ends`);
});

t.test('what is published is the tarball that was tried, with its proof of origin and its bill', async (t) => {
  const runs = (job: string) => (release.jobs[job]?.steps ?? []).map(({ run = '' }) => run).join('\n');
  t.match(runs('may-release'), /scripts\/assert-release\.ts "\$GITHUB_REF_NAME" "\$GITHUB_REPOSITORY"/);
  t.match(runs('may-release'), /npm run audit/);
  // Told past the artifact, which every job of the run could replace.
  t.match(ci.jobs.package?.outputs?.sum, /^\$\{\{ steps\.pack\.outputs\.sum \}\}$/);
  for (const job of ['npm', 'page']) {
    t.match(runs(job), /^echo "\$SUM {2}SHA256SUMS" \| sha256sum --check && sha256sum --check SHA256SUMS/m, job);
    const env = release.jobs[job]?.steps?.find(({ run = '' }) => run.includes('$SUM'))?.env;
    t.match(env?.SUM, /^\$\{\{ needs\.ci\.outputs\.sum \}\}$/, job);
  }
  t.match(runs('npm'), /npm publish --provenance .*--ignore-scripts \.\/packed\/\*\.tgz/);
  t.notMatch(runs('npm'), /npm (?:ci|run|install|pack)/, 'nothing is built where the right to publish is');
  t.match(
    release.jobs.npm?.steps?.map(({ uses = '' }) => uses.split('@')[0]),
    [
      'actions/setup-node',
      'actions/download-artifact',
      '',
      'actions/attest-build-provenance',
      'actions/attest-sbom',
      '',
    ],
  );
  const image = release.jobs.image?.steps?.find(({ uses = '' }) => uses.startsWith('docker/build-push-action@'))?.with;
  t.match(image, { platforms: 'linux/amd64,linux/arm64', provenance: 'mode=max', push: true });
  t.match(runs('image'), /scripts\/image\.ts --with docker --show-base/);
  t.match(
    image?.['build-args'],
    /^NODE_IMAGE=\S.*\.name \}\}@\S.*\.digest \}\}$/,
    'on a base that is known afterwards',
  );
});

t.test('three systems and each line of Node that package.json names are tried', async (t) => {
  const { os, node } = ci.jobs.systems?.strategy?.matrix ?? { os: [], node: [] };
  t.match(os, [/^ubuntu-/, /^macos-/, /^windows-/]);
  t.strictSame(node, [22, 24, 26]);
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } };
  t.strictSame(
    [...engines.node.matchAll(/(?:\^|>=)(\d+)/g)].map(([, major]) => Number(major)),
    node,
  );
});

t.test('each command of a step is there', async (t) => {
  let count = 0;
  for (const { run = '' } of [...stepsOf(ci), ...stepsOf(release)]) {
    for (const [, script = ''] of run.matchAll(/\bnpm run ([\w:-]+)/g)) t.ok(script in scripts, script);
    for (const [, file = ''] of run.matchAll(/(?:^|node )((?:scripts|node_modules|\.ci)\/[\w./-]+)/gm)) {
      count += 1;
      t.ok(existsSync(join(ROOT, file)), file);
    }
  }
  t.ok(count > 5);
});

const GOOD: ReleaseFiles = {
  manifest: { version: '1.2.3', repository: { url: 'git+https://github.com/Owner/gateway.git' } },
  lockedVersion: '1.2.3',
  changelog:
    '# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- One.\n\n## [1.2.2] - 2026-11-30\n\n- Old.\n',
  hasLists: (version) => version === '1.2.3',
};

t.test('a tag is a release where everything says the same, and every difference is told', async (t) => {
  const why = (tag: string, change: Partial<ReleaseFiles> = {}) =>
    whyNoRelease(tag, 'owner/gateway', { ...GOOD, ...change });
  t.strictSame(why('v1.2.3'), []);
  for (const repository of [
    'https://github.com/owner/gateway',
    'git@github.com:owner/gateway.git',
    'github:owner/gateway',
  ])
    t.strictSame(why('v1.2.3', { manifest: { version: '1.2.3', repository } }), [], repository);
  for (const tag of ['1.2.3', 'v1.2.4', 'v1.2.3-rc.1', 'refs/tags/v1.2.3', '', 'v1.2.3\n'])
    t.match(why(tag), [/^the tag is /], tag);
  t.match(why('v1.2.3', { lockedVersion: '1.2.2' }), [/package-lock\.json says 1\.2\.2/]);
  t.match(why('v1.2.3', { hasLists: () => false }), [/no lists of 1\.2\.3/]);
  t.match(why('v1.2.3', { manifest: { version: '1.2.3' } }), [/names no repository/]);
  for (const url of ['https://github.com/other/gateway', 'https://github.com/owner/gateway-2', 'owner'])
    t.match(
      why('v1.2.3', { manifest: { version: '1.2.3', repository: { url } } }),
      [/and this is owner\/gateway/],
      url,
    );
  for (const changelog of [
    '',
    '## [1.2.3]\n\n- One.\n',
    '## [1.2.3] - soon\n\n- One.\n',
    '## [1.2.3] - 2026-12-01\n\n## [1.2.2] - 2026-11-30\n\n- Old.\n',
  ])
    t.match(why('v1.2.3', { changelog }), [/CHANGELOG\.md has no heading/], changelog);
  const all = whyNoRelease('v9.9.9', 'owner/gateway', {
    ...GOOD,
    lockedVersion: '',
    changelog: '',
    hasLists: () => false,
  });
  t.equal(all.length, 4, 'all at once');
  t.equal(releaseNotes(GOOD.changelog, '1.2.3'), '### Added\n\n- One.\n');
});
