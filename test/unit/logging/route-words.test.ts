// The word list is what the installed SDK's paths are made of. `UPDATE=1 tap test/unit/logging/route-words.test.ts`
// writes it anew.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const API = fileURLToPath(
  new URL('../../../node_modules/purecloud-platform-client-v2/src/purecloud-platform-client-v2/api/', import.meta.url),
);
const FILE = fileURLToPath(new URL('../../../src/logging/metrics/route-words.ts', import.meta.url));

function sdkPaths(): Set<string> {
  const paths = new Set<string>();
  for (const name of readdirSync(API)) {
    for (const [, path] of readFileSync(API + name, 'utf8').matchAll(/'(\/api\/v2\/[^']*)'/g))
      paths.add(path as string);
  }
  return paths;
}

function wordsOf(paths: Iterable<string>): string[] {
  const words = new Set<string>();
  for (const path of paths) {
    for (const segment of path.split('/').slice(3)) if (/^[a-z][a-z0-9-]*$/.test(segment)) words.add(segment);
  }
  return [...words].sort();
}

function fileWith(words: string[]): string {
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (`${line} ${word}`.length > 120) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  lines.push(line);
  return `// The words that the platform's paths are made of, as its JavaScript SDK knows them.
// Generated: see test/unit/logging/route-words.test.ts.

export const ROUTE_WORDS = \`
${lines.join('\n')}
\`;
`;
}

t.test('the committed word list is what the SDK says', async (t) => {
  const paths = sdkPaths();
  t.ok(paths.size > 2000, `${paths.size} paths found`);
  const wanted = fileWith(wordsOf(paths));
  if (process.env.UPDATE) writeFileSync(FILE, wanted);
  t.equal(readFileSync(FILE, 'utf8'), wanted, 'run it with UPDATE=1 after an update of the SDK');
});
