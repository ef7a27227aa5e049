// Last step of the build: makes the command executable, puts the table of operations where the program looks for it, and
// the style, the shell and the foreign modules of the inspector's page beside its modules; writes the pages of help; makes
// the declarations fit to be published: they name .js files, and only those that the package's face needs are kept. Takes
// the folder, `dist` by default.

import { chmodSync, copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COMMANDS } from '../src/cli/command-table.ts';
import { commandHelp, mainHelp } from '../src/cli/help.ts';
import { PAGE_STYLES, VENDORED, vendorFolder } from '../src/inspector/page-files.ts';
import { OPERATIONS_FILE } from '../src/operations/table.ts';

const dist = resolve(process.argv[2] ?? fileURLToPath(new URL('../dist', import.meta.url)));
chmodSync(join(dist, 'main.js'), 0o755);
copyFileSync(OPERATIONS_FILE, join(dist, 'operations/operations.tsv'));
// For systems that have none of their own; `open` looks for it beside its code.
copyFileSync(new URL('xdg-open', import.meta.resolve('open')), join(dist, 'xdg-open'));
chmodSync(join(dist, 'xdg-open'), 0o755);
const pageSource = fileURLToPath(new URL('../src/inspector/page/', import.meta.url));
const page = join(dist, 'inspector/page');
for (const name of [...PAGE_STYLES, 'shell.html']) copyFileSync(join(pageSource, name), join(page, name));
mkdirSync(join(page, 'vendor'), { recursive: true });
for (const [name, file] of Object.entries(VENDORED)) {
  copyFileSync(new URL(file, vendorFolder(name)), join(page, 'vendor', file));
  copyFileSync(new URL('LICENSE', vendorFolder(name)), join(page, 'vendor', `${name}.LICENSE`));
}

// What the command says with no code loaded for it.
const pages = join(dist, 'pages');
mkdirSync(pages, { recursive: true });
writeFileSync(join(pages, 'help.txt'), mainHelp());
for (const command of COMMANDS) writeFileSync(join(pages, `help-${command.name}.txt`), commandHelp(command));

const SPECIFIER = /((?:from|import\()\s*')(\.[^']+)\.ts'/g;
const needed = new Set<string>();
const visit = (file: string) => {
  if (needed.has(file)) return;
  needed.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, , path = ''] of text.matchAll(SPECIFIER)) visit(join(dirname(file), `${path}.d.ts`));
  writeFileSync(file, text.replace(SPECIFIER, "$1$2.js'"));
};
visit(join(dist, 'index.d.ts'));
for (const name of globSync('**/*.d.ts', { cwd: dist })) if (!needed.has(join(dist, name))) rmSync(join(dist, name));
