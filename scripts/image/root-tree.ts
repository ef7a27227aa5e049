// Lays out what the image holds, in three folders that the Dockerfile copies as they are: `system` (Node, the libraries it
// needs and who runs it), `app` (the built gateway) and `data` (its folder for what it stores). Nothing is run of the base
// image, so that it may be one for another processor.
//
//   node scripts/image/root-tree.ts BASE OUT     BASE: the root of a Debian with Node, OUT: a folder that is not there yet

import {
  chmodSync,
  copyFileSync,
  cpSync,
  globSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';
import { removeUnreached } from '../unreached-modules.ts';
import { elfNeeds } from './elf.ts';

const NODE = '/usr/local/bin/node';

/** Of `dist`: what is for programs that embed the gateway, and for desktops. */
const NOT_RUN = ['index.js', 'index.js.map', 'xdg-open'];

/** The part of a base image that is taken over: files by path, with the symbolic links that lead to them. */
class SystemTree {
  readonly #base: string;
  readonly #out: string;
  readonly #libraries = new Set<string>();

  constructor(base: string, out: string) {
    this.#base = base;
    this.#out = out;
  }

  /** Copies a file and each link on the way to it. Returns its path without links. */
  take(path: string): string {
    let at = '/';
    const rest = path.split('/').filter((part) => part !== '');
    for (let links = 0; rest.length > 0; ) {
      const next = posix.join(at, rest.shift() ?? '');
      const stat = lstatSync(join(this.#base, next), { throwIfNoEntry: false });
      if (stat === undefined) throw new Error(`the base image has no ${next}, which ${path} is in`);
      if (stat.isSymbolicLink()) {
        links += 1;
        if (links > 40) throw new Error(`links of ${path} lead nowhere`);
        const target = readlinkSync(join(this.#base, next));
        this.#link(next, target);
        rest.unshift(...target.split('/').filter((part) => part !== ''));
        if (target.startsWith('/')) at = '/';
      } else if (stat.isDirectory()) {
        mkdirSync(join(this.#out, next), { recursive: true });
        at = next;
      } else if (rest.length > 0) throw new Error(`${next} of the base image is no folder`);
      else {
        copyFileSync(join(this.#base, next), join(this.#out, next));
        chmodSync(join(this.#out, next), stat.mode & 0o755);
        return next;
      }
    }
    throw new Error(`${path} of the base image is no file`);
  }

  #link(path: string, target: string): void {
    mkdirSync(dirname(join(this.#out, path)), { recursive: true });
    if (lstatSync(join(this.#out, path), { throwIfNoEntry: false }) === undefined)
      symlinkSync(target, join(this.#out, path));
  }

  /** Copies a program, its loader and its libraries, and theirs. Debian keeps them beside the loader. */
  takeProgram(path: string): void {
    const { interpreter, libraries } = elfNeeds(join(this.#base, this.take(path)));
    if (interpreter === null) throw new Error(`${path} of the base image is no program that is loaded with libraries`);
    const loader = this.take(interpreter);
    this.#libraries.add(loader);
    const waiting = [...libraries];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (name === basename(interpreter)) continue;
      const library = this.take(join(dirname(loader), name));
      if (this.#libraries.has(library)) continue;
      this.#libraries.add(library);
      waiting.push(...elfNeeds(join(this.#base, library)).libraries);
    }
  }

  /** What Debian says of the packages the libraries are from: for scanners, as distroless images have it, and their terms. */
  takePackageRecords(): void {
    const packages = new Set([...this.#libraries].map((library) => this.#packageOf(library)));
    const status = readFileSync(join(this.#base, 'var/lib/dpkg/status'), 'utf8').split('\n\n');
    mkdirSync(join(this.#out, 'var/lib/dpkg/status.d'), { recursive: true });
    for (const name of packages) {
      const record = status.find((one) => one.trimStart().startsWith(`Package: ${name}\n`));
      if (record === undefined) throw new Error(`dpkg of the base image has no record of ${name}`);
      writeFileSync(join(this.#out, 'var/lib/dpkg/status.d', name), `${record.trim()}\n`);
      this.#takeTerms(`/usr/share/doc/${name}/copyright`);
    }
  }

  /** A package's terms, and the licences that it names instead of repeating them. */
  #takeTerms(path: string): void {
    const text = readFileSync(join(this.#base, this.take(path)), 'utf8');
    for (const [licence] of text.matchAll(/\/usr\/share\/common-licenses\/[\w.-]*\w/g)) this.take(licence);
  }

  #packageOf(library: string): string {
    const info = join(this.#base, 'var/lib/dpkg/info');
    // Packages from before Debian's folders became one name /lib.
    const names = [library, library.replace(/^\/usr\//, '/')];
    const list = readdirSync(info).find(
      (file) =>
        file.endsWith('.list') &&
        readFileSync(join(info, file), 'utf8')
          .split('\n')
          .some((line) => names.includes(line)),
    );
    if (list === undefined) throw new Error(`no package of the base image has ${library}`);
    return list.replace(/(?::\w+)?\.list$/, '');
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.#out, path)), { recursive: true });
    writeFileSync(join(this.#out, path), text);
  }
}

function laySystem(base: string, out: string): void {
  mkdirSync(out, { recursive: true });
  const tree = new SystemTree(base, out);
  tree.takeProgram(NODE);
  tree.takePackageRecords();
  tree.take('/etc/os-release');
  tree.write('usr/share/doc/nodejs/copyright', readFileSync(join(base, 'usr/local/LICENSE'), 'utf8'));
  // Hosts by file first, as in every Debian; for who asks for a name by number.
  tree.write('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n');
  tree.write(
    'etc/passwd',
    'root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nnode:x:1000:1000::/nonexistent:/usr/sbin/nologin\n',
  );
  tree.write('etc/group', 'root:x:0:\nnode:x:1000:\n');
  // Where the authorities of the system would be: a place to mount some, and Node asks for it.
  mkdirSync(join(out, 'etc/ssl/certs'), { recursive: true });
  mkdirSync(join(out, 'var/lib'), { recursive: true });
  // `gcg` in the container. A file of its own would be a second start; this one is named.
  symlinkSync('/app/dist/main.js', join(out, 'usr/local/bin/gcg'));
}

function layApp(root: string, out: string): void {
  const dist = join(root, 'dist');
  cpSync(dist, join(out, 'dist'), {
    recursive: true,
    filter: (path) => !path.endsWith('.d.ts') && !NOT_RUN.includes(path.slice(dist.length + 1)),
  });
  removeUnreached(join(out, 'dist'), ['main.js']);
  const main = join(out, 'dist/main.js');
  // There is no `env` in the image to find Node.
  const code = readFileSync(main, 'utf8').replace(/^#!.*\n/, `#!${NODE}\n`);
  if (!code.startsWith(`#!${NODE}\n`)) throw new Error('dist/main.js is not a command');
  writeFileSync(main, code);
  chmodSync(main, 0o755);
  copyFileSync(join(root, 'LICENSE'), join(out, 'LICENSE'));
  const { name, version, license, type, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const manifest = { name, version, license, type, dependencies };
  writeFileSync(join(out, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const dependency of Object.keys(dependencies))
    layPackage(join(root, 'node_modules', dependency), out, dependency);
}

/** An installed package without declarations, maps and pages. Of the WebAssembly package, no extension is loaded. */
function layPackage(from: string, out: string, name: string): void {
  for (const file of globSync('**/*', { cwd: from })) {
    if (!/^(?:package\.json|LICEN[CS]E.*|[^/]+\.wasm|dist\/.*\.js)$/.test(file)) continue;
    const to = join(out, 'node_modules', name, file);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(from, file), to);
  }
}

const [base, out] = process.argv.slice(2);
if (base === undefined || out === undefined) throw new Error('usage: root-tree.ts BASE OUT');
laySystem(base, join(out, 'system'));
layApp(join(import.meta.dirname, '../..'), join(out, 'app'));
mkdirSync(join(out, 'data/genesys-cloud-gateway'), { recursive: true, mode: 0o700 });
