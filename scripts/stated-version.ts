// Where texts and examples name the version of this release: tags of the image, of the repository, of the chart. All
// follow package.json; the changelog, and what tells of earlier versions, is not among them.

import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const PLACES = [
  // genesys-cloud-gateway:1.0.0, an image, with or without a registry before it; genesys-cloud-gateway@1.0.0, a package
  /(?<=\bgenesys-cloud-gateway[:@])\d+\.\d+\.\d+(?![\w.-])/g,
  // genesys-cloud-gateway-1.0.0.tgz, the packed file
  /(?<=\bgenesys-cloud-gateway-)\d+\.\d+\.\d+(?=\.tgz\b)/g,
  // ref: v1.0.0, a tag of the repository
  /(?<=^\s*ref: v)\d+\.\d+\.\d+$/gm,
  // Of a chart, and of the images of a kustomization
  /(?<=^(?:appVersion|version): "?)\d+\.\d+\.\d+(?="?$)/gm,
  /(?<=^\s*newTag: "?)\d+\.\d+\.\d+(?="?$)/gm,
];

/** Each file that may state the version, by its path from the root. */
export function statingFiles(root: string): string[] {
  const globs = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'Dockerfile', 'docs/*.md', '{examples,deploy}/**/*'];
  return globSync(globs, { cwd: root })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => statSync(join(root, file)).isFile())
    .sort();
}

/** The versions that a text states, as they stand. */
export function statedVersions(text: string): string[] {
  return PLACES.flatMap((place) => text.match(place) ?? []);
}

/** The text, and the version where it states one. */
export function withVersion(text: string, version: string): string {
  return PLACES.reduce((result, place) => result.replace(place, version), text);
}

/** The files that state a version, as they have to be. */
export function versionedFiles(root: string): ReadonlyMap<string, string> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const texts = statingFiles(root).map((file) => [file, readFileSync(join(root, file), 'utf8')] as const);
  return new Map(
    texts
      .filter(([, text]) => statedVersions(text).length > 0)
      .map(([file, text]) => [file, withVersion(text, version)]),
  );
}
