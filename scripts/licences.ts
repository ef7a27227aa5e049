// Whose code is in the bundle, and under which terms it may be: by the files that the bundler read. A package without
// the text of its licence ends the build.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One package of others, as far as its code is in ours. */
export interface BundledPackage {
  /** Where it is installed, as the lock file names it: `node_modules/pino`. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** As its package.json has it, an SPDX expression. */
  readonly licence: string;
  /** The files with its terms: their texts. */
  readonly texts: readonly string[];
}

/** Packages that are published without the text that is in their repository, and one of the same that has it. */
const SAME_REPOSITORY: Readonly<Record<string, string>> = { 'proxy-agent-negotiate': 'proxy-agent' };

/** Packages that only state that their licence is MIT, and whose they, or their repositories, say they are. */
const MIT_STATED: Readonly<Record<string, string>> = {
  '@redis/client': '2022-2025, Redis, inc.',
  'abstract-logging': 'James Sumners <james.sumners@gmail.com>',
};

/** The packages that `files` are of, by name; relative to `root`, others than those of packages are passed over. */
export function packagesOf(root: string, files: readonly string[]): BundledPackage[] {
  const folders = new Set(
    files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file.replaceAll('\\', '/'))?.[0] ?? []),
  );
  return [...folders]
    .map((path) => packageIn(root, path))
    .sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}

function packageIn(root: string, path: string): BundledPackage {
  const folder = join(root, path);
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: string;
  };
  const texts = textsIn(folder);
  if (typeof license !== 'string' || license === 'UNLICENSED') throw new Error(`${name} ${version} names no licence`);
  const elsewhere = SAME_REPOSITORY[name];
  if (texts.length === 0 && elsewhere !== undefined) texts.push(...textsIn(join(folder, '..', elsewhere)));
  if (texts.length === 0 && name in MIT_STATED) texts.push(mit(MIT_STATED[name] ?? ''));
  if (texts.length === 0) throw new Error(`${name} ${version} (${license}) has no licence text: it cannot be bundled`);
  return { path, name, version, licence: license, texts };
}

function textsIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim());
}

function mit(holder: string): string {
  return `MIT License

Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
}

/** The page of all licences; equal texts stand once, below all packages that have them. */
export function licencesPage(packages: readonly BundledPackage[]): string {
  const byText = new Map<string, string[]>();
  for (const { name, version, licence, texts } of packages) {
    const text = texts.join('\n\n');
    byText.set(text, [...(byText.get(text) ?? []), `${name} ${version} (${licence})`]);
  }
  const head =
    "The files of this folder hold code of the packages below, which are others' work and used under these terms.\n";
  const parts = [...byText].map(([text, names]) => `${'-'.repeat(80)}\n${names.join('\n')}\n\n${text}\n`);
  return [head, ...parts].join('\n');
}
