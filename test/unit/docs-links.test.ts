// What the documents point at is there: relative links, their anchors, and files of the repository named in backticks.
// And what they promise is in the table of docs/security.md, where each row names the tests that hold it.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import t from 'tap';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGES = globSync(['*.md', 'docs/*.md', 'examples/**/*.md'], { cwd: ROOT });

const read = (page: string) => readFileSync(join(ROOT, page), 'utf8');
const withoutCode = (text: string) => text.replace(/^ *```[\s\S]*?^ *```/gm, '').replace(/`[^`\n]*`/g, '');
const linksOf = (text: string) => [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? '');
const anchorsOf = (text: string) =>
  [...text.replace(/^ *```[\s\S]*?^ *```/gm, '').matchAll(/^#+ +(.+)$/gm)].map(([, words = '']) =>
    words
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

t.test('there are pages, and links on them', async (t) => {
  t.ok(PAGES.includes('README.md') && PAGES.includes(join('docs', 'operations.md')));
  t.ok(PAGES.flatMap((page) => linksOf(read(page))).length > 30);
});

for (const page of PAGES) {
  t.test(`${page} points at what is there`, async (t) => {
    for (const link of linksOf(read(page)).filter((target) => !/^[a-z]+:/.test(target))) {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? page : join(dirname(page), path);
      if (!t.ok(existsSync(join(ROOT, target)), link) || anchor === undefined) continue;
      t.ok(anchorsOf(read(target)).includes(anchor), link);
    }
    for (const [, path = ''] of read(page).matchAll(/`((?:src|test|docs|examples|scripts|bench)\/[\w./-]+\.\w+)`/g)) {
      t.ok(existsSync(join(ROOT, path)), path);
    }
  });
}

const TESTS = globSync('test/**/*.test.ts', { cwd: ROOT });
const HELD_BY_TESTS = ['faults', 'notifications', 'operations', 'sdk-recipes', 'security', 'tokens'].map((name) =>
  join('docs', `${name}.md`),
);

t.test(
  'every test that a page names is there, and every page that says how the gateway behaves names some',
  async (t) => {
    for (const page of PAGES) {
      const named = [...read(page).matchAll(/`([\w./-]+\.test\.ts)`/g)].map(([, path = '']) => path);
      // Further ones of a folder that was named are named by their file alone.
      for (const path of named)
        t.ok(
          path.includes('/') ? TESTS.includes(path) : TESTS.some((test) => basename(test) === path),
          `${page}: ${path}`,
        );
      if (HELD_BY_TESTS.includes(page)) t.ok(named.length > 0, page);
    }
  },
);

/** The groups of the promises, and the rows of each: what is promised, and where its tests are. */
function promises(): [group: string, rows: [promise: string, tests: string][]][] {
  const section =
    read(join('docs', 'security.md'))
      .split(/^## /m)
      .find((text) => text.startsWith('What is promised')) ?? '';
  return section
    .split(/^### /m)
    .slice(1)
    .map((text) => [
      text.split('\n', 1)[0] ?? '',
      [...text.matchAll(/^\| (.*) \| (.*) \|$/gm)].slice(2).map(([, promise = '', tests = '']) => [promise, tests]),
    ]);
}

t.test('every promise names the tests that hold it, once, and is a line', async (t) => {
  const groups = promises();
  t.equal(groups.length, 9);
  const seen = new Set<string>();
  for (const [group, rows] of groups) {
    t.ok(rows.length > 5, group);
    for (const [promise, tests] of rows) {
      t.match(tests, /^`test\/[\w./-]+\.test\.ts`(?:, `test\/[\w./-]+\.test\.ts`)*$/, promise);
      t.ok(promise.length > 20 && promise.length < 400 && !seen.has(promise), promise);
      seen.add(promise);
    }
  }
});

t.test('README.md and SECURITY.md promise what is in these groups, and say in which', async (t) => {
  const anchors = anchorsOf(
    promises()
      .map(([group]) => `### ${group}`)
      .join('\n'),
  );
  for (const [page, begin, end] of [
    ['README.md', '## What it promises', '`gcg --help`'],
    ['SECURITY.md', 'In short:', undefined],
  ] as const) {
    const text = read(page);
    const part = text.slice(text.indexOf(begin), end === undefined ? undefined : text.indexOf(end));
    const items = part.split('\n').filter((line) => line.startsWith('- '));
    t.ok(items.length > 4, page);
    for (const item of items) {
      const groups = [...item.matchAll(/\(docs\/security\.md#([^)]+)\)/g)].map(([, anchor = '']) => anchor);
      t.ok(groups.length > 0 && groups.every((anchor) => anchors.includes(anchor)), item);
    }
  }
});
