// Packs what is built into a folder, with what a release puts beside it: the bill of materials, the notes of this version
// from the changelog, and the sums of all. The same sources make the same octets.
//   node scripts/pack.ts packed

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { releaseNotes } from './assert-release.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const [to = 'packed'] = process.argv.slice(2);
if (to.startsWith('-')) {
  console.error('usage: node scripts/pack.ts [FOLDER]');
  process.exit(2);
}
const folder = resolve(to);
mkdirSync(folder);
// Built already, by npm ci or npm run build: a second time would only take time.
const npm = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder];
execFileSync('npm', npm, { cwd: ROOT, stdio: 'inherit', shell: process.platform === 'win32' });
copyFileSync(join(ROOT, 'dist/sbom.cdx.json'), join(folder, 'sbom.cdx.json'));
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const changelog = readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8');
writeFileSync(join(folder, 'NOTES.md'), releaseNotes(changelog, version) ?? 'Not released.\n');
const sums = readdirSync(folder)
  .sort()
  .map(
    (name) =>
      `${createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex')}  ${name}\n`,
  );
writeFileSync(join(folder, 'SHA256SUMS'), sums.join(''));
