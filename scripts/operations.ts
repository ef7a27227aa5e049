// Writes the table of the platform's operations. From what its arguments name: swagger documents (files or URLs; the
// platform publishes its preview operations in a document of their own) or JSON lines. Without arguments from the
// installed SDK, which knows everything but permissions: those are kept from the table there is, and unknown for new
// operations. Prints what changed.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Operation, Requirement } from '../src/operations/operation.ts';
import { formatOperations, OPERATIONS_FILE, parseOperations } from '../src/operations/table.ts';

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);

/** What is read of a swagger document; the rest is left alone. */
export interface SwaggerDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, SwaggerOperation>>>>;
}

interface SwaggerOperation {
  readonly operationId?: string;
  readonly 'x-purecloud-method-name'?: string;
  readonly 'x-inin-requires-permissions'?: { readonly type?: string; readonly permissions?: readonly string[] };
  readonly 'x-genesys-preview'?: boolean;
  readonly deprecated?: boolean;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly in?: string }[];
}

/** The operations of a swagger 2 document of the platform. Throws for one that has none. */
export function operationsOfSwagger({ paths }: SwaggerDocument): Operation[] {
  const operations: Operation[] = [];
  for (const [path, methods] of Object.entries(paths ?? {})) {
    for (const [name, operation] of Object.entries(methods)) {
      const method = name.toUpperCase();
      if (!METHODS.has(method)) continue;
      const id = operation['x-purecloud-method-name'] ?? operation.operationId;
      if (id === undefined) throw new TypeError(`${method} ${path} has no operationId`);
      const { type, permissions = [] } = operation['x-inin-requires-permissions'] ?? {};
      operations.push({
        id,
        method,
        path,
        tags: sorted((operation.tags ?? []).map(apiName)),
        ...requirement(permissions.length === 0 ? 'none' : type === 'ALL' ? 'all' : 'any', permissions),
        hasBody: (operation.parameters ?? []).some((parameter) => parameter.in === 'body'),
        isDeprecated: operation.deprecated === true,
        isPreview: operation['x-genesys-preview'] === true,
      });
    }
  }
  if (operations.length === 0) throw new TypeError('the document has no operations: is it a swagger 2 document?');
  return operations;
}

/** `Telephony Providers Edge` is the class `TelephonyProvidersEdgeApi` of the SDKs: the tag is that name. */
function apiName(tag: string): string {
  return tag
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join('');
}

/** One operation a line, as JSON: `method path operationId tags requires permissions body deprecated preview`. */
export function operationsOfLines(text: string): Operation[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const row = JSON.parse(line);
      return {
        id: row.operationId,
        method: row.method,
        path: row.path,
        tags: sorted(row.tags),
        ...requirement(row.requires ?? 'unknown', row.permissions ?? []),
        hasBody: row.body === true,
        isDeprecated: row.deprecated === true,
        isPreview: row.preview === true,
      };
    });
}

/** The platform's lists name some permissions twice, and one is a sentence, which nobody can be granted. */
function requirement(requires: Requirement, listed: readonly string[]): Pick<Operation, 'requires' | 'permissions'> {
  const permissions = [...new Set(listed)].filter((permission) => !permission.includes(' '));
  return listed.length > 0 && permissions.length === 0
    ? { requires: 'unknown', permissions }
    : { requires, permissions };
}

/**
 * Methods that the SDK calls otherwise than the platform: each would differ in case only from one of the older
 * `/presencedefinitions`, which the SDK's generator does not let stand.
 */
const RENAMED_IN_SDK: ReadonlyMap<string, string> = new Map([
  ['getPresenceDefinitions0', 'getPresenceDefinitions'],
  ['getPresenceDefinition0', 'getPresenceDefinition'],
  ['postPresenceDefinitions0', 'postPresenceDefinitions'],
  ['putPresenceDefinition0', 'putPresenceDefinition'],
  ['deletePresenceDefinition0', 'deletePresenceDefinition'],
]);

