// The pages of the repository, and what is read out of them: links, anchors, pictures, blocks of code, code in the text.

import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../../..');

/** Every page, by its path from the root. */
export const PAGES: readonly string[] = globSync(['*.md', 'docs/*.md', 'examples/**/*.md'], { cwd: ROOT }).sort();

/** The pages of the documentation and the front page: those that tell how things are now. */
export const CURRENT_PAGES = PAGES.filter((page) => page !== 'CHANGELOG.md');

const texts = new Map<string, string>();

export function read(page: string): string {
  let text = texts.get(page);
  if (text === undefined) {
    text = readFileSync(join(ROOT, page), 'utf8');
    texts.set(page, text);
  }
  return text;
}

/** A block between fences: its language, the words behind that, its text without the indent of its fence. */
export interface Block {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly info: string;
  readonly text: string;
}

/** All blocks of a page, in their order. Throws for a fence that is not closed. */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  let open: { indent: number; language: string; info: string; line: number; lines: string[] } | null = null;
  for (const [at, line] of read(page).split('\n').entries()) {
    const fence = /^( *)```(\w*) *(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line.slice(Math.min(open.indent, line.length - line.trimStart().length)));
    else if (open === null) {
      const [, indent = '', language = '', info = ''] = fence;
      open = { indent: indent.length, language, info, line: at + 1, lines: [] };
    } else {
      const { language, info, line: from, lines } = open;
      blocks.push({ page, line: from, language, info, text: `${lines.join('\n')}\n` });
      open = null;
    }
  }
  if (open !== null) throw new Error(`${page}:${open.line}: a block without end`);
  return blocks;
}

/** The text without its blocks. */
export function withoutBlocks(text: string): string {
  return text.replace(/^ *```[\s\S]*?^ *```/gm, '');
}

/** What stands between backticks in the text, blocks left out. */
export function codeOf(page: string): string[] {
  return [...withoutBlocks(read(page)).matchAll(/(?<!`)`([^`\n]+)`(?!`)/g)].map(([, code = '']) => code);
}

/** The targets of links and pictures. */
export function linksOf(page: string): string[] {
  const text = withoutBlocks(read(page)).replace(/`[^`\n]*`/g, '');
  const pictures = [...text.matchAll(/\b(?:src|srcset|href)="([^"]+)"/g)];
  return [...text.matchAll(/\]\(([^)\s]+)\)/g), ...pictures].map(([, target = '']) => target);
}

/** The pictures with the words that stand for them; a source for another colour scheme has those of its picture. */
export function picturesOf(page: string): { readonly alt: string; readonly path: string }[] {
  const text = withoutBlocks(read(page));
  const plain = [...text.matchAll(/!\[([^\]]*)\]\(([^)\s]+)\)/g)].map(([, alt = '', path = '']) => ({ alt, path }));
  const tags = [...text.matchAll(/<img [^>]*>/g)].map(([tag]) => ({
    alt: /\balt="([^"]*)"/.exec(tag)?.[1] ?? '',
    path: /\bsrc="([^"]*)"/.exec(tag)?.[1] ?? '',
  }));
  return [...plain, ...tags];
}

/** The anchors of a text's headings, as GitHub makes them. */
export function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutBlocks(text).matchAll(/^#+ +(.+)$/gm)].map(([, words = '']) => {
    const anchor = words
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
}
