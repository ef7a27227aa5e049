// What the image holds is laid out from a base image and a build: what is needed, and nothing else. The base is small here
// and made of ELF files that hold their headers only.

import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { elfNeeds } from '../../../scripts/image/elf.ts';

const SCRIPTS = fileURLToPath(new URL('../../../scripts/', import.meta.url));

/** The least that a loader reads: a table of segments, the loader's name, tags, and the strings they point to. */
function elf(
  { interpreter, libraries }: { interpreter: string | null; libraries: readonly string[] },
  more = 0,
): Buffer {
  const strings = Buffer.from(`\0${libraries.map((name) => `${name}\0`).join('')}`);
  const loader = Buffer.from(interpreter === null ? '' : `${interpreter}\0`);
  const [ADDRESS, STRINGS] = [0x400000, 1000];
  const tags = [...libraries.map((name) => [1, strings.indexOf(name)]), [5, ADDRESS + STRINGS]];
  if (more !== 0) tags.push([more, 0]);
  const dynamic = Buffer.alloc((tags.length + 1) * 16);
  for (const [n, [tag, value]] of tags.entries()) {
    dynamic.writeBigInt64LE(BigInt(tag ?? 0), n * 16);
    dynamic.writeBigUInt64LE(BigInt(value ?? 0), n * 16 + 8);
  }
  const file = Buffer.alloc(STRINGS + strings.length + loader.length + dynamic.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  const segments = [
    [1, 0, file.length],
    [2, STRINGS + strings.length + loader.length, dynamic.length],
    ...(interpreter === null ? [] : [[3, STRINGS + strings.length, loader.length]]),
  ];
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(segments.length, 56);
  for (const [n, [type = 0, offset = 0, bytes = 0]] of segments.entries()) {
    const at = 64 + n * 56;
    file.writeUInt32LE(type, at);
    file.writeBigUInt64LE(BigInt(offset), at + 8);
    file.writeBigUInt64LE(BigInt(ADDRESS + offset), at + 16);
    file.writeBigUInt64LE(BigInt(bytes), at + 32);
  }
  strings.copy(file, STRINGS);
  loader.copy(file, STRINGS + strings.length);
  dynamic.copy(file, STRINGS + strings.length + loader.length);
  return file;
}

const LOADER = '/lib/ld-linux-aarch64.so.1';
const NODE = elf({ interpreter: LOADER, libraries: ['libatomic.so.1', 'libc.so.6', 'ld-linux-aarch64.so.1'] });

t.test('an ELF file says what it needs, and one that is cut off or no such file is refused by its name', async (t) => {
  const path = join(t.testdir(), 'file');
  const read = (bytes: Uint8Array) => {
    writeFileSync(path, bytes);
    return elfNeeds(path);
  };
  t.strictSame(read(NODE), {
    interpreter: LOADER,
    libraries: ['libatomic.so.1', 'libc.so.6', 'ld-linux-aarch64.so.1'],
  });
  t.strictSame(read(elf({ interpreter: null, libraries: [] })), { interpreter: null, libraries: [] });
  t.throws(() => read(elf({ interpreter: null, libraries: [] }, 29)), /folders of its own/, 'a RUNPATH');
  t.throws(() => read(Buffer.from('#!/bin/sh\n'.repeat(20))), /file is no ELF file/);
  t.throws(() => read(Buffer.alloc(0)), /file is cut off/);
  fc.assert(
    fc.property(fc.nat(NODE.length - 1), (length) => {
      try {
        read(NODE.subarray(0, length));
        return false;
      } catch (error) {
        return error instanceof Error && error.message.includes(path);
      }
    }),
    { numRuns: 50 },
  );
});

t.test(
  'the Node that runs this is read as the system reads it',
  {
    skip: process.platform === 'linux' ? false : 'no ELF files here',
  },
  async (t) => {
    const { interpreter, libraries } = elfNeeds(process.execPath);
    t.match(interpreter, /\/ld-/);
    t.ok(libraries.includes('libc.so.6') || libraries.some((name) => name.startsWith('libc.')), libraries.join());
  },
);

/** A Debian with merged folders, as far as it is looked at. */
function layBase(root: string, without = ''): void {
  const ARCH = 'usr/lib/aarch64-linux-gnu';
  const files: Record<string, string | Buffer> = {
    'usr/local/bin/node': NODE,
    'usr/local/LICENSE': 'terms of Node',
    'usr/local/bin/npm': 'not needed',
    'bin-su': 'not needed',
    [`${ARCH}/ld-linux-aarch64.so.1`]: elf({ interpreter: null, libraries: [] }),
    [`${ARCH}/libc.so.6`]: elf({ interpreter: null, libraries: ['ld-linux-aarch64.so.1'] }),
    [`${ARCH}/libatomic.so.1.2.0`]: elf({ interpreter: null, libraries: ['libc.so.6'] }),
    [`${ARCH}/libz.so.1`]: elf({ interpreter: null, libraries: [] }),
    'usr/lib/os-release': 'ID=debian\n',
    'var/lib/dpkg/info/libc6:arm64.list': `/${ARCH}\n/${ARCH}/libc.so.6\n/${ARCH}/ld-linux-aarch64.so.1\n`,
    'var/lib/dpkg/info/libatomic1:arm64.list': '/lib/aarch64-linux-gnu/libatomic.so.1.2.0\n',
    'var/lib/dpkg/status':
      'Package: apt\nVersion: 1\n\nPackage: libatomic1\nVersion: 2\n\nPackage: libc6\nVersion: 3\n more\n',
    'usr/share/doc/libc6/copyright': 'see /usr/share/common-licenses/LGPL-2.1.',
    'usr/share/doc/gcc-14-base/copyright': 'see "/usr/share/common-licenses/GPL-3"',
    'usr/share/common-licenses/LGPL-2.1': 'terms',
    'usr/share/common-licenses/GPL-3': 'terms',
  };
  for (const [path, content] of Object.entries(files)) {
    if (path === without) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  symlinkSync('usr/lib', join(root, 'lib'));
  symlinkSync('aarch64-linux-gnu/ld-linux-aarch64.so.1', join(root, 'usr/lib/ld-linux-aarch64.so.1'));
  symlinkSync('libatomic.so.1.2.0', join(root, ARCH, 'libatomic.so.1'));
  symlinkSync('gcc-14-base', join(root, 'usr/share/doc/libatomic1'));
  mkdirSync(join(root, 'etc'));
  symlinkSync('../usr/lib/os-release', join(root, 'etc/os-release'));
}

/** A checkout that is built, with what is not for the image in it. */
function layCheckout(root: string): void {
  const scripts = ['image/elf.ts', 'image/root-tree.ts', 'unreached-modules.ts'].map((name) => [
    `scripts/${name}`,
    readFileSync(join(SCRIPTS, name)),
  ]);
  const files: Record<string, string | Buffer> = {
    ...Object.fromEntries(scripts),
    LICENSE: 'MIT',
    'package.json': JSON.stringify({
      name: 'gateway',
      version: '1.2.3',
      license: 'MIT',
      type: 'module',
      scripts: { secret: 'x' },
      dependencies: { quick: '^1.0.0' },
      devDependencies: { tool: '1' },
    }),
    'dist/main.js': '#!/usr/bin/env node\nimport("./run.js");\n',
    'dist/run.js': 'import "./chunk-A.js";//# sourceMappingURL=run.js.map',
    'dist/chunk-A.js': 'shared',
    'dist/dropped-B.js': 'import "./chunk-C.js";//# sourceMappingURL=dropped-B.js.map',
    'dist/dropped-B.js.map': '{}',
    'dist/chunk-C.js': 'named by a file that nobody names',
    'dist/main.js.map': '{}',
    'dist/index.js': 'for programs',
    'dist/index.d.ts': 'for programs',
    'dist/xdg-open': 'for desktops',
    'dist/later/part.cjs': 'part',
    'dist/THIRD-PARTY-LICENSES': 'terms',
    'node_modules/tool/index.js': 'not needed',
    'node_modules/quick/package.json': '{}',
    'node_modules/quick/LICENSE': 'terms',
    'node_modules/quick/README.md': 'page',
    'node_modules/quick/quick.wasm': 'code',
    'node_modules/quick/dist/index.js': 'code',
    'node_modules/quick/dist/index.js.map': 'map',
    'node_modules/quick/dist/index.d.ts': 'types',
    'node_modules/quick/extensions/url/url.so': 'not loaded',
    'gcg.ini': 'client_secret = x',
  };
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

const layOut = (root: string, base: string, out: string) =>
  execFileSync(process.execPath, [join(root, 'scripts/image/root-tree.ts'), base, out], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
/** What is not a folder, links among it. Neither a glob nor Node's own recursion: before Node 26 they follow links. */
function filesOf(folder: string, within = ''): string[] {
  const entries = readdirSync(join(folder, within), { withFileTypes: true });
  return entries
    .flatMap((entry) => (entry.isDirectory() ? filesOf(folder, join(within, entry.name)) : [join(within, entry.name)]))
    .sort();
}

t.test(
  'the image holds Node with its libraries and their terms, and the gateway; each file is one of these',
  {
    skip: process.platform === 'win32' ? 'needs symbolic links' : false,
  },
  async (t) => {
    const folder = t.testdir({ checkout: {}, base: {} });
    const [root, base, out] = [join(folder, 'checkout'), join(folder, 'base'), join(folder, 'out')];
    layBase(base);
    layCheckout(root);
    layOut(root, base, out);
    const ARCH = 'usr/lib/aarch64-linux-gnu';
    t.strictSame(
      filesOf(join(out, 'system')),
      [
        ...['etc/group', 'etc/nsswitch.conf', 'etc/os-release', 'etc/passwd', 'usr/lib/os-release'],
        ...['lib', 'usr/lib/ld-linux-aarch64.so.1', `${ARCH}/ld-linux-aarch64.so.1`, `${ARCH}/libc.so.6`],
        ...[`${ARCH}/libatomic.so.1`, `${ARCH}/libatomic.so.1.2.0`, 'usr/local/bin/gcg', 'usr/local/bin/node'],
        ...['var/lib/dpkg/status.d/libatomic1', 'var/lib/dpkg/status.d/libc6', 'usr/share/doc/libatomic1'],
        ...['usr/share/doc/gcc-14-base/copyright', 'usr/share/doc/libc6/copyright', 'usr/share/doc/nodejs/copyright'],
        ...['usr/share/common-licenses/GPL-3', 'usr/share/common-licenses/LGPL-2.1'],
      ].sort(),
    );
    const read = (path: string) => readFileSync(join(out, path), 'utf8');
    t.equal(read('system/var/lib/dpkg/status.d/libc6'), 'Package: libc6\nVersion: 3\n more\n');
    t.match(read('system/etc/passwd'), /^node:x:1000:1000:/m);
    t.ok(lstatSync(join(out, 'system/etc/ssl/certs')).isDirectory(), 'a place for authorities, and Node asks for it');
    t.strictSame(
      filesOf(join(out, 'app')),
      [
        ...[
          'LICENSE',
          'package.json',
          'dist/main.js',
          'dist/main.js.map',
          'dist/run.js',
          'dist/chunk-A.js',
          'dist/later/part.cjs',
        ],
        ...['dist/THIRD-PARTY-LICENSES', 'node_modules/quick/LICENSE', 'node_modules/quick/dist/index.js'],
        ...['node_modules/quick/package.json', 'node_modules/quick/quick.wasm'],
      ].sort(),
    );
    t.equal(read('app/dist/main.js'), '#!/usr/local/bin/node\nimport("./run.js");\n', 'there is no env');
    t.equal(lstatSync(join(out, 'app/dist/main.js')).mode & 0o777, 0o755);
    t.strictSame(Object.keys(JSON.parse(read('app/package.json'))), [
      'name',
      'version',
      'license',
      'type',
      'dependencies',
    ]);
    t.equal(lstatSync(join(out, 'data/genesys-cloud-gateway')).mode & 0o777, 0o700, 'closed to others');
    t.strictSame(filesOf(join(out, 'data')), []);
  },
);

t.test(
  'a base image that lacks something ends the build with its name',
  {
    skip: process.platform === 'win32' ? 'needs symbolic links' : false,
  },
  async (t) => {
    for (const [lacking, words] of [
      ['usr/lib/aarch64-linux-gnu/libc.so.6', /no \/usr\/lib\/aarch64-linux-gnu\/libc\.so\.6/],
      ['var/lib/dpkg/info/libatomic1:arm64.list', /no package of the base image has .*libatomic/],
      ['usr/share/doc/libc6/copyright', /no \/usr\/share\/doc\/libc6, which/],
    ] as const) {
      const folder = t.testdir({ checkout: {}, base: {} });
      layBase(join(folder, 'base'), lacking);
      layCheckout(join(folder, 'checkout'));
      t.throws(() => layOut(join(folder, 'checkout'), join(folder, 'base'), join(folder, 'out')), words, lacking);
    }
  },
);
