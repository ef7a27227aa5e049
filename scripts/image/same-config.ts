// Makes an image that buildah or podman built the same each time: in Docker's format its configuration names the container
// it was built in and the images between the steps, by chance. Needs skopeo; the layers stay as they are.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface ImageConfig {
  readonly config: Readonly<Record<string, unknown>>;
  readonly history: readonly Readonly<Record<string, unknown>>[];
  readonly [name: string]: unknown;
}

/** An image's configuration without what only tells where and when it was built. */
export function withoutBuilder(image: ImageConfig): ImageConfig {
  const { container, container_config, parent, docker_version, ...rest } = image;
  const { Hostname, Image, ...config } = image.config;
  // A comment names the image before the step.
  const history = image.history.map(({ comment, ...step }) => step);
  return { ...rest, config, history };
}

/** Builders put a name without a registry below `localhost`; skopeo would below Docker's own. */
export function nameInStore(tag: string): string {
  const [first = '', ...rest] = tag.split('/');
  return rest.length > 0 && (first === 'localhost' || /[.:]/.test(first)) ? tag : `localhost/${tag}`;
}

/** Replaces the image of that name in the builder's store by the same with a cleaned configuration. Returns its id. */
export function cleanConfig(tag: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-image-'));
  try {
    const skopeo = (...args: string[]) =>
      execFileSync('skopeo', ['--insecure-policy', 'copy', '--quiet', ...args], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    const [store, files] = [`containers-storage:${nameInStore(tag)}`, `dir:${folder}`];
    skopeo(store, files);
    const manifestFile = join(folder, 'manifest.json');
    const manifest = JSON.parse(readFileSync(manifestFile, 'utf8'));
    const blob = (digest: string) => join(folder, digest.replace('sha256:', ''));
    const before = JSON.parse(readFileSync(blob(manifest.config.digest), 'utf8')) as ImageConfig;
    const config = Buffer.from(JSON.stringify(withoutBuilder(before)));
    const digest = `sha256:${createHash('sha256').update(config).digest('hex')}`;
    writeFileSync(blob(digest), config);
    manifest.config = { ...manifest.config, digest, size: config.length };
    writeFileSync(manifestFile, JSON.stringify(manifest));
    skopeo(files, store);
    return digest;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
