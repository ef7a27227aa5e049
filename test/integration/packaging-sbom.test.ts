// The bill of materials that a release carries: it lists the packages whose code is in what was bundled and those that
// are installed with it, no other, and is as its specification wants it. And a build makes the same files again.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import t from 'tap';
import { billOfMaterials } from '../../scripts/sbom.ts';
import { VENDORED } from '../../src/inspector/page-files.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const readJson = <T>(file: string): T => JSON.parse(readFileSync(file, 'utf8')) as T;

interface Component {
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses: readonly { readonly license?: { readonly id: string }; readonly expression?: string }[];
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
}

interface Bom {
  readonly serialNumber?: string;
  readonly metadata: { readonly timestamp?: string; readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
}

const manifest = readJson<{ name: string; version: string; dependencies: Record<string, string> }>(
  join(ROOT, 'package.json'),
);
const { packages: locked } = readJson<{ packages: Record<string, { version: string; integrity: string }> }>(
  join(ROOT, 'package-lock.json'),
);

const folder = mkdtempSync(join(tmpdir(), 'gcg-sbom-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const [first, second] = (await Promise.all(
  ['a', 'b'].map(async (name) => {
    await promisify(execFile)(process.execPath, [join(ROOT, 'scripts/bundle.ts'), join(folder, name)]);
    return join(folder, name);
  }),
)) as [string, string];
const text = readFileSync(join(first, 'sbom.cdx.json'), 'utf8');
const bom = JSON.parse(text) as Bom;
const fullName = ({ group, name }: Component) => (group === undefined ? name : `${group}/${name}`);

t.test(
  'two builds are the same, octet for octet, and the bill has neither a time nor a number of its own',
  async (t) => {
    const files = (dist: string) =>
      globSync('**/*', { cwd: dist })
        .filter((file) => statSync(join(dist, file)).isFile())
        .sort()
        .map((file) => [
          file,
          createHash('sha256')
            .update(readFileSync(join(dist, file)))
            .digest('hex'),
        ]);
    t.ok(files(first).length > 100);
    t.strictSame(files(second), files(first));
    // In another folder they would be others, and tell where they were built.
    const tells = files(first).filter(([file = '']) => {
      const text = readFileSync(join(first, file), 'utf8');
      // Maps lead from here to the sources, which are elsewhere in this test.
      const places = file.endsWith('.map') ? text.replaceAll(/"(?:\.\.\/)+[^"]*"/g, '') : text;
      return places.includes(ROOT);
    });
    t.strictSame(tells, [], 'no file names a folder of this machine');
    t.equal(bom.serialNumber, undefined);
    t.equal(bom.metadata.timestamp, undefined);
  },
);

t.test('it lists the packages whose code is in the files, as their maps tell it, and what is installed', async (t) => {
  const paths = new Set<string>();
  for (const map of globSync('**/*.map', { cwd: first }))
    for (const source of readJson<{ sources: string[] }>(join(first, map)).sources) {
      const path = /node_modules\/.*node_modules\/(?:@[^/]+\/)?[^/]+|node_modules\/(?:@[^/]+\/)?[^/]+/.exec(
        source,
      )?.[0];
      if (path !== undefined) paths.add(path);
    }
  t.ok(paths.size > 60, `${paths.size} packages in the maps`);
  for (const name of [...Object.keys(manifest.dependencies), ...Object.keys(VENDORED)])
    paths.add(`node_modules/${name}`);
  const expected = [...paths].map((path) => `${path.replace(/^.*node_modules\//, '')} ${locked[path]?.version}`);
  t.strictSame(bom.components.map((each) => `${fullName(each)} ${each.version}`).sort(), [...new Set(expected)].sort());
  const bundled = bom.components.filter(({ properties }) => properties !== undefined).map(fullName);
  t.strictSame(
    bom.components.map(fullName).filter((name) => !bundled.includes(name)),
    Object.keys(manifest.dependencies),
    'which is installed beside it',
  );
});

t.test('each has its version, its address, its licence and the hash of the lock file', async (t) => {
  const { component } = bom.metadata;
  t.equal(component.purl, `pkg:npm/${manifest.name}@${manifest.version}`);
  const licences = readFileSync(join(first, 'THIRD-PARTY-LICENSES'), 'utf8');
  const byHash = new Map(
    Object.entries(locked).map(([path, { integrity }]) => [
      Buffer.from((integrity ?? '').replace(/^sha512-/, ''), 'base64').toString('hex'),
      path,
    ]),
  );
  for (const each of bom.components) {
    const name = fullName(each);
    t.equal(each.purl, `pkg:npm/${name.replace('@', '%40')}@${each.version}`);
    const [hash, ...others] = each.hashes;
    t.match(hash, { alg: 'SHA-512', content: /^[0-9a-f]{128}$/ }, name);
    t.strictSame(others, []);
    const path = byHash.get(hash?.content ?? '') ?? '';
    t.ok(path.endsWith(`node_modules/${name}`) && locked[path]?.version === each.version, `${name}: ${path}`);
    t.match(each.licenses, [{ license: { id: /^[\w.-]+$/ } }], name);
    // Who installs a package gets its licence with it.
    if (each.properties !== undefined)
      t.ok(licences.includes(`\n${name} ${each.version} (${each.licenses[0]?.license?.id})\n`), `${name} in the page`);
  }
  const refs = new Set([component, ...bom.components].map(({ purl }) => purl));
  for (const { ref, dependsOn = [] } of bom.dependencies)
    t.ok(
      [ref, ...dependsOn].every((each) => refs.has(each)),
      ref,
    );
  const fastify = bom.dependencies.find(({ ref }) => ref.startsWith('pkg:npm/fastify@'));
  t.ok(
    fastify?.dependsOn?.some((ref) => ref.startsWith('pkg:npm/find-my-way@')),
    'who needs whom',
  );
});

t.test('it is valid by the schema of CycloneDX 1.6, which refuses what is not', async (t) => {
  const schemas = join(
    dirname(fileURLToPath(import.meta.resolve('@cyclonedx/cyclonedx-library/package.json'))),
    'res/schema',
  );
  const schema = (name: string) => readJson<object>(join(schemas, `${name}.SNAPSHOT.schema.json`));
  const ajv = new Ajv({ strict: false, formats: { 'iri-reference': true, 'idn-email': true } });
  addFormats.default(ajv);
  for (const name of ['spdx', 'jsf-0.82', 'cryptography-defs'])
    ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  const validate = ajv.compile(schema('bom-1.6'));
  t.ok(validate(bom), JSON.stringify(validate.errors));
  t.notOk(validate({ ...bom, specVersion: 1.6 }));
  t.notOk(validate({ ...bom, components: [{ ...bom.components[0], hashes: [{ alg: 'SHA-512', content: 'x' }] }] }));
  t.notOk(validate({ ...bom, components: [...bom.components, bom.components[0]] }), 'each once');
});

t.test('a package that is not what the lock file says ends the build', async (t) => {
  const row = { path: 'node_modules/pino', name: 'pino', licence: 'MIT', texts: ['as is'] };
  t.throws(() => billOfMaterials(ROOT, [{ ...row, version: '0.0.1' }]), /node_modules\/pino is 0\.0\.1, and /);
  t.throws(() => billOfMaterials(ROOT, [{ ...row, path: 'node_modules/none', version: '1.0.0' }]), /undefined in the/);
});
