// What the documents point at is there: relative links, their anchors, and files of the repository named in backticks.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
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