/** What is read of a method of the SDK. */
const SDK_METHOD = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(\w+)\([^)]*\) \{((?:(?!\n\t\}\n)[\s\S])*?)\n\t\}\n/g;
/** Path, method, and what is sent as the body: the argument before the lists of logins and media types. */
const SDK_CALL = /callApi\(\s*'([^']+)',\s*'([A-Z]+)',[\s\S]*?\n\s*(\S+),\s*\n\s*\[[^\n]*\],\s*\n\s*\[/;

/**
 * The operations of the installed JavaScript SDK, each class of which is a tag; what `known` says of their permissions
 * is kept, by method and path.
 */
export function operationsOfSdk(known: readonly Operation[]): Operation[] {
  const main = createRequire(import.meta.url).resolve('purecloud-platform-client-v2/package.json');
  const folder = join(dirname(main), 'src/purecloud-platform-client-v2/api');
  const knownByRoute = new Map(known.map((operation) => [routeOf(operation), operation]));
  const found = new Map<string, Operation>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith('Api.js'))) {
    const text = readFileSync(join(folder, file), 'utf8');
    let calls = 0;
    for (const [, doc = '', name = '', code = ''] of text.matchAll(SDK_METHOD)) {
      const [, path, method, body] = SDK_CALL.exec(code) ?? [];
      if (path === undefined || method === undefined) continue;
      calls++;
      const tag = file.slice(0, -'Api.js'.length);
      const before = found.get(routeOf({ method, path }));
      const permissions = knownByRoute.get(routeOf({ method, path }));
      found.set(routeOf({ method, path }), {
        id: RENAMED_IN_SDK.get(name) ?? name,
        method,
        path,
        tags: sorted([...(before?.tags ?? []), tag]),
        requires: permissions?.requires ?? 'unknown',
        permissions: permissions?.permissions ?? [],
        hasBody: body !== 'null',
        isDeprecated: before?.isDeprecated === true || /^\s*\* @deprecated/m.test(doc),
        isPreview: before?.isPreview === true || / is a preview method /.test(doc),
      });
    }
    const written = text.split('.callApi(').length - 1;
    if (calls !== written) throw new Error(`${file}: ${calls} of ${written} methods could be read`);
  }
  return [...found.values()];
}

function routeOf({ method, path }: Pick<Operation, 'method' | 'path'>): string {
  return `${method} ${path}`;
}

function sorted(words: readonly string[]): string[] {
  return [...new Set(words)].sort();
}

async function readSource(source: string): Promise<Operation[]> {
  let text: string;
  if (/^https?:\/\//.test(source)) {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${source} answers ${response.status}`);
    text = await response.text();
  } else text = readFileSync(source, 'utf8');
  return source.endsWith('.jsonl') ? operationsOfLines(text) : operationsOfSwagger(JSON.parse(text));
}

/** One line for each operation that is new, gone or changed; the diff of the file shows how. */
function printChanges(before: readonly Operation[], after: readonly Operation[]): void {
  const rows = (operations: readonly Operation[]) =>
    new Map(operations.map((each) => [routeOf(each), formatOperations([each])]));
  const old = rows(before);
  const now = rows(after);
  for (const [route, row] of now) {
    if (!old.has(route)) console.log(`new      ${route}`);
    else if (old.get(route) !== row) console.log(`changed  ${route}`);
  }
  for (const route of old.keys()) if (!now.has(route)) console.log(`gone     ${route}`);
  const unknown = after.filter((operation) => operation.requires === 'unknown').length;
  console.log(`${now.size} operations, permissions unknown for ${unknown}`);
}

if (import.meta.main) {
  const sources = process.argv.slice(2);
  const before = existsSync(OPERATIONS_FILE) ? parseOperations(readFileSync(OPERATIONS_FILE, 'utf8')) : [];
  const read = sources.length === 0 ? operationsOfSdk(before) : (await Promise.all(sources.map(readSource))).flat();
  const operations = [...new Map(read.map((each) => [routeOf(each), each])).values()];
  printChanges(before, operations);
  writeFileSync(OPERATIONS_FILE, formatOperations(operations));
}
