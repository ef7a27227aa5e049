// What `npm run generate` writes is in the repository as it would be written now, and the example can be loaded as it
// is.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { generatedFiles } from '../../../scripts/generate.ts';
import { OPTIONS } from '../../../src/config/table.ts';
import { good, load, warnings } from './load-text.ts';

const root = new URL('../../../', import.meta.url);
const inRepository = (path: string) => readFileSync(new URL(path, root), 'utf8');

for (const [path, text] of generatedFiles()) {
  t.test(`${path} is up to date; if not, run npm run generate`, async (t) => t.equal(inRepository(path), text));
}

t.test('the example is valid as it is, and equal to having no file at all', async (t) => {
  const result = load({ file: inRepository('config.example.ini'), mode: 0o644 });
  t.strictSame(warnings(result), []);
  t.strictSame({ ...good(result), files: [] }, { ...good(load({})), files: [] });
});

t.test('the example shows every option, in short lines', async (t) => {
  const lines = inRepository('config.example.ini').split('\n');
  for (const { key, isSecret } of OPTIONS) {
    const spelling = isSecret ? `${key}_file` : key;
    t.ok(
      lines.some(
        (line) =>
          line.startsWith(`${spelling} = `) ||
          line.startsWith(`;${spelling} = `) ||
          line.startsWith(`;${spelling}[] = `),
      ),
      key,
    );
  }
  t.strictSame(
    lines.filter((line) => line.length > 79 && !line.startsWith(';')),
    [],
  );
});

t.test('a reader who takes the ; away from id and secret has a working file', async (t) => {
  const text = inRepository('config.example.ini')
    .replace(';client_id =', 'client_id =')
    .replace(';client_secret_env =', 'client_secret_env =');
  t.match(good(load({ file: text, env: { GENESYS_CLIENT_SECRET: 's' }, requireCredential: true })).credentials, [
    { name: 'default', isDefault: true },
  ]);
});
