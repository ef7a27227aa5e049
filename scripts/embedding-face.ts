// The package's face for embedding as a list: what its index exports, the members of each type, and how many arguments a
// function takes, as the declarations have it that users get. Types of members are not compared: a name for the same type
// would be a change.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Rows of name and shape, a member of a type as `Gateway.drain`. Declarations are made from `root`'s sources. */
export async function embeddingFace(root: string): Promise<[string, string][]> {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-face-'));
  try {
    // The program itself: its command is a script, into whose process a test runner loads what it cannot bear.
    const { default: compiler } = (await import(
      pathToFileURL(join(root, 'node_modules/typescript/lib/getExePath.js')).href
    )) as { default: () => string };
    execFileSync(compiler(), ['-p', join(root, 'tsconfig.build.json'), '--outDir', folder]);
    const index = join(folder, 'index.d.ts');
    const exported = readFileSync(index, 'utf8').matchAll(/^export (type )?\{([^}]*)\} from '([^']+)';$/gm);
    return [...exported].flatMap(([, isType, list = '', from = '']) =>
      list.split(',').flatMap((item) => {
        const name = item.trim().replace(/^type /, '');
        const kind = isType !== undefined || name !== item.trim() ? 'type' : 'value';
        return rowsOf(fileOf(index, from), name, kind);
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function fileOf(importer: string, specifier: string): string {
  return join(dirname(importer), specifier.replace(/\.(?:js|ts)$/, '.d.ts'));
}

function rowsOf(file: string, name: string, kind: 'type' | 'value'): [string, string][] {
  const { head } = declarationOf(file, name);
  const parameters = /^(?:export )?(?:declare )?function \w+\((.*)\):/.exec(head)?.[1];
  if (parameters !== undefined) {
    const all = parts(parameters, ',').filter((one) => one.trim() !== '');
    const needed = all.filter((one) => !/^\s*(?:\.\.\.|\w+\?:)/.test(one));
    return [[name, `function of ${needed.length} to ${all.length} arguments`]];
  }
  return [
    [name, kind],
    ...new Map(
      membersOf(file, name).map(([member, isOptional]) => [`${name}.${member}`, isOptional ? 'optional' : 'required']),
    ),
  ];
}

/** Names of members, those of what an interface extends included, and whether they may be left out. */
function membersOf(file: string, name: string): [name: string, isOptional: boolean][] {
  const { head, members, text, file: home } = declarationOf(file, name);
  if (/^(?:export )?(?:declare )?type/.test(head))
    return [...head.matchAll(/(?<=[{;] *(?:readonly )?)(\w+)(\?)?:/g)].map(([, one = '', mark]) => [one, mark === '?']);
  const own = members
    .filter((member) => !/^(?:#|private )/.test(member))
    .map((member): [string, boolean] => {
      const [, one = '', mark] = /^(?:(?:readonly|static|get|set) )*(\w+)(\?)?/.exec(member) ?? [];
      return [one, mark === '?'];
    });
  const parents = / extends ([\w, ]+)$/.exec(head)?.[1]?.split(', ') ?? [];
  return [...parents.filter((one) => new RegExp(`\\b${one}\\b[^;]*from '|interface ${one}\\b`).test(text)), ''].flatMap(
    (parent) => (parent === '' ? own : membersOf(home, parent)),
  );
}

interface Declaration {
  readonly head: string;
  readonly members: readonly string[];
  readonly text: string;
  readonly file: string;
}

/** Where a name is declared, be it in another file: its statement, and that file. */
function declarationOf(file: string, name: string): Declaration {
  const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const start = text.search(
    new RegExp(`^(?:export )?(?:declare )?(?:interface|type|class|function|const) ${name}\\b`, 'm'),
  );
  if (start !== -1) return { ...statement(text.slice(start)), text, file };
  const from = new RegExp(`^(?:import|export)[^;]*[{ ,]${name}[ ,}][^;]*from '([^']+)';$`, 'm').exec(text)?.[1];
  if (from === undefined) throw new Error(`${file} declares no ${name}`);
  return declarationOf(fileOf(file, from), name);
}

/** A text in parts, by a sign that is in no brackets. */
function parts(text: string, by: string): string[] {
  let depth = 0;
  const found = [''];
  for (const sign of text) {
    if ('{([<'.includes(sign)) depth += 1;
    if ('})]'.includes(sign)) depth -= 1;
    if (sign === by && depth === 0) found.push('');
    else found.push(`${found.pop()}${sign}`);
  }
  return found;
}

/** The statement that a text begins with: of a block with members what is before it, and the members. */
function statement(text: string): { head: string; members: string[] } {
  const isBlock = /^(?:export )?(?:declare )?(?:abstract )?(?:interface|class)/.test(text);
  const members: string[] = [];
  let depth = 0;
  let from = 0;
  let head = '';
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '{' || sign === '(' || sign === '[') depth += 1;
    if (sign === '}' || sign === ')' || sign === ']') depth -= 1;
    if (isBlock && head === '' && sign === '{') {
      head = oneLine(text.slice(0, at));
      from = at + 1;
    } else if (isBlock && depth === 0 && sign === '}') return { head, members };
    else if (isBlock && depth === 1 && sign === ';') {
      members.push(oneLine(text.slice(from, at)));
      from = at + 1;
    } else if (!isBlock && depth === 0 && sign === ';') return { head: oneLine(text.slice(0, at)), members };
  }
  throw new Error(`a declaration that does not end: ${text.slice(0, 80)}`);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
