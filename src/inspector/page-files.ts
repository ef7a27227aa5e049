// The files of the inspector's page as they are served: the module it starts with and all that this one imports, the
// style, the shell. Reads them once; serves nothing. Built, they are JavaScript beside this file; run from source, their
// types are taken off here.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { basename } from 'node:path';
import { isSource, programFile, programModule } from '../program-folder.ts';

/** Packages that the page imports: the name is the specifier, the value the package's own file for browsers. */
export const VENDORED: Readonly<Record<string, string>> = { 'lit-html': 'lit-html.js' };

/** The page's styles: the first comes with the shell, the other with the views that need it. */
export const PAGE_STYLES = ['page.css', 'views.css'] as const;

/** Where a vendored package's files are, in an installation with development dependencies. */
export function vendorFolder(name: string): URL {
  // Node is given the file for servers, in a folder of its own.
  return new URL('../', import.meta.resolve(name));
}

/** One file as it goes to the browser. */
export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

/** All files of the page. */
export interface PageFiles {
  /** Changes with every octet of any file: part of the files' addresses, so that they may be kept for ever. */
  readonly version: string;
  /** HTML; refers to the files by `VERSION/NAME`, relative to its own address. */
  readonly shell: string;
  readonly files: ReadonlyMap<string, PageFile>;
}

/** Names of modules, by the relative or bare specifier of an import or export, static or dynamic. */
const SPECIFIER = /(^(?:import|export)\b[^;'"`]*?\bfrom\s*|^import\s*|\bimport\(\s*)(['"])([^'"\n]+)\2/gm;

/** Reads all files of the page, and checks that each import leads to one of them. */
export function readPageFiles(): PageFiles {
  const files = new Map<string, PageFile>();
  const startsWith = new Modules().collect(programModule('inspector/page/main'), files);
  for (const name of PAGE_STYLES) {
    const style = read(programFile(`inspector/page/${name}`)).toString();
    files.set(name, { type: 'text/css; charset=utf-8', body: unindented(style) });
  }
  const hash = createHash('sha256');
  for (const [name, { body }] of files) hash.update(`${name}\0${body.length}\0`).update(body);
  const version = hash.digest('hex').slice(0, 12);
  const shell = read(programFile('inspector/page/shell.html'))
    .toString()
    .replace('PRELOADS', startsWith.map((name) => `<link rel="modulepreload" href="VERSION/${name}">`).join('\n'))
    .replaceAll('VERSION', version);
  return { version, shell, files };
}

/** Follows imports from module to module. */
class Modules {
  readonly #urls = new Map<string, string>();

  /** Puts a module and all that it imports into `files`; returns the names of those it needs before it can start. */
  collect(start: URL, files: Map<string, PageFile>): string[] {
    const needed = [this.#nameOf(start)];
    const waiting: { url: URL; isNeeded: boolean }[] = [{ url: start, isNeeded: true }];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { url, isNeeded } = next;
      const name = this.#nameOf(url);
      if (files.has(name)) continue;
      const text = scriptOf(url).replace(SPECIFIER, (_, lead: string, quote: string, specifier: string) => {
        const target = locate(specifier, url);
        const isStatic = !lead.endsWith('(');
        const targetName = this.#nameOf(target);
        if (isNeeded && isStatic && !needed.includes(targetName)) {
          needed.push(targetName);
          waiting.unshift({ url: target, isNeeded: true });
        } else waiting.push({ url: target, isNeeded: false });
        return `${lead}${quote}./${targetName}${quote}`;
      });
      files.set(name, { type: 'text/javascript; charset=utf-8', body: unindented(text) });
    }
    return needed;
  }

  /** All are served from one folder, so no two may have the same name. */
  #nameOf(url: URL): string {
    const name = basename(url.pathname).replace(/\.ts$/, '.js');
    const known = this.#urls.get(name);
    if (known !== undefined && known !== url.href) throw new Error(`two modules of the page are called ${name}`);
    this.#urls.set(name, url.href);
    return name;
  }
}

function locate(specifier: string, from: URL): URL {
  if (specifier.startsWith('.')) return new URL(specifier, from);
  const file = VENDORED[specifier];
  if (file === undefined) throw new Error(`the page imports ${specifier}, which is not served`);
  return isSource ? new URL(file, vendorFolder(specifier)) : programFile(`inspector/page/vendor/${file}`);
}

function scriptOf(url: URL): string {
  const text = read(url).toString();
  // Their source maps are not served.
  return url.pathname.endsWith('.ts') ? withoutTypes(text) : text.replace(/^\/\/# sourceMappingURL=.*$/m, '');
}

/** Only where the gateway runs from its source; Node warns that this is experimental, once a process. */
function withoutTypes(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(text);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** A fifth less to send; nothing of the page's texts hangs on how a line begins. */
function unindented(text: string): Buffer {
  return Buffer.from(text.replace(/^[ \t]+/gm, ''));
}

function read(url: URL): Buffer {
  return readFileSync(url);
}
