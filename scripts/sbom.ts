// The bill of materials of a release, as CycloneDX: our package, each package whose code is in the bundle, and what is
// installed with it, with the hashes of the lock file. The same sources make the same octets: it has neither a time nor
// a number of its own.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ComponentScope, ComponentType, HashAlgorithm, LifecyclePhase } from '@cyclonedx/cyclonedx-library/Enums';
import {
  Bom,
  Component,
  HashDictionary,
  LicenseExpression,
  LicenseRepository,
  Property,
  SpdxLicense,
} from '@cyclonedx/cyclonedx-library/Models';
import { JSON as JsonForm, JsonSerializer } from '@cyclonedx/cyclonedx-library/Serialize';
import { isSupportedSpdxId } from '@cyclonedx/cyclonedx-library/SPDX';
import { Spec1dot6 } from '@cyclonedx/cyclonedx-library/Spec';
import type { BundledPackage } from './licences.ts';

/** A package as its own file and the lock file have it. */
interface PackageFacts {
  readonly version: string;
  readonly license: string;
  readonly integrity?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** The whole file. Throws where the lock file has another version than was bundled, or no hash of it. */
export function billOfMaterials(root: string, bundled: readonly BundledPackage[]): string {
  const own = readJson<PackageFacts & { name: string; description: string }>(join(root, 'package.json'));
  const { packages } = readJson<{ packages: Readonly<Record<string, PackageFacts>> }>(join(root, 'package-lock.json'));
  const program = component(own.name, own, ComponentType.Application);
  program.description = own.description;
  const byPath = new Map<string, Component>();
  for (const { path, name, version, licence } of bundled) {
    const locked = packages[path];
    if (locked?.version !== version) throw new Error(`${path} is ${version}, and ${locked?.version} in the lock file`);
    byPath.set(path, withHash(component(name, { version, license: licence }), locked, path));
    // The word of CycloneDX for a package that is inside another and not installed beside it.
    byPath.get(path)?.properties.add(new Property('cdx:npm:package:bundled', 'true'));
  }
  for (const name of Object.keys(own.dependencies ?? {})) {
    const path = `node_modules/${name}`;
    const locked = packages[path];
    if (locked === undefined) throw new Error(`${name} is not in the lock file`);
    byPath.set(path, withHash(component(name, locked), locked, path));
  }
  for (const [path, each] of byPath) {
    program.dependencies.add(each.bomRef);
    for (const name of Object.keys(packages[path]?.dependencies ?? {})) {
      const inside = byPath.get(installedPath(name, path, packages) ?? '');
      if (inside !== undefined) each.dependencies.add(inside.bomRef);
    }
  }
  const bom = new Bom();
  bom.metadata.component = program;
  bom.metadata.lifecycles.add(LifecyclePhase.Build);
  for (const each of byPath.values()) bom.components.add(each);
  const serializer = new JsonSerializer(new JsonForm.Normalize.Factory(Spec1dot6));
  return `${serializer.serialize(bom, { sortLists: true, space: 1 })}\n`;
}

function component(name: string, { version, license }: PackageFacts, type = ComponentType.Library): Component {
  const [group, bare] = name.startsWith('@') ? (name.split('/') as [string, string]) : [undefined, name];
  const purl = `pkg:npm/${name.replace('@', '%40')}@${encodeURIComponent(version)}`;
  const made = new Component(type, bare, { bomRef: purl, version, purl, scope: ComponentScope.Required });
  if (group !== undefined) made.group = group;
  made.licenses = new LicenseRepository([
    isSupportedSpdxId(license) ? new SpdxLicense(license) : new LicenseExpression(license),
  ]);
  return made;
}

function withHash(made: Component, { integrity }: PackageFacts, path: string): Component {
  const base64 = /^sha512-(\S+)$/.exec(integrity ?? '')?.[1];
  if (base64 === undefined) throw new Error(`${path} has no SHA-512 in the lock file`);
  made.hashes = new HashDictionary([[HashAlgorithm['SHA-512'], Buffer.from(base64, 'base64').toString('hex')]]);
  return made;
}

/** Where Node finds `name` when a file of the package at `from` asks for it. */
function installedPath(name: string, from: string, packages: Readonly<Record<string, unknown>>): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (path in packages) return path;
    if (folder === '') return undefined;
  }
}

function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}
