// Keeps the promise of docs/compatibility.md: compares what the code offers with the lists that earlier releases wrote,
// and writes those of the release that package.json names. `npm run compatibility` writes, `-- --check` only says
// whether they were written; npm version does the first, the release's workflow the second.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Surface, surface } from './surface.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = join(ROOT, 'test/fixtures/compatibility');

/** What an earlier release had and a later one has no more, or has in another shape: `metric gcg_errors_total`. */
export function differences(before: Surface, now: Surface): string[] {
  return Object.entries(before).flatMap(([kind, rows]) =>
    Object.entries(rows).flatMap(([name, shape]) => (now[kind]?.[name] === shape ? [] : [`${kind} ${name}`])),
  );
}

/** The versions whose lists are kept, the earliest first. */
export function keptVersions(): string[] {
  const number = (version: string) => version.split('.').reduce((sum, part) => sum * 10_000 + Number(part), 0);
  return readdirSync(FOLDER)
    .map((file) => file.replace(/\.json$/, ''))
    .sort((a, b) => number(a) - number(b));
}

/** The lists of a release. */
export function listsOf(version: string): Surface {
  return JSON.parse(readFileSync(fileOf(version), 'utf8')) as Surface;
}

/** Versions that were released: the changelog has a heading with a date for each. */
export function releasedVersions(): string[] {
  const changelog = readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8');
  return [...changelog.matchAll(/^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$/gm)].map(([, version = '']) => version);
}

/** What the page says is gone or changed: the release that did it, and the differences from those before. */
export function toldDifferences(): { since: string; difference: string }[] {
  const page = readFileSync(join(ROOT, 'docs/compatibility.md'), 'utf8');
  return [...page.matchAll(/^\| (\d+\.\d+\.\d+) \| ([a-z ]+) \| `([^`]+)` \|/gm)].map(([, since = '', kind, name]) => ({
    since,
    difference: `${kind} ${name}`,
  }));
}

function fileOf(version: string): string {
  return join(FOLDER, `${version}.json`);
}

if (import.meta.main) {
  const [option] = process.argv.slice(2);
  if (option !== undefined && option !== '--check') {
    console.error('usage: npm run compatibility [-- --check]');
    process.exit(2);
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const text = `${JSON.stringify(await surface(), null, 2)}\n`;
  if (option === undefined) writeFileSync(fileOf(version), text);
  else if (!keptVersions().includes(version) || readFileSync(fileOf(version), 'utf8') !== text) {
    console.error(`the lists of ${version} are not those of the code: run npm run compatibility, and commit them`);
    process.exitCode = 1;
  }
}
