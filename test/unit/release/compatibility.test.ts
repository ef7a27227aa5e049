// What was promised to users of earlier releases is still there: the lists that each left are compared with the code,
// and what is gone is told on the page. And that a release cannot go out without leaving its own.

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import {
  differences,
  keptVersions,
  listsOf,
  releasedVersions,
  toldDifferences,
} from '../../../scripts/compatibility.ts';
import { surface } from '../../../scripts/surface.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
  engines: { node: string };
  scripts: Record<string, string>;
};
const now = await surface();

t.test('the lists of the code are whole', async (t) => {
  for (const [kind, name, shape] of [
    ['option', 'server.listen', 'commaList'],
    ['option', 'credential.client_secret', 'secret text'],
    ['option', 'logging.log_format = json', ''],
    ['environment', 'GCG_SERVER_LISTEN', ''],
    ['environment', 'GCG_CLIENT_NAME_SECRET', ''],
    ['environment', 'GCG_CONFIG', ''],
    ['command', 'serve --read-only', 'switch'],
    ['command', 'every --config', 'value'],
    ['exit code', 'every 78', ''],
    ['error code', 'gateway.loop', '508'],
    ['metric', 'gcg_request_duration_seconds', 'histogram credential source status'],
    ['metric', 'gcg_store_up', 'gauge'],
    ['log field', 'status', 'number'],
    ['log field', 'retries', 'list'],
    ['log record', 'ready', 'info'],
    ['log record', 'token state', ''],
    ['log record', 'configuration warning', 'warn'],
    ['route', 'GET /livez', ''],
    ['route', 'POST /-/clients/{name}/block', ''],
    ['header', 'X-Gateway-Error', ''],
    ['export', 'createGateway', 'function of 2 to 2 arguments'],
    ['export', 'GatewayOptions.plugins', 'optional'],
    ['export', 'GatewayOptions.log', 'required'],
    ['export', 'LoadResult.problems', 'required'],
    ['format', 'gcg-store-1', ''],
    ['format', 'Redis schema', '1'],
  ] as const)
    t.equal(now[kind]?.[name], shape, `${kind} ${name}`);
});

t.test('what an earlier release had is there, or its end is told in docs/compatibility.md', async (t) => {
  const released = releasedVersions();
  t.ok(released.includes('0.1.0'));
  const gone = new Set<string>();
  for (const version of released) {
    t.ok(keptVersions().includes(version), `the lists of ${version} are kept; if not, run npm run compatibility`);
    for (const difference of differences(listsOf(version), now)) gone.add(difference);
  }
  const told = toldDifferences().map(({ difference }) => difference);
  t.strictSame(
    [...gone].filter((one) => !told.includes(one)),
    [],
    'gone, and not told',
  );
  t.strictSame(
    told.filter((one) => !gone.has(one)),
    [],
    'told, and not gone',
  );
});

t.test('what is gone, has another shape or another type is found, and what is new is none', async (t) => {
  const before = { option: { 'a.b': 'text', 'a.c': 'integer 0..9' }, metric: { m: 'counter x' } };
  t.strictSame(differences(before, { ...before, route: { 'GET /': '' }, metric: { m: 'counter x', n: '' } }), []);
  t.strictSame(differences(before, { option: { 'a.b': 'text' }, metric: { m: 'counter x y' } }), [
    'option a.c',
    'metric m',
  ]);
  t.strictSame(differences(before, {}), ['option a.b', 'option a.c', 'metric m']);
});

t.test('a release writes its lists, and its workflow looks whether they are those of the code', async (t) => {
  t.match(manifest.scripts.version, /npm run generate && npm run compatibility/);
  t.match(readFileSync(join(ROOT, '.github/workflows/release.yml'), 'utf8'), /npm run compatibility -- --check/);
  t.ok(keptVersions().includes(manifest.version), manifest.version);
});

t.test('the page names the lines of Node that package.json and the program take', async (t) => {
  const page = readFileSync(join(ROOT, 'docs/compatibility.md'), 'utf8');
  t.equal(manifest.engines.node, '^22.22.2 || ^24.15.0 || >=26.0.0');
  for (const row of ['| 22 | from 22.22.2 |', '| 24 | from 24.15 |', '| 26 and later | from 26.0 |'])
    t.ok(page.includes(row), row);
});
