// Blocks of configuration, JSON and TypeScript in pages are what they look like: INI is loaded as the gateway would load
// it, JSON is parsed, what is imported from the package is exported by it.

import t from 'tap';
import { parseAllDocuments } from 'yaml';
import * as face from '../../../src/index.ts';
import { load, problems } from '../config/load-text.ts';
import { type Block, blocksOf, PAGES } from './pages.ts';

const blocks = PAGES.flatMap(blocksOf);
const inLanguage = (language: string) => blocks.filter((block) => block.language === language);
const nameOf = ({ page, line }: Block) => `${page}:${line}`;

/** What stands for something that only the reader has. */
const PLACEHOLDERS: readonly (readonly [RegExp, string])[] = [
  [/PRINTED_BY_gcg_client_add|\b3f…/g, 'ab'.repeat(32)],
  [/= YOUR_CLIENT_SECRET$/gm, '= a-secret'],
];

/** The problems of a block, which is a whole file or a fragment: what it lacks is put behind it. */
function problemsOf(text: string): string[] {
  let file = PLACEHOLDERS.reduce((all, [from, to]) => all.replaceAll(from, to), text);
  if (!/^\[credential\]/m.test(file)) file += '\n[credential]\nclient_id = an-id\nclient_secret = a-secret\n';
  // Files that a block names are the reader's.
  return problems(load({ file, requireCredential: true })).filter(
    (problem) => !/_file: .*(?:cannot be read|secret file|does not exist)/.test(problem),
  );
}

for (const block of inLanguage('ini')) {
  t.test(`the configuration at ${nameOf(block)} is read without a problem`, async (t) => {
    t.same(problemsOf(block.text), []);
  });
}

t.test('there are such blocks, and one that is wrong is seen', async (t) => {
  t.ok(inLanguage('ini').length >= 6);
  t.match(problemsOf('[server]\nlisen = 127.0.0.1:1\n').join(), 'no key "server.lisen"');
});

for (const block of inLanguage('json')) {
  t.test(`the JSON at ${nameOf(block)} is JSON`, async (t) => {
    t.doesNotThrow(() => JSON.parse(block.text));
  });
}

for (const block of inLanguage('yaml')) {
  t.test(`the YAML at ${nameOf(block)} is YAML`, async (t) => {
    for (const { errors, warnings } of parseAllDocuments(block.text)) t.strictSame([...errors, ...warnings], []);
  });
}

for (const block of inLanguage('ts')) {
  t.test(`what ${nameOf(block)} takes from the package is there`, async (t) => {
    const [, names = ''] = /import \{([^}]+)\} from 'genesys-cloud-gateway'/.exec(block.text) ?? [];
    t.ok(names !== '');
    for (const name of names.split(',')) t.ok(name.trim() in face, name);
  });
}

t.test('every block has a language that readers and this test know, or none', async (t) => {
  const checked = ['', 'console', 'ini', 'json', 'sh', 'text', 'ts', 'yaml'];
  // Those of applications: examples of them are run where they are files.
  const known = [...checked, 'csharp', 'go', 'hcl', 'java', 'js', 'python'];
  for (const block of blocks) t.ok(known.includes(block.language), `${nameOf(block)}: ${block.language}`);
});
