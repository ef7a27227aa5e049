// Ends with 1 where a tag is not a release of what it points at, with all that is in the way: another version in
// package.json or the lock file, no dated heading in the changelog, no lists of compatibility, another repository than
// package.json names, which the registry would refuse.
//   node scripts/assert-release.ts v1.0.0 owner/name

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The files that a release is judged by. */
export interface ReleaseFiles {
  readonly manifest: { readonly version: string; readonly repository?: string | { readonly url: string } };
  readonly lockedVersion: string;
  readonly changelog: string;
  readonly hasLists: (version: string) => boolean;
}

/** All that is in the way, in sentences; none where nothing is. */
export function whyNoRelease(tag: string, repository: string, files: ReleaseFiles): string[] {
  const { manifest, lockedVersion, changelog, hasLists } = files;
  const { version } = manifest;
  const why: string[] = [];
  if (tag !== `v${version}`) why.push(`the tag is ${tag}, and package.json says ${version}`);
  if (lockedVersion !== version) why.push(`package-lock.json says ${lockedVersion}: run npm install`);
  if (releaseNotes(changelog, version) === null)
    why.push(`CHANGELOG.md has no heading "## [${version}] - YYYY-MM-DD" with something below it`);
  if (!hasLists(version))
    why.push(`there are no lists of ${version} in test/fixtures/compatibility: run npm run compatibility`);
  const url = typeof manifest.repository === 'string' ? manifest.repository : manifest.repository?.url;
  if (url === undefined) why.push('package.json names no repository: the registry wants it beside a proof of origin');
  else if (!isRepository(url, repository))
    why.push(`package.json names the repository ${url}, and this is ${repository}`);
  return why;
}

/** Whether a URL, in one of the spellings that git and npm know, is that of `owner/name`. */
function isRepository(url: string, repository: string): boolean {
  const parts = url.replace(/\.git$/, '').split(/[/:]/);
  return parts.slice(-2).join('/').toLowerCase() === repository.toLowerCase();
}

/** What the changelog says of a version, without its heading; null where it has no dated heading or says nothing. */
export function releaseNotes(changelog: string, version: string): string | null {
  const [, ...sections] = changelog.split(/^(?=## )/m);
  const section = sections.find((text) => text.startsWith(`## [${version}] - `));
  const [heading = '', ...lines] = section?.split('\n') ?? [];
  const notes = lines.join('\n').trim();
  return / - \d{4}-\d{2}-\d{2}$/.test(heading) && notes !== '' ? `${notes}\n` : null;
}

if (import.meta.main) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const read = (file: string) => readFileSync(join(root, file), 'utf8');
  const [tag, repository] = process.argv.slice(2);
  if (tag === undefined || repository === undefined || tag.startsWith('-')) {
    console.error('usage: node scripts/assert-release.ts vX.Y.Z OWNER/NAME');
    process.exit(2);
  }
  const why = whyNoRelease(tag, repository, {
    manifest: JSON.parse(read('package.json')) as ReleaseFiles['manifest'],
    lockedVersion: (JSON.parse(read('package-lock.json')) as { version: string }).version,
    changelog: read('CHANGELOG.md'),
    hasLists: (version) => existsSync(join(root, `test/fixtures/compatibility/${version}.json`)),
  });
  for (const sentence of why) console.error(`no release: ${sentence}`);
  process.exitCode = why.length === 0 ? 0 : 1;
}
